"""Everything that the phone apps say is there in each of their languages, with the same places for values."""

from __future__ import annotations

import json
import plistlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from phantom_edge.apps.sources import app_sources

LANGUAGES = {"de", "fr"}  # beside English
ANDROID = app_sources("android") / "app/src/main"
KOTLIN = ANDROID / "kotlin/phantom/edge/ar"
IOS = app_sources("ios") / "PhantomAR"
PLACE = re.compile(r"%(?:(\d)\$)?(@|s|lld)")
# What is in English everywhere: errors for whoever builds the app, the stand-in of the tests, drawings.
FOR_DEVELOPERS = {
    "AppConfig",
    "ConfigFields",
    "FakeEngine",
    "HttpSupply",
    "CameraBackground",
    "Settings",
    "Numbers",
    "Memory",
}


def places(text: str) -> list[tuple[int, str]]:
    """Which value goes where, and of which kind; those without a number follow each other."""
    kinds = [(match[1], match[2]) for match in PLACE.finditer(text)]
    return sorted({(int(number or n), kind) for n, (number, kind) in enumerate(kinds, 1)})


# --- Android


def strings(folder: str) -> dict[str, str]:
    root = ElementTree.parse(ANDROID / "res" / folder / "strings.xml").getroot()
    return {item.get("name"): item.text for item in root if item.get("translatable") != "false"}


def phrases() -> dict[str, str]:
    """Of the core: `say_` and the name, and the English, as a resource writes it."""
    text = (KOTLIN / "core/Phrase.kt").read_text()
    entries = re.findall(r'^    ([A-Z_]+)\("(.*)"\),$', text, re.MULTILINE)
    return {f"say_{name.lower()}": english.replace("\\$", "$") for name, english in entries}


def test_androids_resources_have_every_string_in_every_language():
    english = strings("values")
    assert len(english) > 70
    for language in LANGUAGES:
        translated = strings(f"values-{language}")
        assert set(translated) == set(english)
        for name, text in translated.items():
            assert text.strip(), f"{language}: {name}"
            assert places(text) == places(english[name]), f"{language}: {name}"
        same = [name for name in english if english[name] == translated[name] and len(english[name]) > 9]
        assert len(same) < 3, f"{language}: {same}"


def test_the_system_is_told_the_languages():
    name = "{http://schemas.android.com/apk/res/android}"
    offered = [
        item.get(f"{name}name") for item in ElementTree.parse(ANDROID / "res/xml/locales.xml").getroot()
    ]
    assert set(offered) == {"en", *LANGUAGES}
    assert {path.name for path in (ANDROID / "res").glob("values-*")} == {f"values-{x}" for x in LANGUAGES}
    application = next(ElementTree.parse(ANDROID / "AndroidManifest.xml").getroot().iter("application"))
    assert application.get(f"{name}localeConfig") == "@xml/locales"


def test_the_cores_phrases_are_androids_resources():
    own = {name: text.replace("\\'", "'") for name, text in strings("values").items()}
    assert phrases() == {name: text for name, text in own.items() if name.startswith("say_")}
    spoken = (KOTLIN / "Language.kt").read_text()
    pairs = re.findall(r"Phrase\.([A-Z_]+) -> R\.string\.(\w+)", spoken)
    assert {f"say_{name.lower()}": resource for name, resource in pairs} == {name: name for name in phrases()}


def test_kotlin_says_nothing_to_a_user_that_is_no_resource():
    said = re.compile(r'(?:say|Pill|LoadingStep|Fact|CheckRow|Failure)\((?:[\w.]+, ?)?"([^"]*)"')
    for path in KOTLIN.rglob("*.kt"):
        if path.stem not in FOR_DEVELOPERS:
            literals = [text for text in said.findall(path.read_text()) if re.search(r"[a-z]{3}", text)]
            developers = [text for text in literals if "phantom-edge" in text or "README" in text]
            mixed = [text for text in literals if text.startswith("$")]
            assert set(literals) == {*developers, *mixed}, path.name


# --- iOS


def catalogue(name: str) -> dict[str, dict[str, str]]:
    """Key: language: text."""
    tree = json.loads((IOS / "App/Resources" / f"{name}.xcstrings").read_text(encoding="utf-8"))
    assert (tree["sourceLanguage"], tree["version"]) == ("en", "1.0")
    texts = {}
    for key, entry in tree["strings"].items():
        units = {language: value["stringUnit"] for language, value in entry.get("localizations", {}).items()}
        assert all(unit["state"] == "translated" for unit in units.values()), key
        texts[key] = {language: unit["value"] for language, unit in units.items()}
    return texts


def literals(path: Path) -> list[str]:
    """The string literals of a Swift file, without comments; interpolated values as a key has them."""
    code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    texts = re.findall(r'"((?:[^"\\\n]|\\\((?:[^()]|\([^()]*\))*\)|\\.)*)"', code)
    return [re.sub(r"\\\((?:[^()]|\([^()]*\))*\)", "%@", text) for text in texts]


def test_the_catalogue_has_every_string_in_every_language():
    texts = catalogue("Localizable")
    assert len(texts) > 70
    for key, translated in texts.items():
        assert set(translated) == LANGUAGES, key
        for language, text in translated.items():
            assert text.strip(), f"{language}: {key}"
            assert places(text) == places(key), f"{language}: {key}"


def test_all_that_swift_says_is_in_the_catalogue_and_all_of_the_catalogue_is_said():
    texts = catalogue("Localizable")
    paths = [*(IOS / "App/Sources").glob("*.swift"), *(IOS / "Core/Sources").rglob("*.swift")]
    spoken = [text for path in paths if path.stem not in FOR_DEVELOPERS for text in literals(path)]
    spoken = ["%lld tokens" if text == "%@ tokens" else text for text in spoken]
    assert set(texts) - set(spoken) == set()
    # A word with a capital, or several words, are for a user; names of files, settings and symbols are not.
    sentences = {text for text in spoken if re.match(r"[A-Z][a-z]+|.*[a-z] [a-z]", text)}
    technical = {"UIKit drew no picture", "phantom-edge bench"}
    assert sentences - set(texts) - technical == set()


def test_the_reason_for_the_camera_is_asked_in_every_language():
    texts = catalogue("InfoPlist")
    plist = plistlib.loads((IOS / "App/Info.plist").read_bytes())
    assert set(texts) == {key for key in plist if key.startswith("NS") and key.endswith("Description")}
    for key, translated in texts.items():
        assert set(translated) == {"en", *LANGUAGES}
        assert translated["en"] == plist[key]


def test_the_project_knows_the_languages():
    project = (app_sources("ios") / "PhantomAR.xcodeproj/project.pbxproj").read_text()
    regions = re.search(r"knownRegions = \(\s*([^)]*)\)", project)[1]
    assert set(re.findall(r"\w+", regions)) == {"en", "Base", *LANGUAGES}


def test_no_view_fixes_the_size_of_its_words():
    for path in (IOS / "App/Sources").glob("*.swift"):
        assert ".system(size:" not in path.read_text(), path.name
    for path in (ANDROID / "res").rglob("*.xml"):
        sizes = re.findall(r'textSize"?>?=?"?([\d.]+\w+)', path.read_text())
        assert all(size.endswith("sp") for size in sizes), path.name
