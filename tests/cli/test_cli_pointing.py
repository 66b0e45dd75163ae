"""`run --at`: the square that the model sees, and one line for every point that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from phantom_edge.cli import app

QUESTION = ("-p", "What colour is the largest object?")


def run(*arguments) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture
def picture(tmp_path) -> Path:
    """Green on the left, red on the right."""
    image = Image.new("RGB", (640, 480), (30, 150, 60))
    image.paste((210, 30, 30), (320, 0, 640, 480))
    path = tmp_path / "picture.png"
    image.save(path)
    return path


def seen(monkeypatch) -> list[Image.Image]:
    """The pictures that chats are about."""
    from phantom_edge.runtime.session import Session

    pictures, chat = [], Session.chat
    monkeypatch.setattr(Session, "chat", lambda self, image: (pictures.append(image), chat(self, image))[1])
    return pictures


@pytest.mark.parametrize(
    ("at", "colour", "crop"),
    [
        ("0.1,0.5", (30, 150, 60), {"left": 0, "top": 144, "side": 192}),
        ("600px,5px,0.25", (210, 30, 30), {"left": 520, "top": 0, "side": 120}),
    ],
)
def test_the_model_sees_the_square(picture, monkeypatch, at, colour, crop):
    pictures = seen(monkeypatch)
    done = run(*QUESTION, "-i", picture, "--at", at, "--max-tokens", 2, "--json", "--stats")
    assert done.exit_code == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["crop"] == crop
    side = crop["side"]
    assert pictures[0].getcolors() == [(side * side, colour)]
    assert f"sees {side}x{side} pixels from {crop['left']},{crop['top']}" in done.stderr


def test_without_a_point_it_sees_all(picture, monkeypatch):
    pictures = seen(monkeypatch)
    done = run(*QUESTION, "-i", picture, "--max-tokens", 2, "--json")
    assert done.exit_code == 0, done.stderr
    assert "crop" not in json.loads(done.stdout)[0]
    assert pictures == [picture]


def test_a_picture_that_is_squeezed_into_one_tile_is_said(picture, tmp_path):
    words = "sees all 640x480 pixels, squeezed into a square; --at 0.5,0.5,1 gives the largest square instead"
    assert words in run(*QUESTION, "-i", picture, "--max-tokens", 2, "--stats").stderr
    assert "squeezed" not in run(*QUESTION, "-i", picture, "--max-tokens", 2).stderr
    square = tmp_path / "square.png"
    Image.new("RGB", (480, 480), "red").save(square)
    assert "squeezed" not in run(*QUESTION, "-i", square, "--max-tokens", 2, "--stats").stderr


REFUSED = {
    "word": ("here", "'here' is no point: give X,Y or X,Y,SIZE, such as 0.3,0.7"),
    "not a number": ("nan,0.5", "is no point"),
    "outside": ("1.2,0.5", "--at: x is 1.2, outside of the picture: give 0 (left) to 1 (right)"),
    "negative": ("0.5,-0.5", "--at: y is -0.5, outside"),
    "too small": ("0.5,0.5,0.01", "--at: the crop's size is 0.01: give 0.1 to 1"),
    "too large": ("0.5,0.5,1.5", "size is 1.5"),
    "pixel": ("700px,5px", "--at: pixel 700,5 is outside of the picture, which has 640x480"),
    "long": ("9" * 5000, "is no point"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_point_that_is_none_is_one_line_before_a_model_is_loaded(name, picture, monkeypatch):
    monkeypatch.setattr("phantom_edge.runtime.session.Session.open", lambda *_, **__: pytest.fail("loaded"))
    at, message = REFUSED[name]
    done = run(*QUESTION, "-i", picture, "--at", at)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert message in line
    assert len(line) <= 300


def test_a_point_needs_a_picture(monkeypatch):
    monkeypatch.setattr("phantom_edge.runtime.session.Session.open", lambda *_, **__: pytest.fail("loaded"))
    done = run(*QUESTION, "--at", "0.5,0.5")
    assert done.exit_code == 2
    assert done.stderr.strip() == "error: --at points into a picture; give that with --image"


def test_a_broken_picture_is_named(tmp_path):
    done = run(*QUESTION, "-i", tmp_path / "none.png", "--at", "0.5,0.5")
    assert done.exit_code == 2
    assert "none.png" in done.stderr
    assert "--at" not in done.stderr
