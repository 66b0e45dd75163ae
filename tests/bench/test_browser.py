"""A bundle in a real Chromium, and everything around it: the server, the programs, what is refused.

The end-to-end tests need a Chromium and onnxruntime-web: in $PHANTOM_EDGE_ONNXRUNTIME_WEB, in
apps/web/node_modules, or among what was fetched before; without them they are skipped.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from phantom_edge.bench import browser
from phantom_edge.bench.browser import package, program
from phantom_edge.bench.browser.server import HEADERS, serving
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import file_sha256
from phantom_edge.errors import CheckError, InputError

ROOT = Path(__file__).resolve().parents[2]
QUICK = Settings(processes=1, repeats=1, warmup=0, steps=3, depths=(0, 70), threads=1)
PLACES = (
    os.environ.get("PHANTOM_EDGE_ONNXRUNTIME_WEB"),
    ROOT / "apps/web/node_modules/onnxruntime-web",
    package.cache_folder() / f"{package.NAME}-{package.VERSION}",
)
WEB = next((Path(place) for place in PLACES if place and Path(place).is_dir()), None)
CHROMIUM = next((found for name in program.NAMES if (found := shutil.which(name))), None)
in_a_browser = pytest.mark.skipif(
    WEB is None or CHROMIUM is None, reason="needs a Chromium and onnxruntime-web; see the module's docstring"
)


# --- end to end


@in_a_browser
def test_a_web_bundle_end_to_end(bundles):
    steps = []
    options = Options(onnxruntime_web=WEB)
    (run,) = bench([bundles["web"]], "browser", replace(QUICK, soak=0.005), options, step=steps.append).runs
    assert run.runtime["provider"] == "wasm"
    assert run.runtime["version"].startswith("1.")
    assert {key: len(values) for key, values in run.samples.items()} == {
        "first_token": 1,
        "preprocess": 1,
        "vision": 1,
        "prefill": 1,
        "prefill_rate": 1,
        "decode@0": 3,
        "decode@70": 3,
        "load": 1,
        "memory": 1,
        "bundle": 1,
    } | ({"drift": 1} if "drift" in run.samples else {})
    assert all(value > 0 for key, values in run.samples.items() if key != "drift" for value in values)
    golden = run.conditions["golden"]
    assert golden["pixels"] == 0  # PNG, canvas and planes give exactly what Python gives
    assert golden["image tokens"] < 0.1
    assert golden["tokens"].endswith(" of 16")
    assert run.conditions["WASM heap, MB"] > 1
    assert run.curves["soak"]
    assert any("checking the golden outputs" in step for step in steps)
    assert not any(Path("/proc").glob("*/cmdline")) or not _running("phantom-bench-browser-")


@in_a_browser
def test_a_model_that_computes_something_else_is_not_timed(bundles, tmp_path):
    folder = shutil.copytree(bundles["web"], tmp_path / "damaged")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = f"{manifest['graphs']['vision_encoder']}_data"
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / name).write_bytes(data)
    manifest["files"][name]["sha256"] = file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckError, match="the golden check failed: image tokens differ"):
        bench([folder], "browser", QUICK, Options(onnxruntime_web=WEB))


def _running(mark: str) -> bool:
    """Whether a process of this user still runs with the mark in its command line."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True)
    return any(
        mark in line for line in done.stdout.splitlines() if "ps -eo" not in line and "pytest" not in line
    )


# --- what a browser must have

ABLE = {"isolated": True, "simd": True, "cores": 4, "webgpu": None, "userAgent": "x"}
GPU = {"name": "apple metal-3", "software": False}


def test_providers_follow_from_the_browser():
    assert browser.choose(ABLE, ()) == ["wasm"]
    assert browser.choose(ABLE | {"webgpu": GPU}, ()) == ["wasm", "webgpu"]
    assert browser.choose(ABLE | {"webgpu": GPU | {"software": True}}, ()) == ["wasm"]
    assert browser.choose(ABLE | {"webgpu": GPU | {"software": True}}, ("webgpu", "webgpu")) == ["webgpu"]


def test_a_bundle_for_webgpu_runs_there(bundles):
    bundle = Bundle.open(bundles["web"], check=False)
    assert not browser.is_for_gpu(bundle)
    assert browser.is_for_gpu(Bundle(bundle.folder, bundle.manifest | {"target": "webgpu"}))


@pytest.mark.parametrize(
    ("told", "wanted", "message"),
    [
        ({"isolated": False}, (), "no cross-origin isolation, so WASM has no threads; use Chromium 92"),
        ({"simd": False}, (), "has no SIMD"),
        ({}, ("webgpu",), "no WebGPU here .no adapter.; use --provider wasm"),
    ],
)
def test_a_browser_without_a_feature(told, wanted, message):
    with pytest.raises(InputError, match=message):
        browser.choose(ABLE | told, wanted)


def test_a_bundle_for_something_else(bundles):
    with pytest.raises(InputError, match=r"a bundle for android .executorch., which no browser runs"):
        bench([bundles["android"]], "browser", QUICK)
    with pytest.raises(InputError, match="phantom-nano: not a bundle"):
        bench([None], "browser", QUICK)
    with pytest.raises(InputError, match="--provider webgl: there are wasm and webgpu"):
        bench([bundles["web"]], "browser", QUICK, Options(providers=("webgl",)))


def test_file_names_come_from_the_manifest(bundles, tmp_path):
    """Files under other names: what the page is told follows the manifest and the model's own references."""
    folder = shutil.copytree(bundles["web"], tmp_path / "renamed")
    manifest = json.loads((folder / "manifest.json").read_text())
    old = manifest["graphs"]["vision_encoder"]
    data = Path(f"{old}_data").name
    (folder / "deep").mkdir()
    for name, new in ((old, "deep/eyes.onnx"), (f"{old}_data", f"deep/{data}")):
        (folder / name).rename(folder / new)
        manifest["files"][new] = manifest["files"].pop(name)
    manifest["graphs"]["vision_encoder"] = "deep/eyes.onnx"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    told = browser._job(Bundle.open(folder), "wasm", QUICK, 2)["graphs"]["vision_encoder"]
    assert told == {
        "model": "../bundle/deep/eyes.onnx",
        "data": [{"name": data, "url": f"../bundle/deep/{data}"}],
    }
    del manifest["files"][f"deep/{data}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"deep/{data} is not listed in the manifest"):
        browser._job(Bundle.open(folder, check=False), "wasm", QUICK, 2)


# --- the programs


def test_no_browser_or_none_that_works(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"--browser .*nowhere: no program is there"):
        program.find(tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "MAC_APPS", ())
    with pytest.raises(InputError, match="no Chromium or Chrome was found"):
        program.find(None)


def test_a_program_that_is_no_browser(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "POLL", 0.05)
    (tmp_path / "fake").write_text("#!/bin/sh\necho 'cannot open display' >&2\nexit 3\n")
    (tmp_path / "fake").chmod(0o755)
    with pytest.raises(
        CheckError, match="the browser ended before the page had a result: cannot open display"
    ):
        browser._page(tmp_path / "fake", {}, {"do": "features"}, print, webgpu=False)
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with (
        pytest.raises(InputError, match="cannot be started"),
        program.started(tmp_path / "text", "http://127.0.0.1/", webgpu=False),
    ):
        pass


def test_a_browser_is_ended_with_all_its_processes(tmp_path):
    child = tmp_path / "child"
    (tmp_path / "fake").write_text(f"#!/bin/sh\nsleep 60 & echo $! > {child}\nwait\n")
    (tmp_path / "fake").chmod(0o755)
    with program.started(tmp_path / "fake", "x", webgpu=False) as running:
        while not (child.exists() and child.read_text().strip()):
            assert running.alive
        pid = int(child.read_text())
        assert pid in program._descendants(running.process.pid)
    deadline = time.monotonic() + 10
    while _lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """A process that has ended but that nobody has waited for yet is no longer alive."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_a_page_that_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "POLL", 0.01)
    monkeypatch.setattr(browser, "SILENCE", 0.05)
    (tmp_path / "fake").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "fake").chmod(0o755)
    with pytest.raises(CheckError, match="the page said nothing"):
        browser._page(tmp_path / "fake", {}, {}, print, webgpu=False)


# --- onnxruntime-web


def made(folder: Path, name: str = package.NAME, files: tuple[str, ...] = package.FILES) -> Path:
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.30.0"}))
    for file in files:
        (folder / "dist" / file).touch()
    return folder


def test_the_package_or_the_project_that_has_it(tmp_path):
    folder = made(tmp_path / "project" / "node_modules" / package.NAME)
    (tmp_path / "project" / "package.json").write_text("{}")
    assert package.find(folder, print) == package.find(tmp_path / "project", print)
    assert package.find(folder, print).version == "1.30.0"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.mkdir(), "holds no package.json"),
        (lambda f: made(f, name="lodash"), "holds the package 'lodash'"),
        (lambda f: made(f, files=()), "has no dist/ort.wasm.min.mjs; use version"),
        (lambda f: (f.mkdir(), (f / "package.json").write_text("{")), "not readable"),
    ],
)
def test_a_folder_that_is_no_such_package(tmp_path, make, message):
    make(tmp_path / "folder")
    with pytest.raises(InputError, match=message):
        package.find(tmp_path / "folder", print)


def test_it_is_fetched_once_and_nothing_half_fetched_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}/usr/bin:/bin")
    npm = bin_folder / "npm"
    npm.write_text(
        "#!/bin/sh\nmkdir -p node_modules/onnxruntime-web/dist\necho 'npm ERR! network' >&2\nexit 1\n"
    )
    npm.chmod(0o755)
    with pytest.raises(
        InputError, match=r"npm could not fetch onnxruntime-web .* .npm ERR! network.; name a folder"
    ):
        package.find(None, print)
    assert list((tmp_path / "cache" / "phantom-edge").iterdir()) == []
    source = made(tmp_path / "registry")
    npm.write_text(
        f"#!/bin/sh\nmkdir node_modules && cp -r {source} node_modules/onnxruntime-web\necho x >> "
        f"{tmp_path}/n\n"
    )
    said = []
    assert package.find(None, said.append) == package.find(None, said.append)
    assert said == [f"fetching onnxruntime-web {package.VERSION} with npm, once"]
    assert (tmp_path / "n").read_text() == "x\n"
    monkeypatch.setattr(package.shutil, "which", lambda _: None)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError, match="fetched with npm, which is not installed"):
        package.find(None, print)


# --- the server


def asked(server, method: str, path: str, body: bytes | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_server_gives_what_is_listed_to_who_knows_the_path(tmp_path):
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "secret").write_text("no")
    with serving({"page/a.js": tmp_path / "a.js"}, {"do": "x"}) as server:
        at = f"/{server.secret}"
        status, headers, body = asked(server, "GET", f"{at}/page/a.js")
        assert (status, body, headers["Content-Type"]) == (200, b"1", "text/javascript")
        assert HEADERS.items() <= headers.items()
        assert asked(server, "GET", f"{at}/job.json")[2] == b'{"do": "x"}'
        for path in (
            "/page/a.js",
            "/",
            f"{at}/",
            f"{at}/page/../secret",
            f"{at}/page/%2e%2e/secret",
            f"/{'x' * 22}/page/a.js",
        ):
            assert asked(server, "GET", path)[0] == 404, path
        assert asked(server, "POST", f"{at}/told", b'{"step": "one"}')[0] == 204
        assert asked(server, "POST", f"{at}/told", b"[1]")[0] == 400
        assert asked(server, "POST", "/told", b'{"step": "two"}')[0] == 404
        assert server.told.get(timeout=1) == {"step": "one"}
        assert server.told.empty()
        assert server.server_address[0] == "127.0.0.1"


def test_the_page_refers_to_nothing_that_is_not_served():
    """Every import of the page's scripts is one of its files or the package's."""
    import re

    names = {path.name for path in browser.PAGE.iterdir()}
    for path in browser.PAGE.glob("*.js"):
        for found in re.findall(r"from '\./([^']+)'", path.read_text()):
            assert found in names
    assert {"index.html", "main.js", "worker.js"} <= names
