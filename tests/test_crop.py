"""The square around a point: the vectors of all languages, and what Phantom-Nano then answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import phantom_edge as pe
from phantom_edge.crop import Crop, Spot, crop_around
from phantom_edge.errors import InputError
from phantom_edge.images import load_image
from phantom_edge.runtime.session import Session

VECTORS = json.loads((Path(__file__).parent / "support" / "crop_vectors.json").read_text("utf-8"))
CASES, REFUSED = VECTORS["cases"], VECTORS["refused"]
COLOUR = "What colour is the largest object?"


def test_the_vectors_cover_every_place():
    assert len(CASES) > 400
    assert {1, 2, 7} <= {min(case["picture"]) for case in CASES} | {case["picture"][0] for case in CASES}
    assert {case["size"] for case in CASES} >= {0.1, 0.25, 0.4, 0.5, 0.75, 1}
    corners = {tuple(case["point"]) for case in CASES if case["picture"] == [640, 480]}
    assert {(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)} <= corners


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['picture']}{case['point']}{case['size']}")
def test_the_vectors(case):
    width, height = case["picture"]
    crop = Crop.around(*case["point"], case["size"], width=width, height=height)
    assert [crop.left, crop.top, crop.side] == case["crop"]
    assert 0 <= crop.left <= width - crop.side
    assert 0 <= crop.top <= height - crop.side


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_outside_is_refused(case):
    x, y, size = (float(value) for value in [*case["point"], case["size"]])
    with pytest.raises(InputError, match="outside of the picture" if case["why"] == "point" else "size"):
        Crop.around(x, y, size, width=640, height=480)


def test_it_is_these_pixels():
    values = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    part = crop_around(Image.fromarray(values), 0.9, 0.2, 0.5)
    assert np.array_equal(np.asarray(part), values[:15, 35:])


def test_a_turned_picture_is_cut_as_it_is_seen(tmp_path):
    """The point counts from the corner of the upright picture; and the cut is not turned once more."""
    sensor = Image.new("RGB", (40, 20), "blue")
    sensor.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the red half is on top when upright
    sensor.save(tmp_path / "photo.png", exif=exif)
    above, below = (crop_around(tmp_path / "photo.png", 0.5, y, 0.4) for y in (0.2, 0.8))
    assert (above.getcolors(), below.getcolors()) == ([(64, (255, 0, 0))], [(64, (0, 0, 255))])
    tall = crop_around(tmp_path / "photo.png", 0.5, 0.5, 1)
    assert np.array_equal(np.asarray(load_image(tall)), np.asarray(tall))


@pytest.mark.parametrize("size", [(640, 480), (7, 5), (1, 1)])
def test_a_pixel_is_in_the_middle_of_its_square(size):
    width, height = size
    for x in {0, width // 3, width - 1}:
        for y in {0, height // 2, height - 1}:
            crop = Spot.parse(f"{x}px,{y}px,0.1").crop(width, height)
            assert crop.left <= x < crop.left + crop.side
            assert crop.top <= y < crop.top + crop.side
    crop = Spot.parse("320px,240px,0.1").crop(640, 480)
    assert (crop.left, crop.top, crop.side) == (297, 217, 48)  # 320.5 - 24, rounded


@pytest.mark.parametrize(
    ("text", "spot"),
    [
        ("0.3,0.7", Spot(0.3, 0.7)),
        (" 0 , 1 , 1 ", Spot(0, 1, 1)),
        (".5,1.,.25", Spot(0.5, 1, 0.25)),
        ("412px,96px", Spot(412, 96, in_pixels=True)),
        ("1px, 0px ,0.1", Spot(1, 0, 0.1, in_pixels=True)),
    ],
)
def test_points_as_text(text, spot):
    assert Spot.parse(text) == spot


BAD = [
    "",
    "0.5",
    "0.5,",
    "0,5,0,5,1",
    "a,b",
    "nan,0.5",
    "0.5,inf",
    "1e-1,0.5",
    "50%,50%",
    "0.5 0.5",
    "\u0660,\u0660",
    "9" * 9999,
]
OUTSIDE = ["-0.1,0.5", "0.5,1.01", "2,2", "0.5,0.5,0.09", "0.5,0.5,2", "0.5,0.5,-1", "0.5,0.5," + "9" * 999]
MIXED = ["5px,0.5", "0.5,5px", "1.5px,2px", "-1px,2px", "+1px,2px", "5px,5px,0.05"]


@pytest.mark.parametrize("text", BAD + OUTSIDE + MIXED, ids=lambda text: text[:20])
def test_no_points(text):
    with pytest.raises(InputError) as caught:
        Spot.parse(text)
    assert "give " in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["640px,0px", "0px,480px", "9" * 400 + "px,0px"])
def test_a_pixel_beyond_the_edges_is_refused(text):
    with pytest.raises(InputError, match=r"640x480: give 0 to 639 and 0 to 479"):
        Spot.parse(text).crop(640, 480)


def two_things() -> Image.Image:
    """A red disc and, smaller, a blue square."""
    picture = Image.new("RGB", (1280, 960), (208, 208, 204))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((200, 300, 480, 580), fill=(200, 40, 40))
    draw.rectangle((900, 420, 1040, 560), fill=(40, 80, 200))
    return picture.resize((640, 480), Image.Resampling.LANCZOS)


def test_a_tap_changes_the_answer():
    """Phantom-Nano itself: about the whole picture, and where one points."""
    session, picture = Session.open(), two_things()

    def answer(image: Image.Image) -> str:
        return "".join(session.generate(COLOUR, image, max_tokens=8)).strip().lower().rstrip(".")

    assert "red" in answer(picture)
    assert "red" in answer(pe.crop_around(picture, 340 / 1280, 440 / 960))
    assert "blue" in answer(pe.crop_around(picture, 970 / 1280, 490 / 960))
