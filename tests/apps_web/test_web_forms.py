"""Answers with a form in a real browser: out of a list, with how likely it is, or the words "not sure"."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from one_picture import OnePicture, picture_of
from preset_truth import COUNT, LARGEST, truths

from phantom_edge.apps.build import build_project
from phantom_edge.apps.web import write_web_app
from phantom_edge.errors import CheckError
from phantom_edge.runtime.session import Session
from phantom_edge.scenes import make_scene

SCREENSHOTS = "PHANTOM_EDGE_FORM_SCREENSHOTS"  # a folder that takes pictures of the answers
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "white", "black"]
COUNTS = [str(n) for n in range(10)]
TOTAL, SMALLEST = "How many objects are there in all?", "What colour is the smallest object?"
SCENE = make_scene("test", 22, kinds={"objects": 1})
SETTINGS = {
    "title": "Sorting",
    "presets": [
        {"question": LARGEST, "choices": COLOURS},
        {"question": COUNT, "choices": COUNTS},
        {"question": TOTAL, "regex": "[0-9] (objects|things) in all"},
        "Which way does the arrow point?",
    ],
    "longestAnswer": 64,
}
ROUNDING = 0.1 / 3  # of the logits' rms: a third of a tie, as in test_web_app


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("forms") / "scene.png"
    SCENE.render(300).save(path)
    return path


@pytest.fixture(scope="module")
def seen(check, address, picture) -> dict:
    return check("forms", url=address, settings=SETTINGS, picture=picture, file=_screenshot("sure"))


def _screenshot(name: str) -> str | None:
    folder = os.environ.get(SCREENSHOTS)
    return folder and f"{folder}/{name}.png"


def test_the_label_comes_out_of_the_list_with_a_confidence(seen):
    largest, count, *_ = seen["answers"]
    truth = truths(SCENE)
    assert (largest["text"], count["text"]) == (truth[LARGEST].answer, truth[COUNT].answer)
    for answer, choices, said in zip((largest, count), (COLOURS, COUNTS), seen["said"], strict=False):
        ranking = answer["likelihoods"]
        shares = [choice["probability"] for choice in ranking]
        assert sorted(choice["text"] for choice in ranking) == sorted(choices)
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert answer["isSure"]
        question, text, note = said["label"]
        assert (question, text) == (answer["question"], ranking[0]["text"])
        assert re.fullmatch(r"(\d+|over 99) % sure", note)
        assert said["spoken"] == f"{question} {text}, {note}"


def test_likelihoods_are_those_of_pythons_softmax(seen, web_bundle):
    session = Session.open(web_bundle)
    picture = OnePicture(session, picture_of(seen["frame"]))
    for answer in seen["answers"][:2]:
        ranking = {choice["text"]: choice["probability"] for choice in answer["likelihoods"]}
        scores = np.array([picture.log_probability(answer["question"], choice) for choice in ranking])
        expected = scores - np.logaddexp.reduce(scores)
        apart = np.log(list(ranking.values())) - expected
        (logits,) = picture.logits(answer["question"], [0])
        assert np.abs(apart).max() < ROUNDING * np.sqrt((logits**2).mean()), apart
        assert list(ranking.values()) == pytest.approx(np.exp(expected), abs=0.01)


def test_an_answer_matches_its_regular_expression_and_others_are_free(seen):
    counted, arrow = seen["answers"][2:]
    assert re.fullmatch(SETTINGS["presets"][2]["regex"], counted["text"])
    assert counted["stop"] == "end"
    assert seen["said"][2]["label"] == [TOTAL, counted["text"]]
    assert "likelihoods" not in counted
    assert "likelihoods" not in arrow
    assert arrow["text"]


def test_the_forms_are_loaded_from_the_app_itself_when_they_are_needed(seen, address):
    hosts = {urlparse(url).netloc for url in seen["requests"] if not url.startswith("blob:")}
    assert hosts == {urlparse(address).netloc}
    # The content security policy had nothing to say either.
    assert [line for line in seen["complaints"] if "blocked by Playwright" not in line] == []


def test_below_the_least_confidence_the_app_is_not_sure(check, address, picture):
    """Visibly and to a screen reader, and in both shapes of the page."""
    choices = ["green", "red", "blue"]
    preset = {"question": SMALLEST, "choices": choices}
    settings = SETTINGS | {"presets": [preset], "leastConfidence": 0.9}
    for portrait in (True, False):
        seen = check(
            "forms", url=f"{address}?engine=fake", settings=settings, picture=picture, portrait=portrait,
            file=_screenshot(f"unsure-{'portrait' if portrait else 'landscape'}"),
        )  # fmt: skip
        (answer,), (said,) = seen["answers"], seen["said"]
        assert answer["likelihoods"][0]["probability"] == pytest.approx(4 / 7)
        assert not answer["isSure"]
        assert said["label"] == [SMALLEST, "Not sure", "perhaps green, 57 %"]
        assert said["spoken"] == f"{SMALLEST} Not sure, perhaps green, 57 %"
        assert seen["cards"] == ["Not sure"]
        looks = seen["looks"]
        assert (looks["axe"], looks["contrast"]) == ([], [])
        layout = looks["layout"]
        assert (layout["outside"], layout["covering"], layout["cut"]) == ([], [], [])


BAD = {
    "question 1: Choice 2 is there twice": {"question": "Red?", "choices": ["yes", "yes"]},
    "question 1: There are 0 choices": {"question": "Red?", "choices": []},
    "question 1: The regular expression has a lazy quantifier": {"question": "Red?", "regex": "a*?"},
    'question 1 has "choise"': {"question": "Red?", "choise": ["yes"]},
}


def test_what_the_page_says_of_settings_that_are_not_right(check, address):
    settings = [SETTINGS | {"presets": [preset]} for preset in BAD.values()]
    seen = check("badSettings", url=f"{address}?engine=fake", settings=settings)["seen"]
    for notice, says in zip(seen, BAD, strict=True):
        assert notice["code"] == "manifest"
        assert f"settings (app.json) are not right: presets: {says}" in notice["text"]
        assert "\n" not in notice["text"]


def test_such_settings_end_a_build_with_the_same_line(web_bundle, sources, node, tmp_path):
    folder = write_web_app(web_bundle, tmp_path / "project")
    os.symlink(sources / "node_modules", folder / "node_modules")
    path = folder / "public" / "app.json"
    for text, says in (
        (json.dumps(SETTINGS | {"presets": list(BAD.values())[:1]}), f"presets: {next(iter(BAD))}"),
        ('{"title": ', "app.json is not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(CheckError, match=re.escape(says)) as caught:
            build_project(folder, node)
        assert "\n" not in str(caught.value)
        assert "at " not in str(caught.value).partition("app.json")[2]  # no stack of calls
        assert not (folder / "dist").exists()
