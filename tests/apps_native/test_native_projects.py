"""Writing both projects: what is refused, that nothing half-written stays, and what all three apps share."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from phantom_edge.apps.android import PACK_BYTES, AndroidRequest, check_android_bundle, write_android_app
from phantom_edge.apps.ios import IosRequest, write_ios_app
from phantom_edge.apps.native import near_name
from phantom_edge.apps.sources import app_sources
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import FileEntry
from phantom_edge.errors import InputError

WRITERS = {"ios": write_ios_app, "android": write_android_app}
SETTINGS = {"ios": "app.json", "android": "app/src/main/assets/app.json"}


@pytest.fixture
def bundles(ios_bundle, android_bundle) -> dict[str, Path]:
    return {"ios": ios_bundle, "android": android_bundle}


def test_all_three_apps_ask_the_same_questions(ios_project, android_project):
    shared = json.loads((app_sources("web") / "public" / "app.json").read_text())
    assert len(shared["presets"]) > 3
    for project, platform in ((ios_project, "ios"), (android_project, "android")):
        own = json.loads((project / SETTINGS[platform]).read_text())
        assert own == {**shared, "title": own["title"]}
        assert own["title"].startswith("Bob's")
        # The questions are nowhere else: no second list that could go its own way.
        sources = [*app_sources(platform).rglob("*.swift"), *app_sources(platform).rglob("*.kt")]
        texts = [path.read_text() for path in sources if "Test" not in path.name]
        presets = [preset if isinstance(preset, str) else preset["question"] for preset in shared["presets"]]
        assert not [question for question in presets for text in texts if question in text]


@pytest.mark.parametrize("platform", WRITERS)
def test_the_bundle_inside_is_whole(platform, ios_project, android_project, bundles, tmp_path):
    original = Bundle.open(bundles[platform]).manifest
    if platform == "ios":
        assert Bundle.open(ios_project / "bundle").manifest == original
        return
    # Android keeps the manifest with the app's code, and the files in the asset pack.
    inside = tmp_path / "bundle"
    (android_project / "model/src/main/assets/bundle").rename(inside)
    (inside / "manifest.json").write_bytes(
        (android_project / "app/src/main/assets/manifest.json").read_bytes()
    )
    assert Bundle.open(inside).manifest == original
    (inside / "manifest.json").unlink()
    inside.rename(android_project / "model/src/main/assets/bundle")


@pytest.mark.parametrize("platform", WRITERS)
def test_what_is_refused_leaves_nothing_behind(platform, bundles, tiny_bundle, relabelled, tmp_path):
    write, good = WRITERS[platform], bundles[platform]
    out = tmp_path / "out"
    other = "android" if platform == "ios" else "ios"
    with pytest.raises(InputError, match=rf"made for {other} .*--target {platform}"):
        write(bundles[other], out)
    with pytest.raises(InputError, match=r"made for web \(onnx\)"):
        write(tiny_bundle, out)
    damaged = relabelled(platform, Bundle.open(good, check=False).manifest.format)
    (damaged / "tokenizer.json").write_bytes((damaged / "tokenizer.json").read_bytes()[:-1] + b" ")
    with pytest.raises(InputError, match="is not the file that was exported"):
        write(damaged, out)
    with pytest.raises(InputError, match="not a bundle"):
        write(tmp_path, out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        write(good, out)
    with pytest.raises(InputError, match="is a bundle"):
        write(good, good)
    with pytest.raises(InputError, match="is a file"):
        write(good, out / "mine.txt")
    assert Bundle.open(good)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


@pytest.mark.parametrize("name", ["My App", "-x", "4you", "a/b", "ä", "x" * 51, "", "..", "$(x)"])
def test_a_name_that_a_platform_forbids_is_refused_with_one_that_it_takes(name):
    for request in (IosRequest(name=name), AndroidRequest(name=name)):
        with pytest.raises(InputError, match="--name ") as caught:
            request.resolve(Path("out"))
        suggested = re.search(r"--name (\S+)$", str(caught.value))[1]
        assert IosRequest(name=suggested).resolve(Path("out")).name == suggested
        assert AndroidRequest(name=suggested).resolve(Path("out")).name == suggested


def test_names_follow_from_the_folder():
    assert near_name("shop floor-2") == "ShopFloor2"
    assert near_name("42") == "PhantomAR"
    app = IosRequest().resolve(Path("some/where/nano-ar"))
    assert (app.name, app.bundle_id, app.team) == ("NanoAr", "org.example.NanoAr$(DEVELOPMENT_TEAM)", "")
    app = AndroidRequest().resolve(Path("nano-ar"))
    assert (app.name, app.application_id, app.model_url) == ("NanoAr", "org.example.nanoar", "")


@pytest.mark.parametrize("title", ["", "  ", "x" * 61, "a\nb"])
def test_a_title_that_cannot_be_shown_is_refused(title):
    for request in (IosRequest(title=title), AndroidRequest(title=title)):
        with pytest.raises(InputError, match="title"):
            request.resolve(Path("out"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (IosRequest(team="abcde12345"), "no team id"),
        (IosRequest(team="ABCDE1234"), "no team id"),
        (IosRequest(bundle_id="nodots"), "no bundle id"),
        (IosRequest(bundle_id="com.a_b"), "no bundle id"),
        (IosRequest(bundle_id="com.x\n;"), "no bundle id"),
        (AndroidRequest(application_id="com.my-app"), "no application id"),
        (AndroidRequest(application_id="com.4u"), "no application id"),
        (AndroidRequest(application_id="com.new.app"), "no application id"),
        (AndroidRequest(model_url="http://host/x"), "no https address"),
        (AndroidRequest(model_url='https://host/"x'), "no https address"),
        (AndroidRequest(model_url="https://host/x\ny"), "no https address"),
    ],
)
def test_ids_that_a_store_would_refuse(request_, message):
    with pytest.raises(InputError, match=message):
        request_.resolve(Path("out"))


def test_a_model_too_large_for_the_store_is_refused_with_sizes_unless_it_is_fetched(android_bundle):
    opened = Bundle.open(android_bundle)
    name = next(iter(opened.manifest.files))
    files = {**opened.manifest.files, name: FileEntry(PACK_BYTES + 10**8, "")}
    large = Bundle(opened.folder, replace(opened.manifest, files=files))
    with pytest.raises(InputError, match=r"is 1\.1 GB, Google Play installs at most 1\.0 GB"):
        check_android_bundle(large)
    check_android_bundle(large, fetched=True)


def test_a_model_that_is_fetched_is_not_in_the_project(android_bundle, tmp_path):
    request = AndroidRequest(model_url="https://host/nano-android")
    folder = write_android_app(android_bundle, tmp_path / "out", request)
    assert "phantom.modelUrl=https://host/nano-android\n" in (folder / "gradle.properties").read_text()
    assert (folder / "app/src/main/assets/manifest.json").is_file()
    assert not (folder / "model/src/main/assets").exists()


def test_notices_name_what_is_linked(ios_project, android_project):
    ios = (ios_project / "THIRD_PARTY_NOTICES.txt").read_text()
    android = (android_project / "app/src/main/assets/THIRD_PARTY_NOTICES.txt").read_text()
    for text in (ios, android):
        assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
        assert "The model: tiny." in text
    assert "XNNPACK" not in ios
    for words in (
        "Copyright (c) Meta Platforms",
        "Google Privacy",
        "CameraX",
        "Redistribution and use in source",
    ):
        assert words in android
    linked = (android_project / "gradle/libs.versions.toml").read_text() + (
        android_project / "phantomedge/build.gradle.kts"
    ).read_text()
    known = {
        "androidx": "AndroidX", "com.google.ar": "ARCore", "org.jetbrains.kotlinx": "kotlinx",
        "org.jetbrains.kotlin":
        "Kotlin standard", "org.pytorch": "ExecuTorch",
    }  # fmt: skip
    groups = set(re.findall(r'"((?:androidx|com|org)[\w.]*?):', linked))
    for group in groups - {"com.microsoft.onnxruntime", "com.qualcomm.qti"}:  # of an app for an NPU alone
        name = next(title for start, title in known.items() if group.startswith(start))
        assert name in android, group


@pytest.mark.parametrize("platform", WRITERS)
def test_the_command(platform, bundles, command, tmp_path):
    done = command(platform, "-b", bundles[platform], "-o", tmp_path / "Out", "--title", "Line 4", "--json")
    assert done.returncode == 0, done.stderr
    project = Path(json.loads(done.stdout)["project"])
    assert project.exists()
    assert json.loads((tmp_path / "Out" / SETTINGS[platform]).read_text())["title"] == "Line 4"
    again = command(platform, "-b", bundles[platform], "-o", tmp_path / "Out")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "is not empty" in again.stderr
