"""The help: every command in one group, whole sentences, and lines that fit the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer

from phantom_edge.cli import app
from phantom_edge.cli.help import GROUPS

ROOT: Any = typer.main.get_command(app)


def shown(*words: str, columns: int) -> str:
    environment = {**os.environ, "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "phantom_edge", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    return done.stdout


def test_every_command_has_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(ROOT.commands)


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
def test_no_sentence_is_cut_and_no_line_is_too_long(columns):
    text = shown(columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "..." not in text.partition("Make a bundle")[2]
    words = " ".join(text.split())
    for command in ROOT.commands.values():
        sentence = " ".join(command.help.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")
        assert sentence in words
    for heading in GROUPS:
        assert f"\n{heading}:\n" in text


@pytest.mark.parametrize("words", [("export",), ("serve",), ("app", "ios"), ("app",)])
@pytest.mark.parametrize("columns", [40, 80])
def test_options_fit_too(words, columns):
    text = shown(*words, columns=columns)
    assert max(map(len, text.splitlines())) <= columns
