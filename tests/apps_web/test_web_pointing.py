"""The pin means something: a tap changes what the model sees, and so what it answers, in a real browser."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from preset_truth import LARGEST

from phantom_edge.runtime.session import Session
from phantom_edge.scenes import Part, Scene, make_scene

SIDE = 480
SCREENSHOTS = (
    "PHANTOM_EDGE_POINTING_SCREENSHOTS"  # a folder that takes a picture of the page after the first tap
)
PART = 0.4
APART = 0.45  # between the two objects: no square shows both
SCENES = 5  # of which the model answers one rightly in all three squares


def objects(scene: Scene) -> list[Part]:
    """The objects of a scene, the smaller one first."""
    return sorted((part for part in scene.parts if part.kind == "object"), key=lambda part: part.radius)


def scenes() -> Iterator[Scene]:
    """Scenes of two objects of different colours, far apart, one clearly larger."""
    for index in count():
        scene = make_scene("test", index, kinds={"objects": 1})
        pair = objects(scene)
        if len(pair) == 2 and pair[0].colour != pair[1].colour and pair[1].radius > 1.25 * pair[0].radius:
            small, large = pair
            if max(abs(small.x - large.x), abs(small.y - large.y)) > APART:
                yield scene


def square(part: Part) -> tuple[int, int, int]:
    """Left, top and side of the square around an object, by the rule of all languages."""
    side = math.floor(PART * SIDE + 0.5)
    left, top = (min(max(math.floor(at * SIDE - side / 2 + 0.5), 0), SIDE - side) for at in (part.x, part.y))
    return left, top, side


@pytest.fixture(scope="module")
def scene(web_bundle) -> Scene:
    """The first scene about which the model itself has no slip."""
    session = Session.open(web_bundle)
    for scene in islice(scenes(), SCENES):
        picture = scene.render(SIDE)
        small, large = objects(scene)
        shown = [picture]
        for left, top, side in map(square, (small, large)):
            shown.append(picture.crop((left, top, left + side, top + side)))
        answers = ["".join(session.generate(LARGEST, image)) for image in shown]
        if answers == [large.colour, small.colour, large.colour]:
            return scene
    raise AssertionError("the model is right about none of them")


@pytest.fixture(scope="module")
def picture(scene, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pointing") / "scene.png"
    scene.render(SIDE).save(path)
    return path


@pytest.fixture(scope="module", params=["phone", "laptop"])
def seen(request, check, address, picture, scene) -> dict:
    folder = os.environ.get(SCREENSHOTS)
    return check(
        "point", url=address, picture=picture, question=LARGEST, portrait=request.param == "phone",
        points=[(part.x, part.y) for part in objects(scene)], file=folder and f"{folder}/{request.param}.png",
    )  # fmt: skip


def test_a_tap_changes_the_answer(seen, scene):
    small, large = objects(scene)
    assert seen["whole"]["text"] == large.colour
    assert [step["text"] for step in seen["tapped"]] == [small.colour, large.colour]
    assert seen["again"]["text"] == large.colour  # the whole picture is one tap away
    assert seen["complaints"] == []


def test_the_keys_change_it_as_a_tap_does(seen, scene):
    assert seen["keys"]["text"] == objects(scene)[0].colour


def test_the_square_is_the_one_of_the_rule(seen, scene):
    assert seen["whole"]["square"] == seen["again"]["square"] == [0, 0, SIDE]
    for part, step in zip(objects(scene), seen["tapped"], strict=True):
        assert step["square"] == pytest.approx(square(part), abs=2)  # a tap is on a pixel of the window
        assert step["square"][2] == square(part)[2]


def test_the_square_is_shown_and_the_label_does_not_cover_it(seen):
    for step in seen["tapped"]:
        finder, label, stage = step["finder"], step["label"], step["stage"]
        assert finder["width"] == pytest.approx(PART * min(stage["width"], stage["height"]), abs=2)
        assert not _overlap(finder, label), (finder, label)
        assert not _overlap(step["pin"], label)
        assert stage["left"] <= label["left"]
        assert label["right"] <= stage["right"]
        assert stage["top"] <= label["top"]
        assert label["bottom"] <= stage["bottom"]


def test_a_moved_pin_is_announced_and_the_page_stays_accessible(seen):
    assert seen["said"].endswith(seen["tapped"][-1]["text"])
    assert (seen["axe"], seen["contrast"]) == ([], [])


def test_slider_fingers_and_wheel_make_the_square_larger_and_smaller(check, address, picture):
    seen = check("sizes", url=address, picture=picture)
    assert seen["complaints"] == []
    assert (seen["whole"]["side"], seen["whole"]["text"], seen["whole"]["whole"]) == (SIDE, "all", "true")
    sides = {name: seen[name]["side"] for name in ("tapped", "slider", "least")}
    assert sides == {"tapped": 192, "slider": 216, "least": 48}
    assert (seen["slider"]["text"], seen["slider"]["words"]) == ("45 %", "45 % of the shorter side")
    assert seen["pinched"]["side"] == 3 * 48  # the fingers are three times as far apart
    assert seen["wheel"]["side"] == round(math.exp(-0.4) * 3 * 0.1 * SIDE)
    for name in ("tapped", "slider", "least", "pinched", "wheel"):
        side = seen[name]["side"]
        assert f"about {side} by {side} pixels" in seen[name]["answer"]
        assert seen[name]["whole"] == "false"


def _overlap(a: dict, b: dict) -> bool:
    across = min(a["right"], b["right"]) - max(a["left"], b["left"])
    down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return across > 1 and down > 1
