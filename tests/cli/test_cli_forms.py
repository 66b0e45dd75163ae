"""Forms on the command line, with Phantom-Nano: what is printed, and one line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from phantom_edge.cli import app
from phantom_edge.scenes import make_scene

QUESTION = ("-p", "How many objects are there?")


def run(*arguments) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("forms") / "scene.png"
    make_scene("test", 0).render(448).save(path)
    return path


@pytest.mark.slow
def test_choices_and_how_likely_each_is(picture):
    done = run(*QUESTION, "-i", picture, "--choices", "1, 2,3,4,5,6", "--json")
    assert done.exit_code == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    shares = answer["likelihoods"]
    assert sorted(shares) == ["1", "2", "3", "4", "5", "6"]
    assert sum(shares.values()) == pytest.approx(1)
    assert answer["answer"] == max(shares, key=shares.__getitem__)
    assert answer["stop"] == "end"
    done = run(*QUESTION, "-i", picture, "--choices", "1,2,3", "--stats")
    assert done.stdout.strip() in ("1", "2", "3")
    assert f"{done.stdout.strip()} " in done.stderr.splitlines()[-1]
    assert " %" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_schema_from_a_file_and_a_regular_expression(picture, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(
        json.dumps(
            {
                "type": "object",
                "properties": {"n": {"enum": [1, 2, 30]}},
                "required": ["n"],
                "additionalProperties": False,
            }
        )
    )
    done = run(*QUESTION, "-i", picture, "--schema", schema)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n"] in (1, 2, 30)
    done = run(*QUESTION, *QUESTION, "--regex", "[0-9] (dog|cat)s?")
    assert len(done.stdout.splitlines()) == 2
    assert all(line[1:] in (" dog", " cat", " dogs", " cats") for line in done.stdout.splitlines())


@pytest.mark.slow
def test_an_answer_that_is_cut_is_a_failed_check(picture):
    done = run(*QUESTION, "--regex", "x{50}", "--max-tokens", 2, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)[0]["stop"] == "length"
    assert done.stderr.strip().startswith("error: the answer ended by length before its form was met")


def _file(folder: Path, text: str) -> Path:
    path = folder / "schema.json"
    path.write_text(text)
    return path


REFUSED = {
    "two": (("--choices", "a,b", "--regex", "a"), "--choices and --regex: an answer has one form"),
    "three": (("--choices", "a", "--regex", "a", "--schema", "x"), "one form"),
    "empty choice": (("--choices", "a,,b"), "a choice has 0 characters"),
    "twice": (("--choices", "a,b,a"), "'a' is there twice"),
    "explodes": (("--regex", "(a{1000}){1000}"), "use smaller ones"),
    "refused": (("--regex", "(?=a)b"), "looks around"),
    "open": (("--regex", "(a"), "a parenthesis"),
    "no file": (("--schema", "none.json"), "none.json: not found"),
    "no JSON": (("--schema", "{"), "not readable as JSON"),
    "list": (("--schema", "[]"), "expected an object"),
    "no text": (("--schema", '{"type": "integer", "minimum": 2, "maximum": 1}'), "cannot be followed"),
    "circle": (("--schema", '{"$ref": "#"}'), "no text meets"),
    "unknown": (("--schema", '{"type": "colour"}'), "cannot be followed"),
    "large": (("--schema", '{"const": "' + "x" * 300_000 + '"}'), "larger than"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_one_line_before_a_model_is_loaded(name, tmp_path, monkeypatch):
    monkeypatch.setattr("phantom_edge.runtime.session.Session.open", lambda *_, **__: pytest.fail("loaded"))
    arguments, message = REFUSED[name]
    if arguments[0] == "--schema" and not arguments[1].endswith(".json"):
        arguments = ("--schema", _file(tmp_path, arguments[1]))
    done = run(*QUESTION, *arguments)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert message in line
    assert len(line) <= 300
