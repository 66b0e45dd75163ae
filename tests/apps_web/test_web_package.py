"""The engine as an npm package: packed, installed in a clean project, and used with a bundler and without."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from one_picture import OnePicture
from PIL import Image
from preset_truth import CAPTION, LARGEST
from test_web_pointing import PART, SIDE, objects, scenes, square
from web_serving import plainly_served, served

from phantom_edge.apps.node import Node, Unreachable
from phantom_edge.apps.sources import CHECKOUT
from phantom_edge.runtime.session import Session
from phantom_edge.scenes import Part
from phantom_edge.scenes.parts import COLOURS

HERE = Path(__file__).parent / "web_package"
CHOICES = [*COLOURS]  # with the right one: shares among wrong ones hang on the last bits
REGEX = "(a |the )?[a-z]{3,8}"
MOST_MB = 12
TIE, NEAR = 0.1, 0.01
"""How far a token may lie below the likeliest, in rms of the logits; and a likelihood beside Python's."""


@pytest.fixture(scope="module")
def tarball(sources, node, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    node.run_npm(sources, "pack", "--workspace", "phantom-edge-web", "--pack-destination", str(folder))
    return next(folder.glob("*.tgz"))


@pytest.fixture(scope="module")
def clean(tarball, sources, node, tmp_path_factory) -> Path:
    """A project that has the package, a bundler and a compiler, and nothing of this repository."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    versions = json.loads((sources / "package.json").read_text())["devDependencies"]
    tools = [f"{name}@{versions[name]}" for name in ("vite", "typescript")]
    try:
        node.run_npm(folder, "install", "--ignore-scripts", "--prefer-offline", str(tarball), *tools)
    except Unreachable as error:
        pytest.skip(f"needs the network, once: {error}")
    return folder


@pytest.fixture(scope="module")
def session(web_bundle) -> Session:
    return Session.open(web_bundle)


@pytest.fixture(scope="module")
def sample(session, tmp_path_factory) -> tuple[Path, list[Part]]:
    """A picture of two objects of which Python answers other colours around each, and the objects."""
    for scene in scenes():
        picture, parts = scene.render(SIDE), objects(scene)
        answers = [answer(session, cut(picture, part)) for part in parts]
        if answers[0] != answers[1]:
            path = tmp_path_factory.mktemp("sample") / "picture.png"
            picture.save(path)
            return path, parts
    raise AssertionError("no picture whose answer depends on the crop")


def cut(picture: Image.Image, part: Part) -> Image.Image:
    left, top, side = square(part)
    return picture.crop((left, top, left + side, top + side))


def answer(session: Session, picture: Image.Image, question: str = LARGEST) -> str:
    return "".join(session.generate(question, image=picture))


def site(folder: Path, bundle: Path, sample: tuple[Path, list[Part]], **options: object) -> None:
    """What both pages load: the bundle, the picture, and what to ask."""
    picture, parts = sample
    os.symlink(bundle, folder / "bundle")
    shutil.copyfile(picture, folder / "picture.png")
    crops = [{"x": part.x, "y": part.y, "size": PART} for part in parts]
    job = {"question": LARGEST, "crops": crops, "choices": CHOICES, "regex": REGEX, "text": CAPTION}
    (folder / "job.json").write_text(json.dumps({**job, "options": options}))


def use(sources: Path, node: Node, chromium: str, address: str, *example: str) -> dict:
    done = subprocess.run(
        [*node.node, "e2e/package.mjs", address, *example],
        cwd=sources, capture_output=True, text=True, timeout=600, env={**os.environ, "CHROMIUM": chromium},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@contextlib.contextmanager
def with_bundler(
    clean: Path, node: Node, bundle: Path, sample: tuple[Path, list[Part]], folder: Path
) -> Iterator[str]:
    """The page as Vite builds it with its own settings, on a host that isolates it: two threads."""
    for name in ("index.html", "page.js"):
        shutil.copyfile(HERE / name, clean / name)
    vite = clean / "node_modules" / "vite" / "bin" / "vite.js"
    command = [*node.node, str(vite), "build", "--base", "./", "--outDir", str(folder), "--emptyOutDir"]
    done = subprocess.run(command, cwd=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    site(folder, bundle, sample, threads=2)
    with served({"": folder, "bundle": bundle}) as server:
        yield server.address


@contextlib.contextmanager
def without_bundler(
    clean: Path, node: Node, bundle: Path, sample: tuple[Path, list[Part]], folder: Path
) -> Iterator[str]:
    """The page as it is, the package's files beside it, on a host that knows nothing of isolation."""
    shutil.copytree(clean / "node_modules" / "phantom-edge-web" / "dist", folder / "engine")
    script = (HERE / "page.js").read_text().replace("'phantom-edge-web'", "'./engine/index.js'")
    (folder / "page.js").write_text(script)
    shutil.copyfile(HERE / "index.html", folder / "index.html")
    site(folder, bundle, sample)
    with plainly_served(folder) as server:
        yield server.address


@pytest.fixture(scope="module", params=[with_bundler, without_bundler], ids=["bundler", "no bundler"])
def used(request, clean, sources, node, chromium, web_bundle, sample, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("site")
    with request.param(clean, node, web_bundle, sample, folder) as address:
        return {"isolates": request.param is with_bundler, **use(sources, node, chromium, address)}


def test_the_package_has_what_it_says_and_no_more(tarball):
    with tarfile.open(tarball) as packed:
        names = {member.name.removeprefix("package/") for member in packed.getmembers()}
        about = json.load(packed.extractfile("package/package.json"))
        licence = packed.extractfile("package/LICENSE").read()
        example = packed.extractfile("package/example.html").read().decode()
        readme = packed.extractfile("package/README.md").read().decode()
    runtime = {
        f"dist/ort-wasm-simd-threaded{kind}" for kind in (".mjs", ".wasm", ".asyncify.mjs", ".asyncify.wasm")
    }
    assert {
        "README.md",
        "THIRD_PARTY_NOTICES.txt",
        "dist/index.js",
        "dist/worker.js",
        "dist/assets.js",
    } <= names
    assert {name for name in names if "ort-" in name} == runtime
    assert not [name for name in names if name.startswith(("src/", "tests/", "tools/"))]
    assert about.get("dependencies", {}) == {}  # all of it is built in
    for name in ("types", "default"):
        assert about["exports"]["."][name].removeprefix("./") in names
    assert licence == (CHECKOUT.parent / "LICENSE").read_bytes()
    assert len(example.splitlines()) == 20
    assert f"```html\n{example}```" in readme
    assert tarball.stat().st_size < MOST_MB * 1e6


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_its_types_are_those_of_its_documentation(clean, node, resolution, tmp_path):
    shutil.copyfile(HERE / "usage.ts", clean / "usage.ts")
    module = "nodenext" if resolution == "nodenext" else "esnext"
    options = {
        "strict": True, "exactOptionalPropertyTypes": True, "noEmit": True, "target": "es2022", "types": [],
        "lib": ["es2022", "dom", "dom.iterable"], "module": module, "moduleResolution": resolution,
    }  # fmt: skip
    settings = {"compilerOptions": {**options, "skipLibCheck": False}, "files": ["usage.ts"]}
    (clean / "tsconfig.json").write_text(json.dumps(settings))
    compiler = clean / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [*node.node, str(compiler), "-p", "."], cwd=clean, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


def test_forms_are_checked_in_node(clean, node):
    script = (
        "import { checkChoices, parsePattern } from 'phantom-edge-web/checks'\n"
        "parsePattern('[0-9]{1,2}')\n"
        "try { checkChoices(['a', 'a']) } catch (error) { console.log(error.code, error.message) }"
    )
    done = subprocess.run(
        [*node.node, "--input-type=module", "-e", script],
        cwd=clean,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "prompt Choice 2 is there twice.", done.stderr


def test_it_runs_as_the_page_allows(used):
    results = used["results"]
    assert results["isolated"] is used["isolates"]
    assert results["info"]["device"] == ("WASM, 2 threads" if used["isolates"] else "WASM, 1 thread")
    assert results["first"]["step"] == "Loading the model"
    assert results["last"]["loaded"] == results["last"]["total"] > 14_000_000
    assert results["passed"] is True
    # What is refused below is all that the browser complains of.
    assert all("404" in line or "ERR_" in line for line in used["complaints"]), used["complaints"]


def test_a_bundle_stores_its_files_and_leaves_those_of_others_alone(used, web_bundle):
    stored = {name.partition("?")[0] for name in used["results"]["stored"]}
    assert {"elsewhere/weights", "bundle/manifest.json", "bundle/tokenizer.json"} <= stored
    assert "bundle/earlier" not in stored


def test_every_kind_of_picture_gives_the_same_pixels(used, sample):
    rgba = np.asarray(Image.open(sample[0]).convert("RGBA"))
    assert set(used["results"]["digests"].values()) == {hashlib.sha256(rgba.tobytes()).hexdigest()}
    assert len(used["results"]["digests"]) == 10
    first, second = used["results"]["alike"]
    assert first == second


def test_answers_are_those_of_python(used, session, sample):
    results, picture = used["results"], Image.open(sample[0])
    assert results["whole"]["text"] == answer(session, picture)
    assert results["whole"]["look"] > 0 == results["again"]["look"]  # one frame, one look
    assert results["streamed"]["answer"]["stop"] == "end"
    best, gaps = OnePicture(session, picture).follow(CAPTION, results["streamed"]["answer"]["ids"], "end")
    assert results["streamed"]["answer"]["text"] == best or max(gaps) < TIE


def test_a_conversation_is_pythons(used, session, sample):
    chat, talk = session.chat(Image.open(sample[0])), used["results"]["talk"]
    assert talk[0]["text"] == "".join(chat.ask(LARGEST))
    assert talk[1]["text"]
    assert talk[1]["look"] == 0
    assert [turn["question"] for turn in used["results"]["turns"]] == [LARGEST, CAPTION]
    assert 0 < used["results"]["whole"]["confidence"] <= 1


def test_a_crop_changes_the_answer_as_in_python(used, session, sample):
    path, parts = sample
    texts = [step["text"] for step in used["results"]["cropped"]]
    assert texts == [answer(session, cut(Image.open(path), part)) for part in parts]
    assert texts[0] != texts[1]


def test_choices_have_the_likelihoods_of_python(used, session, sample):
    ranking = session.chat(Image.open(sample[0])).rank(LARGEST, CHOICES)
    expected = {choice.text: choice.probability for choice in ranking}
    seen = {choice["text"]: choice["probability"] for choice in used["results"]["ranked"]}
    assert seen == pytest.approx(expected, abs=NEAR)
    assert used["results"]["again"]["text"] == ranking[0].text


def test_an_answer_streams_ends_early_matches_and_is_drawn(used):
    results = used["results"]
    streamed = results["streamed"]
    assert len(streamed["pieces"]) > 2
    assert "".join(streamed["pieces"]) == streamed["answer"]["text"]
    assert results["cancelled"]["stop"] == "cancelled"
    assert results["cancelled"]["text"]
    assert streamed["answer"]["text"].startswith(results["cancelled"]["text"])
    assert re.fullmatch(REGEX, results["matched"]["text"])
    first, second = results["drawn"]
    assert first == second  # a seed repeats it
    assert not streamed["answer"]["text"].startswith(first)


def test_what_is_wrong_is_a_failure_with_a_line(used):
    codes = {
        "crop": "picture", "square": "picture", "picture": "picture", "nothing": "picture",
        "elsewhere": "picture", "missing": "network", "video": "picture", "empty": "prompt",
        "regex": "prompt", "bundle": "network", "assets": "network", "device": "browser",
        "loading": "cancelled", "closed": "cancelled",
    }  # fmt: skip
    failures = used["results"]["failures"]
    assert {name: failure["code"] for name, failure in failures.items()} == codes
    for failure in failures.values():
        assert failure["name"] == "Failure"
        assert 0 < len(failure["message"]) <= 300
        assert "\n" not in failure["message"]


def test_the_example_page_runs(clean, sources, node, chromium, web_bundle, session, sample, tmp_path):
    package = clean / "node_modules" / "phantom-edge-web"
    shutil.copyfile(package / "example.html", tmp_path / "index.html")
    os.symlink(package / "dist", tmp_path / "phantom-edge")
    os.symlink(web_bundle, tmp_path / "bundle")
    with plainly_served(tmp_path) as server:
        seen = use(sources, node, chromium, server.address, str(sample[0]), LARGEST)
    assert seen["results"] == {
        "ready": "phantom-nano is ready",
        "answer": answer(session, Image.open(sample[0])),
    }
