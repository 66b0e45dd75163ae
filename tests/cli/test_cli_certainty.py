"""What `run` says of an answer that the model is not sure of, and of one that is empty."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from phantom_edge.cli import app
from phantom_edge.cli.certainty import check_answered, percent
from phantom_edge.errors import CheckError
from phantom_edge.runtime.session import Session

QUESTION = "What colour is it?"


def run(*arguments) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture(scope="module")
def tokens(tiny_dirs) -> list[int]:
    """The first two tokens of a small model's answer."""
    pieces = Session.open(tiny_dirs["phi3"]).chat().pieces(QUESTION, max_tokens=2)
    return [choice.token for piece in pieces for choice in piece.tokens]


def ending_with(folder: Path, token: int, out: Path) -> Path:
    """The same model, for which a token is the end of an answer."""
    shutil.copytree(folder, out)
    config = json.loads((out / "config.json").read_text())
    config["eos_token_id"] = token
    (out / "config.json").write_text(json.dumps(config))
    return out


def test_an_unlikely_answer_is_called_not_sure_and_stays_as_it_is(tiny_dirs, tokens, tmp_path):
    assert tokens[0] != tokens[1]
    model = ending_with(tiny_dirs["phi3"], tokens[1], tmp_path / "model")
    (record,) = json.loads(run("-m", model, "-p", QUESTION, "--json").stdout)
    assert 0 < record["confidence"] < 0.5
    sure = percent(record["confidence"])
    done = run("-m", model, "-p", QUESTION, "--stats")
    assert done.exit_code == 0, done.stderr
    answer = done.stdout.removesuffix("\n")
    assert answer.strip()
    assert f"not sure (perhaps {answer.strip()}, {sure})" in done.stderr
    assert f"stopped at end, {sure} sure" in done.stderr
    assert record["answer"] == answer


def test_choices_are_as_sure_as_their_share(tiny_dirs):
    quiet = run("-m", tiny_dirs["phi3"], "-p", QUESTION, "--choices", "red")
    assert quiet.exit_code == 0
    assert "not sure" not in quiet.stderr  # the only choice, whatever the model would say by itself
    stats = run("-m", tiny_dirs["phi3"], "-p", QUESTION, "--choices", "red", "--stats")
    assert "not sure" not in stats.stderr
    assert "stopped at end, 100 % sure" in stats.stderr


def test_an_empty_answer_is_no_success(tiny_dirs, tokens, tmp_path):
    model = ending_with(tiny_dirs["phi3"], tokens[0], tmp_path / "model")
    done = run("-m", model, "-p", QUESTION)
    assert done.exit_code == 1
    assert done.stdout.strip() == ""
    assert done.stderr.startswith("error: the model gave no answer; ask in other words, point at")
    assert len(done.stderr.splitlines()) == 1
    done = run("-m", model, "-p", QUESTION, "--json")
    assert done.exit_code == 1
    (record,) = json.loads(done.stdout)
    assert (record["answer"], record["stop"], record["new_tokens"]) == ("", "end", 0)
    assert 0 < record["confidence"] < 1


def test_how_many_are_empty_and_why():
    said, empty = {"answer": "red", "stop": "end"}, {"answer": " \n", "stop": "end"}
    check_answered([said])
    with pytest.raises(CheckError, match="gave no answer to 2 of 3 questions; ask in other words"):
        check_answered([said, empty, empty])
    with pytest.raises(CheckError, match="no answer before the text of --stop; give another"):
        check_answered([{"answer": "", "stop": "stop"}])
