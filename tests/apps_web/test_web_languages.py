"""The app in three languages, in light and dark, and what a user chooses, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from web_serving import served

from phantom_edge.apps.build import build_project
from phantom_edge.apps.sources import app_sources
from phantom_edge.apps.web import write_web_app
from phantom_edge.errors import CheckError

SCREENSHOTS = "PHANTOM_EDGE_LANGUAGE_SCREENSHOTS"  # a folder that takes pictures of every state
DARK, LIGHT = "rgb(12, 17, 23)", "rgb(243, 246, 249)"  # --ground of style.css
SHARED = {"live", "pause", "text", "image", "questions", "token", "tokens"}
"""Words that are right in another language too, if it has them."""


def texts(language: str) -> dict[str, str]:
    """The app's texts by key."""
    source = (app_sources("web") / "src" / "i18n" / f"{language}.ts").read_text(encoding="utf-8")
    return dict(re.findall(r"^  '([\w.-]+)': '(.*)',$", source, re.MULTILINE))


def words(lines: list[str]) -> set[str]:
    """Words of three letters and more, without places, in small letters."""
    plain = re.sub(r"\{\w+\}", " ", " ".join(lines))
    return {word.lower() for word in re.findall(r"[^\W\d_]{3,}", plain)}


@pytest.fixture(scope="module", params=[("de", "light"), ("fr", "dark"), ("en", "dark")], ids="-".join)
def seen(request, check, address, video) -> dict:
    language, scheme = request.param
    folder = os.environ.get(SCREENSHOTS)
    state = check("speaking", url=address, video=video, language=language, scheme=scheme, folder=folder)
    return state | {"language": language, "scheme": scheme}


def test_no_english_word_is_in_view_or_spoken(seen):
    language = seen["language"]
    assert seen["lang"] == language
    assert seen["complaints"] == []
    own = words(list(texts(language).values()))
    foreign = words(list(texts("en").values())) - own if language != "en" else set()
    assert len(foreign) > 100 or language == "en"  # the list has something to say
    assert len(seen["said"]) > 50
    answer = "A stand-in answer to"  # the model's own words
    lines = [line.partition(answer)[0] for line in seen["said"] + seen["heard"]]
    assert {line for line in lines if words([line]) & foreign} == set()
    assert texts(language)["page.skip"] in seen["said"]


def test_everything_has_its_place_and_can_be_read(seen):
    states = {state["name"]: state for state in seen["states"]}
    assert set(states) == {"portrait", "small", "tablet", "landscape", "settings", "about"}
    assert {name: state["axe"] for name, state in states.items() if state["axe"]} == {}
    assert {name: state["contrast"] for name, state in states.items() if state["contrast"]} == {}
    for name in ("portrait", "small", "tablet", "landscape"):
        layout = states[name]["layout"]
        assert (layout["outside"], layout["covering"], layout["scrolls"]) == ([], [], False), name
        assert layout["cut"] == [], name
    assert seen["grows"] == 0  # the longer word of the two fits too
    assert seen["ground"] == (DARK if seen["scheme"] == "dark" else LIGHT)


def test_what_is_spoken_is_in_the_language(seen):
    own = texts(seen["language"])
    assert own["spoken.ready"] in seen["heard"]
    assert own["spoken.paused"] in seen["heard"]
    pin = (
        re.escape(own["spoken.pin"])
        .replace(r"\{x\}", ".*")
        .replace(r"\{y\}", ".*")
        .replace(r"\{seen\}", ".*")
    )
    assert any(re.fullmatch(pin, line) for line in seen["heard"])


@pytest.fixture(scope="module")
def choices(check, app, address, video, tmp_path_factory) -> dict:
    empty = tmp_path_factory.mktemp("no_bundle")
    with served({"": app, "bundle": empty}) as broken:
        return check(
            "adjusting", url=address, video=video, odd="tlh", brokenUrl=broken.address,
            folder=os.environ.get(SCREENSHOTS),
        )  # fmt: skip


def test_a_choice_holds_at_once_and_the_next_time(choices):
    before, chosen, again = choices["before"], choices["chosen"], choices["again"]
    assert (before["lang"], before["ask"], before["ground"]) == ("en", "Ask", LIGHT)
    assert before["settings"] == ["en", "auto", "448", "64", ""]
    assert before["bars"] == ["#f3f6f9", "#0c1117"]
    for state in (chosen, again):
        assert (state["lang"], state["ask"], state["ground"]) == ("de", "Fragen", DARK)
        assert (state["preset"], state["pill"]) == ("Was ist das?", "Live")
        assert state["bars"] == ["#0c1117", "#0c1117"]
        assert not state["digits"]
    assert [value.strip() for value in chosen["settings"]] == ["de", "dark", "224", "128", "One word."]
    # The stand-in loads its finest size whatever was chosen; test_web_details has a real model remember it.
    assert again["settings"] == ["de", "dark", "448", "128", "One word."]
    assert "One word. What is this?" in choices["prompt"]
    assert choices["tile"] == 224
    assert choices["complaints"] == []


def test_the_address_comes_first_until_the_user_says_otherwise(choices):
    assert choices["address"]["lang"] == "fr"
    assert choices["overruled"]["lang"] == "en"
    assert "lang=" not in choices["overruled"]["address"]


def test_a_reset_brings_back_what_the_app_came_with(choices):
    reset = choices["reset"]
    assert (reset["lang"], reset["ground"], reset["digits"]) == ("en", LIGHT, True)
    assert reset["settings"] == choices["before"]["settings"]
    assert "“What is this?”" in choices["resetPrompt"]


def test_a_language_that_is_not_there_is_said_with_those_that_are(choices):
    (line,) = set(choices["odd"])  # on the first screen, and beside the questions
    assert line == "This app does not speak “tlh”. It speaks English, Deutsch, Français."
    assert choices["oddAxe"] == []


def test_what_the_engine_says_in_english_is_a_detail_of_a_german_page(choices):
    german = texts("de")
    broken, detail = choices["broken"], choices["detail"]
    assert broken["code"] == "network"
    assert (broken["title"], broken["text"]) == (german["failure.network"], german["mend.network"])
    assert (broken["pill"], broken["ways"]) == (german["state.stopped"], [german["notice.retry"]])
    assert detail["lang"] == "en"
    assert "manifest.json cannot be loaded" in detail["text"]
    assert choices["brokenAxe"] == []


def test_the_built_pages_and_the_manifest_say_what_app_json_says(web_bundle, sources, node, tmp_path):
    folder = write_web_app(web_bundle, tmp_path / "app")
    os.symlink(sources / "node_modules", folder / "node_modules")
    shutil.rmtree(folder / "public" / "bundle")
    path = folder / "public" / "app.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    own = {"languages": ["fr", "de"], "title": 'Bac & "Cie"', "strings": {"fr": {"panel.ask": "Allez"}}}
    path.write_text(json.dumps(settings | own), encoding="utf-8")
    built = build_project(folder, node)
    page = (built / "index.html").read_text(encoding="utf-8")
    assert '<html lang="fr">' in page
    assert "<title>Bac &amp; &quot;Cie&quot;</title>" in page
    assert re.search(r'<button[^>]*id="send"[^>]*>Allez</button>', page)
    assert f'content="{texts("fr")["page.description"]}"' in page
    assert texts("fr")["page.noscript"] in page
    manifest = json.loads((built / "app.webmanifest").read_text(encoding="utf-8"))
    assert (manifest["lang"], manifest["name"], manifest["short_name"]) == (
        "fr",
        'Bac & "Cie"',
        'Bac & "Cie"',
    )
    assert manifest["description"] == texts("fr")["page.description"]
    assert manifest["icons"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"languages": ["en", "tlh"]},
            'languages has "tlh", which this app does not speak: take some of en, de, fr',
        ),
        ({"strings": {"de": {"panel.asks": "x"}}}, 'strings: de has "panel.asks": see src/i18n/en.ts'),
        ({"theme": {"accent": "red"}}, "theme: accent must be a colour as #rrggbb"),
        ({"crop": 2}, "crop must be a number from 0.1 to 1"),
        ({"sampling": {"topP": 0}}, "sampling: topP must be more than 0 and at most 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_build_refuses_settings_that_are_not_right(broken_project, node, setting, says):
    folder, settings = broken_project
    (folder / "public" / "app.json").write_text(json.dumps(settings | setting), encoding="utf-8")
    with pytest.raises(CheckError) as caught:
        build_project(folder, node)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def broken_project(web_bundle, sources, tmp_path_factory) -> tuple[Path, dict]:
    folder = write_web_app(web_bundle, tmp_path_factory.mktemp("refused") / "app")
    os.symlink(sources / "node_modules", folder / "node_modules")
    return folder, json.loads((folder / "public" / "app.json").read_text(encoding="utf-8"))
