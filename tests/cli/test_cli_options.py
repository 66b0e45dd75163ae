"""Every number of the command line has its bounds, and what could mean two things is refused."""

from __future__ import annotations

import inspect
import math
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from phantom_edge.cli import app
from phantom_edge.cli.app_command import apps

RUNNER = CliRunner()
NUMBERS = (int, float)


def commands() -> dict[str, Any]:
    """Every command's function by how it is called."""
    table = {f"{c.name or c.callback.__name__}": c.callback for c in app.registered_commands}
    return table | {f"app {c.name or c.callback.__name__}": c.callback for c in apps.registered_commands}


def options(function: Any) -> list[tuple[str, Any, Any]]:
    """Name, type without None, and typer's description of each parameter."""
    rows = []
    for name, hint in get_type_hints(inspect.unwrap(function), include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, info = get_args(hint)[:2]
            union = get_args(kind) if get_origin(kind) is UnionType else (kind,)
            rows.append((name, next(k for k in union if k is not type(None)), info))
    return rows


COMMANDS = commands()
NUMERIC = [
    (command, name, kind, info)
    for command, function in COMMANDS.items()
    for name, kind, info in options(function)
    if kind in NUMBERS
]


def flag(command: str, name: str) -> str:
    """An option as it is written."""
    built: Any = typer.main.get_command(app)
    for part in command.split():
        built = built.commands[part]
    return str(next(p for p in built.params if p.name == name).opts[0])


def refused(command: str, *arguments: str) -> str:
    """The one line that a command refuses these arguments with."""
    result = RUNNER.invoke(app, [*command.split(), *arguments])
    assert result.exit_code == 2, result.output
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert len(line) <= 300
    return line


def test_there_are_numbers():
    assert len(NUMERIC) > 30


@pytest.mark.parametrize(("command", "name", "kind", "info"), NUMERIC, ids=lambda v: str(v)[:24])
def test_every_number_has_bounds_and_keeps_them(command, name, kind, info):
    assert info.min is not None, f"{command} --{name}"
    assert info.max is not None, f"{command} --{name}"
    assert math.isfinite(info.min)
    assert math.isfinite(info.max)
    below, above = info.min - 1, info.max * 2 + 1
    extremes = [below, above, "9" * 400, "9" * 9999, "-" + "9" * 400, "nan", "inf", "-inf", "1e999", "x", ""]
    for value in extremes:
        line = refused(command, flag(command, name), str(value))
        assert flag(command, name) in line


SINGLE = [
    (command, name, info)
    for command, function in COMMANDS.items()
    for name, kind, info in options(function)
    if kind is not bool and get_origin(kind) is not list and type(info).__name__ == "OptionInfo"
]


@pytest.mark.parametrize(("command", "name", "info"), SINGLE, ids=lambda v: str(v)[:24])
def test_an_option_that_is_meant_once_is_not_given_twice(command, name, info):
    value = str(info.min) if info.min is not None else "x"
    line = refused(command, flag(command, name), value, flag(command, name), value)
    assert "2 times" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stop", ""],
        ["--stop", "a", "--stop", ""],
        ["--image", ""],
        ["--model", ""],
        ["--temperature", "1e-320"],
        ["--seed", "-1"],
        ["--json", "--json"],
        ["--nothing-like-this" + "x" * 5000],
    ],
    ids=lambda a: " ".join(a)[:30],
)
def test_what_has_no_meaning_is_refused(arguments):
    refused("run", "-p", "What is it?", *arguments)


def test_what_may_be_repeated_is(tmp_path):
    """Turns, ends of an answer: the command goes on to its model, which is not there."""
    line = refused("run", "-p", "a", "-p", "b", "--stop", "x", "--stop", "y", "-m", str(tmp_path / "none"))
    assert "no such folder" in line


@pytest.mark.parametrize("command", ["nothing", "run", "run more", "verify a b", "app web"])
def test_wrong_use_is_one_line(command):
    assert "--help" in refused(command)


def test_help_is_still_a_page():
    result = RUNNER.invoke(app, ["run", "--help"])
    assert result.exit_code == 0
    assert "--temperature" in result.output
    assert "Usage" in RUNNER.invoke(app, []).output
