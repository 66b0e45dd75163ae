"""The page where something is missing, small, slow or changes: no camera, no GPU, 400 % zoom, a phone."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from preset_truth import LARGEST, truths
from scene_video import write_video
from web_serving import served

from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.scenes import make_scene

SCREENSHOTS = "PHANTOM_EDGE_CONDITION_SCREENSHOTS"  # a folder that takes pictures of the page


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("conditions") / "scene.png"
    make_scene("test", 3).render(300).save(path)
    return path


def screenshot(name: str) -> str | None:
    folder = os.environ.get(SCREENSHOTS)
    return folder and f"{folder}/{name}"


# --- no camera, and the way back to one ---------------------------------------------------------------------


@pytest.mark.parametrize(("camera", "code"), [("refused", "camera-refused"), ("none", "camera-missing")])
def test_without_a_camera_preparing_ends_with_what_can_be_done(check, address, picture, camera, code):
    seen = check(
        "withoutCamera", url=address, camera=camera, picture=picture, file=screenshot(f"{camera}.png")
    )
    assert seen["notice"]["code"] == code
    assert seen["notice"]["ways"] == ["Try again", "Try the sample", "Use a picture"]
    assert seen["ready"]["pill"] == "No camera"
    assert set(seen["ready"]["controls"]) == {
        "question",
        "camera",
        "choose",
        "adjust",
        "about",
    }  # nothing else is alive
    assert (seen["axe"], seen["contrast"]) == ([], [])
    alive = set(seen["picture"]["controls"])
    assert {"all", "send", "part", "whole", "camera"} <= alive
    assert "pause" not in alive
    assert seen["again"]["code"] == code
    assert seen["after"]["pill"] == "No camera"
    assert seen["complaints"] == []


def test_a_picture_leads_back_to_the_camera_and_pause_is_alive_where_it_does_something(
    check, address, video, picture
):
    seen = check("backToCamera", url=address, video=video, picture=picture)
    assert seen["camera"] == {"source": "camera", "camera": False, "pause": True}
    assert seen["picture"] == {"source": "picture", "camera": True, "pause": False}
    assert seen["back"] == seen["camera"]
    assert seen["complaints"] == []


# --- no GPU -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["fp32", "int4"])
def test_a_bundle_for_a_gpu_runs_on_the_cpu_by_itself_and_says_so(check, app, video, tmp_path, recipe):
    request = ExportRequest(
        target="webgpu", output=tmp_path / "bundle", quantize=QuantizeOptions(recipe), verify=False
    )
    with served({"": app, "bundle": export(request).bundle.folder}) as server:
        seen = check("withoutGpu", url=server.address, video=video)
    assert seen["answer"]["tokens"] >= 1
    assert seen["hint"].startswith("It runs on the CPU, which is slower: this browser has no WebGPU")
    assert seen["device"].startswith("WASM, ")
    assert seen["axe"] == []
    assert [line for line in seen["complaints"] if "No available adapters" not in line] == []


# --- loading ------------------------------------------------------------------------------------------------


def test_the_loading_bar_counts_the_runtime_and_never_goes_back(check, address, video, web_bundle):
    seen = check("loading", url=address, video=video, file=screenshot("loading.png"))
    assert seen["complaints"] == []
    values = [bar["value"] for bar in seen["bars"]]
    assert values == sorted(values)
    assert values[-1] == 1
    totals = {re.sub(r".* of ", "", bar["bytes"]) for bar in seen["bars"] if " of " in bar["bytes"]}
    runtime = 14.2  # MB of onnxruntime-web for the CPU
    model = sum(path.stat().st_size for path in web_bundle.rglob("*.onnx*")) / 1e6
    (total,) = {float(total.removesuffix(" MB")) for total in totals}
    assert total == pytest.approx(model + runtime, abs=1.5)
    moving = {round(bar["value"], 2) for bar in seen["bars"] if bar["step"] == "Loading the runtime"}
    assert len(moving) >= 3  # it goes on while the runtime arrives


def test_code_and_runtime_come_compressed_and_weights_as_they_are(check, address, video):
    encodings = check("loading", url=address, video=video)["encodings"]
    packed = {name for name, encoding in encodings.items() if encoding == "gzip"}
    kinds = {Path(name).suffix for name in packed}
    assert {".js", ".css", ".json"} <= kinds
    assert not {name for name in packed if ".onnx" in name}


# --- what changes, and what is said -------------------------------------------------------------------------


def test_an_unchanged_answer_is_said_at_most_once_and_the_pill_stays(check, address, video):
    seen = check("quiet", url=address, video=video, seconds=12)
    assert seen["answers"] >= 6
    assert len(seen["still"]["spoken"]) <= 1
    assert len(seen["still"]["pill-text"]) <= 1
    moved, *after = seen["tapped"]
    assert re.fullmatch(r"Pin at \d+ % from the left, \d+ % from the top: a square of 40 %\.", moved)
    assert len(after) <= 1
    assert after == [] or after[0].startswith("A stand-in")  # the question was said before
    assert seen["paused"] == ["Resume", None]  # the label flips, and no state with it
    assert seen["complaints"] == []


def test_an_answer_does_not_stand_over_the_next_scene(check, address, tmp_path):
    scenes = {}  # one of each of three colours
    for index in range(40):
        scene = make_scene("test", index, kinds={"objects": 1})
        if LARGEST in truths(scene) and len(scenes) < 3:
            scenes.setdefault(truths(scene)[LARGEST].answer, scene)
    video = write_video(tmp_path / "changing.y4m", scenes.values(), seconds=3)
    seen = check("changing", url=address, video=video, question=LARGEST, answers=12)
    texts = seen["texts"]
    changes = [(before, after) for before, after in pairwise(seen["given"]) if before != after]
    assert len(changes) >= 2
    # A new answer never takes an old one's place: the label is empty in between.
    replaced = [(a, b) for a, b in pairwise(texts) if a and b and not b.startswith(a)]
    assert replaced == []
    assert seen["complaints"] == []


# --- small windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "400": {},
        "400-de": {"language": "de"},
        "letters": {"viewport": {"width": 390, "height": 844}, "font": 32},
        "wide": {"viewport": {"width": 640, "height": 256}},
    }.items(),
)
def test_a_window_at_400_percent_is_usable(check, address, video, name, options):
    seen = check("zoomed", url=address, video=video, file=screenshot(f"zoom-{name}"), **options)
    width = options.get("viewport", {"width": 320})["width"]
    assert seen["width"] <= width  # nothing is beside the window
    assert seen["layout"]["stage"][1] >= 100
    assert seen["layout"]["cut"] == []
    unreached = [control["name"] for control in seen["controls"] if not control["reached"]]
    assert unreached == []
    answers = [control for control in seen["controls"] if control["name"] == "answer"]
    assert any("stand-in" in answer["text"] and answer["visible"] for answer in answers)
    assert seen["axe"] == []
    assert seen["complaints"] == []


def test_ask_all_keeps_the_answers_on_the_screen_of_a_phone(check, address, video):
    seen = check("allOnPhone", url=address, video=video, file=screenshot("all.png"))
    assert all("stand-in" in cell["text"] for cell in seen["cells"])
    assert all(cell["left"] >= 0 and cell["right"] <= 390 for cell in seen["cells"])
    assert all(cell["top"] >= 0 and cell["bottom"] <= 844 for cell in seen["cells"])
    layout = seen["layout"]
    assert (layout["outside"], layout["covering"], layout["scrolls"]) == ([], [], False)
    assert layout["stage"][1] >= 250
    assert seen["compact"]  # resuming brings the row back
    assert seen["complaints"] == []
