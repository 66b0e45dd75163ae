"""What a command says last: the next one, as a line that a shell takes, and nothing where data is meant."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import typer

from phantom_edge.cli import app, ending

ROOT = typer.main.get_command(app)
ANSWERS = [{"answer": "red", "new_tokens": 3, "vision": 0.25, "prefill": 0.5}]


def understood(line: str) -> None:
    """Whether the command line has the command and its options."""
    program, name, *rest = shlex.split(line.removeprefix("next: "))
    assert program == "phantom-edge"
    command = ROOT.commands[name]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("target", ["ios", "android", "web", "webgpu", "desktop", "linux-arm64"])
@pytest.mark.parametrize("verified", [True, False])
def test_after_an_export(target, verified, capsys):
    ending.after_export(Path("my bundle"), target, verified=verified)
    line = capsys.readouterr().out
    understood(line)
    assert "'my bundle'" in line
    assert line.startswith("next: phantom-edge verify") != verified


def test_after_an_evaluation_with_few_questions_more_are_asked(capsys):
    ending.after_eval("nano", ["phantom-nano"], 6)
    line = capsys.readouterr().out
    understood(line)
    assert line == "next: phantom-edge eval --model nano --against phantom-nano --samples 50\n"
    for against in ([], ["phantom-nano"]):
        ending.after_eval(None, against, 50)
        line = capsys.readouterr().out
        understood(line)
        assert "--model" not in line
        assert "--samples" not in line


def test_after_a_quantisation(capsys):
    for output in (None, Path("q.safetensors")):
        ending.after_quantize("m", output)
        line = capsys.readouterr().out
        understood(line)
        assert line.startswith("next: phantom-edge export" if output else "next: phantom-edge quantize")


def test_after_an_answer_only_a_terminal_hears_of_it(capsys, monkeypatch):
    ending.before_run("Shapes.")
    ending.after_run("nano", ANSWERS)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ending.before_run(None)
    ending.before_run("Shapes.")
    ending.after_run("nano", [*ANSWERS, {**ANSWERS[0], "answer": " "}])
    out, err = capsys.readouterr()
    assert out == ""
    knowledge, first, second = err.splitlines()
    assert knowledge == "what this model knows: Shapes."
    assert first == "2 answers, 1 of them empty: 6 tokens, the first after 0.75 s"
    understood(second)
