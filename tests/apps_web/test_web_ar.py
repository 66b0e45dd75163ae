"""AR in an emulated WebXR session: what its camera sees is read rightly, and labels stay where they were
pinned.
"""

from __future__ import annotations

import math
import os
import re
from itertools import combinations

import pytest
from preset_truth import SIGN, truths
from scene_video import extended

from phantom_edge.scenes import correct, make_scene

SCREENSHOT = "PHANTOM_EDGE_AR_SCREENSHOT"  # a file that takes a picture of four pins
TURN = 10  # degrees to the right, as in e2e/check.mjs
EYE = 0.04  # metres: the emulator's eye is not where its head is
WALL = 2  # metres


@pytest.fixture(scope="module")
def session(check, address, video, tmp_path_factory) -> dict:
    picture = tmp_path_factory.mktemp("ar") / "scene.png"
    scene = make_scene("test", 6, kinds={"mixed": 1})
    extended(scene.render(480), (480, 1040)).save(picture)  # a screen of this shape shows all of it
    seen = check("ar", url=address, video=video, picture=picture, question=SIGN)
    return seen | {"truth": truths(scene)[SIGN]}


def test_the_session_takes_the_place_of_the_camera_and_gives_it_back(session):
    assert session["camera"]  # the video is hidden
    assert session["stage"] == [390, 844]  # the room fills the window, the panel floats above it
    assert not session["after"]["ar"]
    assert [label["hidden"] for label in session["after"]["labels"]] == [False]
    slow = "GL Driver Message (OpenGL, Performance"  # Chromium without a GPU says so of every read
    assert [line for line in session["complaints"] if slow not in line] == []


def test_what_the_cameras_texture_shows_is_read_rightly(session):
    # Letters: a picture that is mirrored, upside down or cut at the wrong place says something else.
    truth = session["truth"]
    assert correct(truth.task, truth.answer, session["answer"]["text"])


def test_a_label_stays_on_the_wall_while_the_device_turns(session):
    width, height = session["stage"]
    per_radian = height / 2 / math.tan(session["fov"] / 2)  # pixels that a tangent of 1 takes
    near = EYE / WALL * per_radian
    (ahead,) = session["ahead"]
    assert (ahead["x"], ahead["y"]) == pytest.approx((width / 2, height / 2), abs=near)
    (turned,) = session["turned"]
    assert turned["x"] - ahead["x"] == pytest.approx(-math.tan(math.radians(TURN)) * per_radian, abs=near)
    assert turned["y"] == pytest.approx(ahead["y"], abs=2)


def test_every_pin_keeps_its_label(session):
    first, second = session["second"]
    before = session["turned"][0]
    assert [first[name] for name in ("x", "y", "answer")] == [before[name] for name in ("x", "y", "answer")]
    assert second["x"] == pytest.approx(session["ahead"][0]["x"], abs=4)
    assert second["answer"]
    assert all(label["hidden"] for label in session["away"])  # both are behind the viewer


@pytest.fixture(scope="module")
def pins(check, address, video, tmp_path_factory) -> dict:
    """Four pins at one place, without a tap; then they are deleted."""
    picture = tmp_path_factory.mktemp("pins") / "scene.png"
    extended(make_scene("test", 6, kinds={"mixed": 1}).render(480), (480, 1040)).save(picture)
    return check("arPins", url=address, video=video, picture=picture, file=os.environ.get(SCREENSHOT))


def test_a_pin_is_placed_by_key_and_button(pins):
    (first,) = pins["first"]
    assert not first["hidden"]
    assert first["answer"]
    assert (first["x"], first["y"]) == pytest.approx((195, 422), abs=30)
    assert "Pin placed." in pins["said"] or "stand-in" in pins["said"]
    slow = "GL Driver Message (OpenGL, Performance"
    assert [line for line in pins["complaints"] if slow not in line] == []


def test_four_pins_make_no_pile(pins):
    labels = pins["four"]
    assert [label["small"] for label in labels] == [True, True, True, False]  # the newest shows all of it
    assert all(label["answer"] and not label["hidden"] for label in labels)
    boxes = [label["box"] for label in labels]
    assert all(not _overlap(a, b) for a, b in combinations(boxes, 2)), boxes
    assert all(box["left"] >= 0 and box["right"] <= 390 for box in boxes)
    assert all(box["top"] >= 0 and box["bottom"] <= pins["panel"] for box in boxes)
    emulators = re.compile(
        r"region: (body > div|div:nth-child\(\d+\))"
    )  # its canvas; all that is ours has an id
    assert [line for line in pins["axe"] if not emulators.fullmatch(line)] == []
    assert pins["contrast"] == []


def test_each_pin_can_be_deleted(pins):
    assert [len([label for label in pins[step] if not label["hidden"]]) for step in ("three", "two")] == [
        3,
        2,
    ]
    assert pins["focus"] == "place"
    assert [label["small"] for label in pins["three"]] == [True, True, False]
    assert pins["none"] == []
    assert [label["hidden"] for label in pins["after"]] == [False]
    assert pins["deletes"] == 0  # the camera's label has nothing to delete


def _overlap(a: dict, b: dict) -> bool:
    across = min(a["right"], b["right"]) - max(a["left"], b["left"])
    down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return across > 0.5 and down > 0.5
