"""The phone projects carry what ``docs/app-pins.md`` says, and nothing older than stores accept."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from phantom_edge.apps.sources import app_sources

PAGE = Path(__file__).parents[2] / "docs" / "app-pins.md"
ANDROID, IOS = app_sources("android"), app_sources("ios")
PROJECT = IOS / "PhantomAR.xcodeproj"


@dataclass(frozen=True)
class Requirement:
    """A store takes nothing that is built with less, from a day on."""

    what: str
    least: tuple[int, ...]
    start: date


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}")[1].split("\n## ")[0]
    lines = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def requirements() -> list[Requirement]:
    return [
        Requirement(what, version(least), date.fromisoformat(start))
        for _, what, least, start, _ in table("What the stores accept")
    ]


def android_pins() -> dict[str, str]:
    script = (ANDROID / "app/build.gradle.kts").read_text()
    wrapper = (ANDROID / "gradle/wrapper/gradle-wrapper.properties").read_text()
    catalogue = tomllib.loads((ANDROID / "gradle/libs.versions.toml").read_text())["versions"]
    levels = {name: re.search(rf"{name} = (\d+)", script)[1] for name in ("compileSdk", "targetSdk")}
    return levels | catalogue | {"gradle": re.search(r"gradle-([\d.]+)-bin\.zip", wrapper)[1]}


def ios_pins() -> dict[str, str]:
    upgrade = re.search(r"LastUpgradeCheck = (\d\d)\d\d;", (PROJECT / "project.pbxproj").read_text())[1]
    lines = (IOS / "PhantomAR.xcconfig").read_text().splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line) | {"Xcode": upgrade}


def too_old(pins: dict[str, str], today: date) -> list[str]:
    """Which requirements of today the pins miss."""
    return [
        f"{rule.what} {pins[rule.what]}: less than {rule.least} is refused since {rule.start}"
        for rule in requirements()
        if rule.start <= today and version(pins[rule.what]) < rule.least
    ]


def of_stores() -> dict[str, str]:
    android = android_pins()
    return {
        "target API level": android["targetSdk"],
        "Android Gradle plugin": android["agp"],
        "Xcode": ios_pins()["Xcode"],
    }


def test_stores_accept_what_the_projects_are_built_with_today():
    assert too_old(of_stores(), date.today()) == []


@pytest.mark.parametrize(("what", "old"), [("target API level", "35"), ("Xcode", "16")])
def test_an_older_pin_is_noticed_from_the_day_that_the_store_names(what, old):
    last = max(rule.start for rule in requirements() if rule.what == what and rule.start.year == 2026)
    pins = of_stores() | {what: old}
    assert [line.split(":")[0] for line in too_old(pins, last)] == [f"{what} {old}"]
    assert too_old(pins, date(2026, 4, 27)) == []


@pytest.mark.parametrize(("platform", "pins"), [("Android", android_pins()), ("iOS", ios_pins())])
def test_the_page_says_what_the_projects_carry(platform, pins):
    rows = {row[0]: row[1] for row in table(f"{platform}: ")}
    assert len(rows) >= 3
    assert {what: pins.get(what) for what in rows} == rows


def test_no_version_of_the_catalogue_is_left_out_but_those_that_follow_the_model():
    named = {row[0] for row in table("Android: ")}
    assert set(android_pins()) - named == {"junit", "onnxruntime", "onnxruntime-qnn", "qnn-runtime"}


def test_gradle_is_one_that_the_plugin_takes():
    (source,) = (row[3] for row in table("Android: ") if row[0] == "agp")
    assert version(android_pins()["gradle"]) >= version(re.search(r"Gradle ([\d.]+),", source)[1])
    scheme = next(PROJECT.rglob("*.xcscheme")).read_text()
    assert f'LastUpgradeVersion="{ios_pins()["Xcode"]}' in scheme


def test_androids_plugin_compiles_kotlin_and_no_other_does():
    """From version 9 on Android's plugin does it, and refuses Kotlin's own plugin beside it."""
    assert version(android_pins()["agp"]) >= (9,)
    for module in ("app", "phantomedge"):
        script = (ANDROID / module / "build.gradle.kts").read_text()
        assert "kotlin.android" not in re.search(r"^plugins \{.*?\}", script, re.MULTILINE | re.DOTALL)[0]
