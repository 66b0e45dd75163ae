"""Commands that refuse what could mean two things: an option given twice, an empty text, a number like NaN.

Every wrong use ends as one line, like every other error.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from phantom_edge.cli.help import help_text, write_commands
from phantom_edge.cli.printing import say
from phantom_edge.errors import one_line

Command = TypeVar("Command", bound=Callable[..., Any])
WrongUse: Any = typer.BadParameter.__bases__[0]
"""Of the click that typer brings along: an unknown option or command, a missing or a bad value."""


class StrictCommand(TyperCommand):
    """A command whose options are given once, except those that are made to be repeated."""

    def get_help(self, ctx: Any) -> str:
        return help_text(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: Any = self.make_parser(ctx).parse_args(args=list(args))
        values, _, given = parsed
        counts = Counter(id(parameter) for parameter in given)
        for parameter in given:
            once = parameter.param_type_name == "option" and not (parameter.multiple or parameter.count)
            if once and counts[id(parameter)] > 1:
                ctx.fail(f"{parameter.opts[0]} is given {counts[id(parameter)]} times, and once is meant")
            if _has_empty(values.get(parameter.name)):
                ctx.fail(f"{parameter.opts[0]} is an empty text; leave it out or fill it")
        rest: list[str] = super().parse_args(ctx, args)
        for name, value in ctx.params.items():
            if isinstance(value, float) and not math.isfinite(value):
                ctx.fail(f"--{name.replace('_', '-')} is {value}; give a number")
        return rest


class StrictGroup(TyperGroup):
    """The commands; wrong use of any of them is one line on stderr, exit code 2."""

    def get_help(self, ctx: Any) -> str:
        return help_text(self, ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        write_commands(self, ctx, formatter)

    def main(self, *args: Any, **extra: Any) -> Any:
        standalone_mode = extra.get("standalone_mode", True)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except WrongUse as error:
            if not standalone_mode:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                sys.exit(error.exit_code)
            where = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
            line = one_line(f"{error.format_message().rstrip('.')}{where}")
            say(f"error: {line}", colour="red")
            sys.exit(error.exit_code)
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code


class StrictTyper(typer.Typer):
    """A typer whose commands are strict."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=StrictGroup, **settings)

    def command(self, *names: Any, **settings: Any) -> Callable[[Command], Command]:
        """As typer's, with :class:`StrictCommand`."""
        return super().command(*names, cls=StrictCommand, **settings)


def _has_empty(value: Any) -> bool:
    """Whether a value from the command line is an empty text, or a list of texts with one."""
    return value == "" or (isinstance(value, (list, tuple)) and "" in value)
