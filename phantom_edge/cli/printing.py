"""Printing, which never decides a result: every terminal can show it, and a failure has its own exit code."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

from phantom_edge.errors import InputError, PhantomEdgeError

if TYPE_CHECKING:
    from phantom_edge.report.report import Report

PLAIN: Final = "phantom_edge.plain"
_IN_ASCII: Final = {
    "\N{LESS-THAN OR EQUAL TO}": "<=", "\N{GREATER-THAN OR EQUAL TO}": ">=", "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x", "\N{HORIZONTAL ELLIPSIS}": "...", "\N{RIGHTWARDS ARROW}": "->",
    "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"', "\N{MICRO SIGN}": "u", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


class PrintError(PhantomEdgeError):
    """The result could not be shown; what was written to disk stays. Exit code 3."""

    exit_code = 3


class Page(Protocol):
    """What can be written as a page."""

    def to_html(self) -> str: ...


def prepare_streams() -> None:
    """Let stdout and stderr take every character, and have them even where the caller closed them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # else the next file that is opened gets the number, and the prints
            with suppress(OSError):
                os.fstat(number)
                continue
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    codecs.register_error(PLAIN, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=PLAIN)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What a terminal without a character shows for it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(c, "?") for c in error.object[error.start : error.end]), error.end


@contextmanager
def guarded() -> Iterator[None]:
    """Turn a failure of stdout into :class:`PrintError`: a full disk, or a reader that has gone."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise PrintError("") from None  # who closed the pipe has read enough
    except (OSError, ValueError) as error:
        _discard_output()
        reason = getattr(error, "strerror", None) or error
        raise PrintError(f"the result could not be printed ({reason}); what was written stays") from None


def echo(text: str = "", *, nl: bool = True) -> None:
    """Print a text to stdout. Raises :class:`PrintError`."""
    with guarded():  # not by typer.echo, which writes UTF-8 to a terminal of ASCII
        sys.stdout.write(f"{text}\n" if nl else text)


def echo_json(value: Any) -> None:
    """Print a value, or a text that is JSON, for machines: in ASCII where stdout cannot take all of it."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=2)
    echo(text)


def say(text: str, *, colour: str | None = None) -> None:
    """Print a line to stderr, in colour where that is a terminal; ``NO_COLOR`` is honoured."""
    with suppress(OSError, ValueError):
        coloured = colour is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        sys.stderr.write((typer.style(text, fg=colour) if coloured else text) + "\n")
        sys.stderr.flush()


def show(report: Report, *, as_json: bool, html: str | None = None, details: bool = True) -> None:
    """Print a report as tables or JSON, and write its page if asked; exit code 1 when a check failed."""

    def tables() -> None:
        if as_json:
            echo_json(report.to_json())
        else:
            print_report(report, details=details)

    deliver(tables, (report, html))
    if not report.ok:
        raise typer.Exit(1)


def print_report(report: Report, *, details: bool = True) -> None:
    """Print a report as tables, without ``details`` what a first look needs."""
    from rich.console import Console

    with guarded():
        console = Console(width=None if sys.stdout.isatty() else 140)
        with console.capture() as text:  # rich ends the process itself when a pipe is closed
            report.print(console, details=details)
        sys.stdout.write(text.get())


def deliver(show: Callable[[], None], *pages: tuple[Page, str | None]) -> None:
    """Write the pages that have a name, then show the result; no failure takes another along."""
    refused = None
    for page, html in pages:
        try:
            if html is not None:
                write_page(page, html)
        except InputError as error:
            refused = error
    show()
    if refused is not None:
        raise refused


def check_page(html: str | None) -> None:
    """Refuse, before any work, a page that could not be written."""
    from phantom_edge.system.outputs import PAGE, check_file

    if html is not None:
        check_file(html, PAGE)


def write_page(page: Page, html: str) -> None:
    """Write a page, whole or not at all. Raises :class:`InputError` where that is not possible."""
    from pathlib import Path

    from phantom_edge.system.writing import replacing_file

    check_page(html)
    with replacing_file(Path(html)) as partial:
        partial.write_text(page.to_html(), encoding="utf-8", errors="replace")


def _discard_output() -> None:
    """Send what is still buffered nowhere, so that it does not fail again at the end."""
    with suppress(OSError, ValueError, AttributeError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
