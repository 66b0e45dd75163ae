"""What every command shares: progress, signals, and errors as one line with their exit code."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import typer

from phantom_edge.cli.printing import PrintError, prepare_streams, say
from phantom_edge.errors import InputError, NoRoomError, PhantomEdgeError, UnwritableError, one_line
from phantom_edge.system import interrupts
from phantom_edge.system.packages import missing

if TYPE_CHECKING:
    from rich.status import Status

DEBUG = "PHANTOM_EDGE_DEBUG"
MEMORY = "out of memory; close other programs or choose a smaller --quant or --context"
P = ParamSpec("P")
T = TypeVar("T")


def command(function: Callable[P, T]) -> Callable[P, T]:
    """End a command's errors as one line on stderr, with their exit code; a traceback only with --debug."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        prepare_streams()
        try:
            with interrupts.heeded(), _own_temporary_files(), _warnings_as_lines():
                return function(*args, **kwargs)
        except KeyboardInterrupt as error:
            _fail(error, 128 + getattr(error, "number", signal.SIGINT), interrupts.stopped_line())
        except PrintError as error:
            _fail(error, error.exit_code, str(error))
        except PhantomEdgeError as error:
            _fail(error, *(_system_s(error) or (error.exit_code, str(error))))
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            _fail(error, *_unexpected(error))

    return wrapped


def _unexpected(error: Exception) -> tuple[int, str]:
    """Exit code and line of an error that is none of the toolkit's own."""
    if (known := _system_s(error)) is not None:
        return known
    if lacking := missing(error):
        return lacking.exit_code, str(lacking)
    return 1, f"unexpected {type(error).__name__}: {error} (run with --debug and report it)"


def _system_s(error: BaseException | None) -> tuple[int, str] | None:
    """Exit code and line where the system is to blame: for an error, or for one that it was made of.

    What reads a file calls every failure a damaged file, also one for want of memory.
    """
    from phantom_edge.system.causes import FULL, number_of, out_of_memory, unwritable

    first, seen = error, set()
    while (
        error is not None and id(error) not in seen and not isinstance(error, UnwritableError | NoRoomError)
    ):
        if out_of_memory(error):
            return 1, MEMORY
        general = error is first or number_of(error) in FULL
        if general and isinstance(error, OSError) and (refused := unwritable(error)):
            return InputError.exit_code, str(refused)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _fail(error: BaseException, code: int, text: str | None = None) -> NoReturn:
    if os.environ.get(DEBUG):
        raise error
    line = one_line(str(error if text is None else text))
    if line:
        say(f"error: {line}", colour="red")
    raise typer.Exit(code) from None


@contextmanager
def _own_temporary_files() -> Iterator[None]:
    from phantom_edge.system.partials import scratch

    with scratch():
        yield


class _Lines(logging.Handler):
    """A warning of the toolkit as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {' '.join(record.getMessage().split())}")


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    logger, handler = logging.getLogger("phantom_edge"), _Lines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class ProgressLine:
    """What is being done, on stderr of a terminal; silent elsewhere, so that logs and pipes stay clean.

    Each step also notices a signal that a library swallowed.
    """

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def step(self, text: str) -> None:
        interrupts.check()
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(f"{text} …"))

    def track(self, items: Iterable[T], text: str) -> Iterator[T]:
        self.step(text)
        for n, item in enumerate(items, start=1):
            interrupts.check()
            if n % 50 == 0:
                self.step(f"{text}: {n} tensors")
            yield item


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[ProgressLine]:
    """A spinner with the current step while the block runs."""
    if quiet or not sys.stderr.isatty():
        yield ProgressLine(None)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting …") as status:
        yield ProgressLine(status)
