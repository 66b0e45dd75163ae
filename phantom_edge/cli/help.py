"""The help as plain text: commands in groups, whole sentences, and lines as wide as the terminal."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any, Final

GROUPS: Final = {
    "Make a bundle": ("export", "quantize", "tune", "sweep"),
    "Check and measure": ("verify", "eval", "bench", "estimate", "conform"),
    "Ask": ("run", "serve"),
    "Put it into an app": ("app", "push", "pull"),
    "Look around": ("inspect", "targets", "scenes", "doctor"),
}
"""Commands by what they are for, in the order in which one meets them."""
LEAST_WIDTH: Final = 20
NARROW: Final = 60
"""Columns below which a text stands under its option, not beside it."""


def columns() -> int:
    """The terminal's width in columns, at least :data:`LEAST_WIDTH`."""
    return max(LEAST_WIDTH, shutil.get_terminal_size().columns)


def help_text(command: Any, ctx: Any) -> str:
    """A command's help. A terminal of fewer columns than click counts on gets lines that fit it."""
    width = columns()
    if width < NARROW:
        ctx.terminal_width = width - 2
    formatter = ctx.make_formatter()
    if width < NARROW:
        formatter.write_dl = partial(formatter.write_dl, col_max=4)
    command.format_help(ctx, formatter)
    text: str = formatter.getvalue()
    return text.rstrip("\n")


def write_commands(group: Any, ctx: Any, formatter: Any) -> None:
    """Every command of a group with the first sentence of its help, under the heading it belongs to."""
    commands = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    visible = {name: command for name, command in commands.items() if command and not command.hidden}
    sections: dict[str, list[tuple[str, str]]] = {}
    groups = GROUPS if ctx.parent is None else {}
    for heading, names in groups.items():
        sections[heading] = [(name, _sentence(visible.pop(name))) for name in names if name in visible]
    sections["Commands"] = [(name, _sentence(command)) for name, command in visible.items()]
    for heading, rows in sections.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


def _sentence(command: Any) -> str:
    """The first sentence of a command's help, whole."""
    paragraph = " ".join((command.help or "").partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")
