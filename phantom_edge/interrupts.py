"""Deferring Ctrl-C for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the block, which then raises :class:`KeyboardInterrupt`.

    For importing native extensions: some end the process with a segmentation fault when an exception is
    raised while they initialise (onnx 1.23 does).
    """
    came: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    deferred = [n for n in (signal.SIGINT, signal.SIGTERM) if in_main and callable(signal.getsignal(n))]
    handlers = {n: signal.signal(n, lambda number, _: came.append(number)) for n in deferred}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
