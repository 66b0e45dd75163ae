"""The first minute as a recording: from the first screen to answers about what was pointed at."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from phantom_edge.scenes import correct, make_scene
from phantom_edge.scenes.questions import phrase
from recipes import web_samples

IMAGES = "PHANTOM_EDGE_SCREENSHOTS"  # a folder that takes the recording, such as docs/images
NAME = "first-minute.webp"
WIDTH, QUALITY = 800, 60
STEP = 125  # least milliseconds between two pictures of the recording
LONGEST = 2500  # most milliseconds that a picture stays
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def recorded(check, address, tmp_path_factory) -> dict:
    listed = json.loads((web_samples.FOLDER / web_samples.LIST).read_text())
    scene = make_scene("test", listed["pictures"]["shapes"], kinds={"objects": 1})
    things = sorted(scene.parts, key=lambda part: part.x)[:2]
    seen = check(
        "minute",
        url=address,
        folder=tmp_path_factory.mktemp("recording"),
        sample="shapes",
        pins=[(part.x, part.y) for part in things],
        question=web_samples.COUNT,
    )
    return seen | {"expected": [phrase(part) for part in things]}


def test_each_pin_is_answered_by_what_is_under_it(recorded):
    assert recorded["complaints"] == []
    *pins, _ = recorded["answers"]
    assert [
        correct("pointed", expected, answer)
        for expected, answer in zip(recorded["expected"], pins, strict=True)
    ] == [True, True], (recorded["expected"], pins)


def test_the_recording_for_the_readme(recorded, tmp_path):
    frames = _thinned(recorded["frames"])
    pictures = [Image.open(path).convert("RGB") for path, _ in frames]
    height = round(pictures[0].height * WIDTH / pictures[0].width)
    pictures = [picture.resize((WIDTH, height), Image.Resampling.LANCZOS) for picture in pictures]
    file = Path(os.environ.get(IMAGES) or tmp_path) / NAME
    pictures[0].save(
        file,
        save_all=True,
        append_images=pictures[1:],
        duration=[duration for _, duration in frames],
        loop=0,
        quality=QUALITY,
        method=4,
    )
    with Image.open(file) as recording:
        assert recording.n_frames > 15
        assert recording.size == (WIDTH, height)
    assert file.stat().st_size < MOST_BYTES


def _shows_something(path: str) -> bool:
    """Whether the page has been painted."""
    darkest, brightest = Image.open(path).convert("L").getextrema()
    return brightest - darkest > 100


def _thinned(frames: list[dict]) -> list[tuple[str, int]]:
    """Pictures at least ``STEP`` apart, each with how long it stays; a long wait is cut short."""
    painted = next(n for n, frame in enumerate(frames) if _shows_something(frame["file"]))
    kept = [frames[painted]]
    for frame in frames[painted + 1 :]:
        if frame["at"] - kept[-1]["at"] >= STEP:
            kept.append(frame)
    times = [min(b["at"] - a["at"], LONGEST) for a, b in pairwise(kept)]
    return list(zip((frame["file"] for frame in kept), [*times, LONGEST], strict=True))
