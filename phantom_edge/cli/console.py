"""What every command shares: progress, errors as one line, and the two ways of printing a report."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, ParamSpec, Protocol, TypeVar

import typer

from phantom_edge.errors import InputError, PhantomEdgeError

if TYPE_CHECKING:
    from rich.status import Status

    from phantom_edge.report.report import Report

DEBUG = "PHANTOM_EDGE_DEBUG"
P = ParamSpec("P")
T = TypeVar("T")


def command(function: Callable[P, T]) -> Callable[P, T]:
    """End a command's errors as one line on stderr, with their exit code; a traceback only with --debug."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up as Ctrl-C does
        sys.unraisablehook = _interrupt_again
        try:
            return function(*args, **kwargs)
        except PhantomEdgeError as error:
            _fail(error, error.exit_code)
        except KeyboardInterrupt as error:
            _fail(error, 130, "stopped; nothing was changed")
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):
            raise
        except MemoryError as error:
            _fail(error, 1, "out of memory; close other programs or choose a smaller --quant or --context")
        except Exception as error:
            _fail(error, 1, f"unexpected {type(error).__name__}: {error} (run with --debug and report it)")

    return wrapped


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Deliver a Ctrl-C once more that the interpreter dropped, as it does in a callback of its own."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        main = threading.main_thread().ident
        # A real one, which also ends a wait.
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _fail(error: BaseException, code: int, text: str | None = None) -> NoReturn:
    if os.environ.get(DEBUG):
        raise error
    line = " ".join(str(text or error).split())
    typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(code) from None


class ProgressLine:
    """What is being done, on stderr of a terminal; silent elsewhere, so that logs and pipes stay clean."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def step(self, text: str) -> None:
        if self._status is not None:
            self._status.update(f"{text} …")

    def track(self, items: Iterable[T], text: str) -> Iterator[T]:
        self.step(text)
        for n, item in enumerate(items, start=1):
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


def show(report: Report, *, as_json: bool, html: str | None = None) -> None:
    """Print a report as tables or JSON, and write its page if asked; exit code 1 when a check failed."""
    if html is not None:
        write_page(report, html)
    if as_json:
        typer.echo(report.to_json())
    else:
        from rich.console import Console

        report.print(Console(width=None if sys.stdout.isatty() else 140))
    if not report.ok:
        raise typer.Exit(1)


class Page(Protocol):
    """What can be written as a page."""

    def to_html(self) -> str: ...


def write_page(report: Page, path: str) -> None:
    try:
        Path(path).write_text(report.to_html(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
