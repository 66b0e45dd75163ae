"""The first minute in a real browser: first screen, sample and gallery, what is given, and what is kept."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from one_picture import picture_of
from PIL import Image

from phantom_edge.runtime.session import Session
from phantom_edge.scenes import Scene, correct, make_scene
from recipes import web_samples

SCREENSHOTS = "PHANTOM_EDGE_FIRST_MINUTE_SCREENSHOTS"  # a folder that takes pictures of the page
SIGN, LARGEST, COUNT = web_samples.SIGN, web_samples.LARGEST, web_samples.COUNT
MOST_BYTES = 500_000


def screenshot(name: str) -> str | None:
    folder = os.environ.get(SCREENSHOTS)
    return folder and f"{folder}/{name}"


@pytest.fixture(scope="module")
def samples() -> dict:
    return json.loads((web_samples.FOLDER / web_samples.LIST).read_text())


def scene_of(name: str, index: int) -> Scene:
    return make_scene("test", index, kinds={web_samples.PICTURES[name][0]: 1})


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("first") / "scene.png"
    make_scene("test", 3).render(300).save(path)
    return path


# --- the built-in pictures ----------------------------------------------------------------------------------


def test_the_built_in_pictures_are_the_scenes_that_the_list_names(samples):
    paths = sorted(path.name for path in web_samples.FOLDER.glob("*.jpg"))
    assert paths == sorted([*(f"{name}.jpg" for name in web_samples.PICTURES), web_samples.WIDE])
    assert sum(path.stat().st_size for path in web_samples.FOLDER.iterdir()) < MOST_BYTES
    for name, index in samples["pictures"].items():
        shown = Image.open(web_samples.FOLDER / f"{name}.jpg")
        assert shown.size == (samples["side"],) * 2
        assert _difference(shown, scene_of(name, index).render(samples["side"])) < 4
    scenes = [scene_of(name, index) for name, index in samples["along"].items()]
    along = web_samples.cells(Image.open(web_samples.FOLDER / web_samples.WIDE))
    for scene, cell in zip(scenes, along, strict=True):
        assert _difference(cell, scene.render(samples["side"])) < 4


def _difference(shown: Image.Image, scene: Image.Image) -> float:
    """Mean of both in 32 by 32 parts, of 255: a JPEG loses noise."""
    small = [list(image.convert("RGB").resize((32, 32)).tobytes()) for image in (shown, scene)]
    return sum(abs(a - b) for a, b in zip(*small, strict=True)) / len(small[0])


def test_the_model_has_no_slip_about_them(samples):
    session = Session.open()
    shown = [
        (scene_of(name, index), Image.open(web_samples.FOLDER / f"{name}.jpg"))
        for name, index in samples["pictures"].items()
    ]
    along = web_samples.cells(Image.open(web_samples.FOLDER / web_samples.WIDE))
    shown += zip((scene_of(name, index) for name, index in samples["along"].items()), along, strict=True)
    slips = [slip for scene, picture in shown for slip in web_samples.slips(scene, session, picture)]
    assert slips == []


# --- the first screen ---------------------------------------------------------------------------------------


def test_the_first_screen_asks_for_nothing_and_every_way_is_reached(check, address):
    seen = check("welcome", url=address, folder=os.environ.get(SCREENSHOTS))
    assert seen["cameras"] == 0  # nobody was asked for a permission
    assert seen["loading"]  # the model is loaded meanwhile, in view
    assert "leaves this device" in seen["words"][1]
    assert "phantom-edge app demo --bundle" in seen["commands"]
    assert seen["tabs"] == ["welcome-adjust", "start-camera", "start-sample", "start-picture", "SUMMARY"]
    assert (seen["german"], seen["closed"]) == ("Kamera verwenden", "welcome-adjust")
    for state in seen["states"]:
        assert (state["axe"], state["contrast"], state["unreached"]) == ([], [], []), state
        assert state["width"], state  # nothing is beside the window
        assert state["first"] or state["size"] == "zoomed"
    assert (seen["gallery"]["axe"], seen["gallery"]["contrast"]) == ([], [])
    assert len(seen["gallery"]["words"]) == len(web_samples.PICTURES)
    assert all(seen["gallery"]["words"])
    assert seen["complaints"] == []


def test_who_used_the_camera_comes_back_to_it(check, address, video):
    seen = check("comingBack", url=address, video=video)
    assert seen["first"] == {"welcome": True, "source": None}
    assert seen["camera"] == seen["again"] == {"welcome": False, "source": "camera"}
    assert seen["back"] == {"welcome": True, "source": None}
    assert not seen["live"]  # the camera is off on the first screen
    assert seen["complaints"] == []


# --- without a camera ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"portrait": True, "motion": True}, {"refused": True}], ids=["still", "phone", "refused"]
)
def test_the_samples_answers_change_with_what_it_shows(check, address, web_bundle, options):
    name = "-".join(["sample", *options])
    seen = check("sample", url=address, question=LARGEST, stops=2, file=screenshot(f"{name}.png"), **options)
    session = Session.open(web_bundle)
    along = web_samples.cells(Image.open(web_samples.FOLDER / web_samples.WIDE))
    expected = {"".join(session.generate(LARGEST, cell)) for cell in along}
    assert set(seen["answers"]) <= expected  # what it shows while it stands is what was made
    assert len(set(seen["answers"])) >= 2
    assert seen["focus"] == "app"
    if options.get("refused"):
        assert seen["notice"]["code"] == "camera-refused"
        assert seen["notice"]["ways"] == ["Try again", "Try the sample", "Use a picture"]
    assert seen["stands"]  # when paused, whatever else moves by itself
    assert seen["camera"]
    assert seen["axe"] == []
    assert seen["complaints"] == []


def test_the_gallerys_pictures_are_answered_rightly(check, address, samples):
    truths = {name: web_samples.truths(scene_of(name, index)) for name, index in samples["pictures"].items()}
    presets = {name: list(known) for name, known in truths.items() if known}
    seen = check("gallery", url=address, presets=presets, file=screenshot("gallery.png"))
    assert seen["complaints"] == []
    wrong = [
        (name, question, answer)
        for name, answers in seen["seen"].items()
        for question, answer in answers.items()
        if not correct(truths[name][question].task, truths[name][question].answer, answer)
    ]
    assert len(presets) >= 4
    assert wrong == []


# --- what is dropped and pasted -----------------------------------------------------------------------------

NO_PICTURE = "This file is not a picture that the browser can show. Choose a JPEG or a PNG."
TRANSPARENT = "a transparent picture"


def test_what_is_dropped_or_pasted_is_shown_or_said(check, address, picture, tmp_path):
    notes, clip = tmp_path / "notes.txt", tmp_path / "clip.webm"
    notes.write_text("no picture")
    bomb = _bomb(tmp_path / "bomb.png", 30_000)
    clip.write_bytes(b"\x1a\x45\xdf\xa3 no clip")
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (40, 30)).save(clear)
    good = {"name": "scene.png", "type": "image/png", "path": picture}
    text = {"name": "notes.txt", "type": "text/plain", "path": notes}
    cases = {
        "a picture": ("drop", [good], None),
        "a pasted picture": ("paste", [good], None),
        "several files": ("drop", [text, good, good], None),
        TRANSPARENT: ("drop", [{**good, "path": clear}], None),
        "no picture": ("drop", [text], NO_PICTURE),
        "one that only says so": ("drop", [{**good, "path": notes}], NO_PICTURE),
        "a huge one": ("drop", [{"name": "huge.png", "type": "image/png", "repeat": 65}], "larger than 64"),
        "one of 900 megapixels": ("drop", [{**good, "path": bomb}], NO_PICTURE),
        "a clip without frames": (
            "drop", [{"name": "clip.webm", "type": "video/webm", "path": clip}], "This clip has no picture",
        ),
        "words": ("drop", [], "What was dropped is no file."),
        "pasted words": ("paste", [], "no picture in the clipboard"),
    }  # fmt: skip
    given = [{"way": way, "files": files} for way, files, _ in cases.values()]
    seen = check("incoming", url=address, cases=given, folder=os.environ.get(SCREENSHOTS))
    for (name, (way, files, says)), state in zip(cases.items(), seen["seen"], strict=True):
        assert state["over"] == (True if way == "drop" else None), name  # where it falls was shown
        assert (state["notice"] is None) == (says is None), name
        if name == TRANSPARENT:
            assert state["corner"] == [255] * 4  # white, as the model sees it
        if says:
            assert says in state["notice"]
            assert state["ways"] == ["Use a picture", "Close"], name
            assert state["inView"]
            assert state["axe"] == [], name
        else:
            assert state["source"] == "picture", name
            assert state["hint"] == (
                "3 files were given. This is the first picture among them." if len(files) > 1 else ""
            )
    assert seen["typed"] == {"prevented": False, "notice": False}  # words go into the field
    assert seen["complaints"] == []


def _bomb(path: Path, side: int) -> Path:
    """A black PNG of a hundred kilobytes that would take gigabytes as pixels."""
    packing = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join([*(packing.compress(row) for _ in range(side)), packing.flush()])
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), b"IDAT": data, b"IEND": b""}
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


# --- what was answered --------------------------------------------------------------------------------------


def test_the_history_keeps_what_is_new_and_shows_it_again(check, address, video, picture):
    seen = check("history", url=address, video=video, picture=picture, folder=os.environ.get(SCREENSHOTS))
    assert seen["live"] == "History (1)"  # four answers, all the same
    questions = [question for question, _, _ in seen["rows"]]
    assert questions == [COUNT, "What is this?", "What is this?"]
    assert seen["rows"][0][1] == seen["given"]
    assert (seen["axe"], seen["contrast"]) == ([], [])
    written = f"{COUNT}\n{seen['given']}"
    assert seen["copied"] == {"said": "Copied.", "text": written}
    assert seen["shared"]["text"] == written
    (file,) = seen["shared"]["files"]
    assert file["type"] == "image/jpeg"
    assert file["size"] > 1000
    assert seen["deleted"] == {"rows": 2, "focus": "round delete"}
    reopened = seen["reopened"]
    assert reopened["newAnswers"] == 0  # the answer is the one that was given
    assert reopened["label"][0] == COUNT
    assert reopened["frame"]["still"]
    assert "after 1 earlier" in seen["more"]
    assert seen["cleared"] == {"rows": 0, "empty": True}
    assert seen["off"]
    assert seen["complaints"] == []


@pytest.mark.parametrize("portrait", [False, True], ids=["laptop", "phone"])
def test_a_conversation_is_the_python_chats(check, address, web_bundle, picture, portrait):
    questions = ["How many things are there?", "What colour is the largest one?", "What shape is it?"]
    seen = check(
        "turns", url=address, picture=picture, questions=questions, portrait=portrait,
        file=screenshot(f"turns-{'phone' if portrait else 'laptop'}.png"),
    )  # fmt: skip
    chat = Session.open(web_bundle).chat(picture_of(seen["frame"]))
    chat.rewind()  # the prompt is cut where the picture ends, as in the app
    expected = ["".join(chat.ask(question)) for question in ["What is this?", *questions]]
    shown = [seen["first"], *seen["answers"]]
    assert [answer["text"] for answer in shown] == expected
    assert [answer["look"] for answer in seen["answers"]] == [0, 0, 0]  # one look served them all
    chat.rewind()
    assert seen["alone"]["text"] == "".join(chat.ask(questions[0]))
    assert [row[0] for row in seen["thread"]] == [answer["question"] for answer in shown]
    assert (seen["axe"], seen["contrast"]) == ([], [])
    assert seen["placeholder"] == "Ask more about this picture"
    assert seen["twice"]["text"] == seen["answers"][-1]["text"]
    assert seen["length"] == len(shown)  # asked twice, it stands there once
    assert seen["fresh"] == {"shown": False, "focus": "question"}
    assert seen["complaints"] == []


# --- figures ------------------------------------------------------------------------------------------------


def test_the_meters_say_what_they_measure(check, address, video):
    seen = check("meters", url=address, video=video, short=LARGEST, long=web_samples.CAPTION)
    (_, short, _), (_, long, _) = seen["short"]["meters"], seen["long"]["meters"]
    assert seen["short"]["answer"]["tokens"] == 2
    assert (short[0], short[1][-2:]) == ("Answer", " s")  # two tokens have no speed
    assert "too few" in short[2]
    assert seen["long"]["answer"]["tokens"] >= 8
    assert (long[0], long[1][-6:]) == ("Speed", " tok/s")
    assert seen["whole"]["isolated"]
    assert seen["whole"]["bytes"] > seen["wasm"]  # the worker's heap is a part of it
    assert seen["whole"]["bytes"] < seen["process"]["resident"]
    shown = float(seen["shown"].removesuffix(" MB"))
    assert shown == pytest.approx(seen["whole"]["bytes"] / 1e6, rel=0.3)
    assert seen["fact"].startswith(f"{seen['shown']}, the page with its model")
    assert seen["complaints"] == []
