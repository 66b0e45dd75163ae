"""Ctrl-C, a polite kill and a closed terminal: heeded at any moment, never lost, with nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

SIGNALS: Final = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
REPEAT: Final = 0.05  # seconds until a signal that came at a bad moment comes again
_IMPORT: Final = "<frozen importlib._bootstrap>"


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _State:
    """What the handler knows: written by it and by the thread of the command only."""

    came: int | None = None
    """The first signal of this command."""
    heeding: bool = False
    """Whether a command is at work, which the signal then ends."""
    repeated: bool = False
    """Whether the next signal is the first one once more."""
    timer: threading.Timer | None = None
    """What sends it once more."""
    cleaners: list[Callable[[], None]] = field(default_factory=list)
    complete: list[Path] = field(default_factory=list)
    resumable: str = ""
    """What is said of an interruption of work that can go on later."""


_state = _State()


def install() -> None:
    """From now on note the signals, for :func:`heeded` to act upon; one that is ignored stays ignored."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if callable(signal.getsignal(number)) or signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _on_signal)


def uninstall() -> None:
    """Let signals end the process at once, which has nothing left to do."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def heeded() -> Iterator[None]:
    """Raise :class:`Stopped` in the block at a signal, also at one that came before it.

    A library may swallow the exception: :func:`check` raises it again at the next step. A second signal
    cleans up and ends the process without waiting for anything. However the block ends, what
    :func:`at_end` has registered is called.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    _state.complete.clear()
    _state.resumable = ""
    install()
    try:
        _state.heeding = True
        check()
        yield
    finally:
        _state.heeding = _state.repeated = False
        _stop_repeating()
        _clean()
        _state.came = None
        sys.unraisablehook = hook
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def check() -> None:
    """Raise :class:`Stopped` if a signal came that did not end the work, because a library swallowed it."""
    in_main = threading.current_thread() is threading.main_thread()
    if _state.came is not None and _state.heeding and in_main and not _importing(sys._getframe()):
        _stop_repeating()
        raise Stopped(_state.came)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer the signals to the end of the block, where their own handlers see them.

    For a few lines that belong together, and for importing native extensions: some end the process with a
    segmentation fault when an exception is raised while they initialise (onnx 1.23 does).
    """
    came: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    numbers = [n for n in SIGNALS if in_main and callable(signal.getsignal(n))]
    handlers = {int(n): signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in came:
        handler = handlers[number]
        if callable(handler):
            handler(number, None)


def at_end(cleaner: Callable[[], None]) -> None:
    """Call ``cleaner`` when a command ends, however it ends: it removes what is still there."""
    _state.cleaners.append(cleaner)


def complete(path: Path) -> None:
    """Note that an output is in its place, so that a later interruption does not deny it."""
    _state.complete.append(path)


def resumable(text: str) -> None:
    """Say ``text`` of an interruption from now on: what is done of work that can go on later."""
    _state.resumable = text


def stopped_line() -> str:
    """What to say of an interruption."""
    if _state.resumable:
        return _state.resumable
    if _state.complete:
        return f"stopped; {_state.complete[-1]} is complete"
    return "stopped; nothing was changed"


def _on_signal(number: int, frame: FrameType | None) -> None:
    first, _state.repeated = _state.came is None or _state.repeated, False
    _state.came = _state.came or number
    if not first:
        _end_now()
    if _state.heeding and _importing(frame):
        _repeat()  # a module that is half imported can neither be left nor be trusted to pass this on
    elif _state.heeding:
        raise Stopped(_state.came)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _repeat() -> None:
    """Send the signal once more, a moment later; a real one, which also ends a wait."""

    def send() -> None:
        if _state.heeding:
            _state.repeated = True
            signal.pthread_kill(threading.main_thread().ident or 0, _state.came or signal.SIGINT)

    _state.timer = threading.Timer(REPEAT, send)
    _state.timer.daemon = True
    _state.timer.start()


def _stop_repeating() -> None:
    """Raise once: a repetition would meet whoever has caught the first, or the handlers after the command."""
    timer, _state.timer = _state.timer, None
    if timer is not None:
        timer.cancel()
        timer.join()


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeat a signal whose exception the interpreter dropped, as it does in a callback of its own."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _repeat()
    else:
        sys.__unraisablehook__(unraisable)


def _end_now() -> None:
    _clean()
    try:
        os.write(2, f"error: {stopped_line()}\n".encode(errors="replace"))
    finally:
        os._exit(128 + (_state.came or signal.SIGINT))


def _clean() -> None:
    for cleaner in _state.cleaners:
        cleaner()
