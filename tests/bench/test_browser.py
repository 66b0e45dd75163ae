"""A bundle in a real Chromium, and everything around it: the server, the programs, what is refused.

The end-to-end tests need a Chromium and the built web app, or Node.js and the libraries to build it; without
them they are skipped.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from phantom_edge.apps import serve
from phantom_edge.apps.build import built_app
from phantom_edge.apps.node import Unreachable
from phantom_edge.apps.site import ISOLATION
from phantom_edge.apps.sources import app_sources
from phantom_edge.bench import browser
from phantom_edge.bench.browser import program
from phantom_edge.bench.browser.server import Page, serving
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.checkpoint.pretrained import file_sha256
from phantom_edge.errors import CheckError, InputError

QUICK = Settings(processes=1, repeats=1, warmup=0, steps=3, depths=(0, 70), threads=1)


@pytest.fixture(scope="module")
def chromium() -> None:
    """Skips where no browser is installed, or no app is built and none can be."""
    try:
        program.find(None)
    except InputError as error:
        pytest.skip(f"needs Chromium: {error}")
    try:
        built_app()
    except InputError as error:
        pytest.skip(f"needs Node.js: {error}")
    except Unreachable as error:
        pytest.skip(f"needs the network, once: {error}")


# --- end to end


def test_a_web_bundle_end_to_end(chromium, bundles):
    steps = []
    (run,) = bench([bundles["web"]], "browser", replace(QUICK, soak=0.005), step=steps.append).runs
    assert run.runtime["provider"] == "wasm"
    lock = json.loads((app_sources("web") / "package-lock.json").read_text())["packages"]
    assert run.runtime["version"] == lock["node_modules/onnxruntime-web"]["version"]
    assert run.runtime["threads"] == 1
    assert run.model["prompt_tokens"] == Golden.read(bundles["web"]).input_ids.size
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
    check = run.conditions["golden"]
    assert 0 < check["image tokens"] < Golden.read(bundles["web"]).limits.image_features.rms
    assert check["tokens"].endswith(" of 16")
    first = sum(run.value(part) for part in ("preprocess", "vision", "prefill"))
    assert run.value("first_token") == pytest.approx(first)
    assert run.conditions["WASM heap, MB"] > 1
    assert run.curves["soak"]
    assert any("checking the golden outputs" in step for step in steps)
    assert not any(Path("/proc").glob("*/cmdline")) or not _running("phantom-bench-browser-")


def test_a_model_that_computes_something_else_is_not_timed(chromium, bundles, tmp_path):
    folder = shutil.copytree(bundles["web"], tmp_path / "damaged")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = f"{manifest['graphs']['vision_encoder']}_data"
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / name).write_bytes(data)
    manifest["files"][name]["sha256"] = file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckError, match=r"the golden check failed: image_features\.rms is"):
        bench([folder], "browser", QUICK)


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
    assert browser.is_for_gpu(Bundle(bundle.folder, replace(bundle.manifest, target="webgpu")))


@pytest.mark.parametrize(
    ("features", "requested", "message"),
    [
        ({"isolated": False}, (), "no cross-origin isolation, so WASM has no threads; use Chromium 92"),
        ({"simd": False}, (), "has no SIMD"),
        ({}, ("webgpu",), "no WebGPU here .no adapter.; use --provider wasm"),
    ],
)
def test_a_browser_without_a_feature(features, requested, message):
    with pytest.raises(InputError, match=message):
        browser.choose(ABLE | features, requested)


def test_a_bundle_for_something_else(bundles):
    with pytest.raises(InputError, match=r"made for android .executorch., which no browser runs"):
        bench([bundles["android"]], "browser", QUICK)
    with pytest.raises(InputError, match="phantom-nano: not a bundle"):
        bench([None], "browser", QUICK)
    with pytest.raises(InputError, match="--provider webgl: there are wasm and webgpu"):
        bench([bundles["web"]], "browser", QUICK, Options(providers=("webgl",)))


# --- the programs


def test_no_browser_or_none_that_works(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"--browser .*nowhere: no program is there"):
        program.find(tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "MAC_BROWSERS", ())
    with pytest.raises(InputError, match="no Chromium or Chrome was found"):
        program.find(None)


def test_a_program_that_is_no_browser(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "POLL", 0.05)
    (tmp_path / "fake").write_text("#!/bin/sh\necho 'cannot open display' >&2\nexit 3\n")
    (tmp_path / "fake").chmod(0o755)
    with pytest.raises(
        CheckError, match="the browser ended before the page had a result: cannot open display"
    ):
        browser._in_page(tmp_path / "fake", {}, {"do": "features"}, print, webgpu=False)
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


def test_the_browser_reaches_nobody(tmp_path, monkeypatch):
    """Chromium asks its makers for updates, models and the time; its own record of the network shows it."""
    try:
        chromium = program.find(None)
    except InputError as error:
        pytest.skip(f"needs Chromium: {error}")
    (tmp_path / "index.html").write_text("<script>fetch('http://page.invalid/').catch(() => 0)</script>")
    record = tmp_path / "network.json"
    monkeypatch.setattr(program, "ARGUMENTS", (*program.ARGUMENTS, f"--log-net-log={record}"))
    with serve.serving({"": tmp_path}) as server:
        server.start()
        with program.started(chromium, server.address, webgpu=False):
            deadline, events = time.monotonic() + 20, ""
            while not ("~notfound" in events and '"address_list":["127.0.0.1:' in events):
                assert time.monotonic() < deadline, "it loaded no page, or tried to reach nobody else"
                time.sleep(0.1)
                events = record.read_text() if record.exists() else ""
    kind = re.search(r'"HOST_RESOLVER_MANAGER_REQUEST":(\d+)', events)[1]
    lines = [line for line in events.splitlines() if line.startswith("{") and f'"type":{kind}}}' in line]
    looked_up = {name for line in lines for name in re.findall(r'"host":"(?:https?://)?([^":]+)', line)}
    assert looked_up <= {"localhost", "~notfound"}
    connected = re.findall(r'"address_list":\["([^"]+)"', events)
    assert {address.rpartition(":")[0] for address in connected} <= {"127.0.0.1", "[::1]"}


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
        browser._in_page(tmp_path / "fake", {}, {}, print, webgpu=False)


# --- the server


def request(page: Page, method: str, path: str, body: bytes | None = None):
    connection = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_the_server_gives_files_job_and_ear_to_who_knows_the_path(tmp_path):
    for folder in ("app", "model"):
        (tmp_path / folder).mkdir()
    (tmp_path / "app" / "a.js").write_text("1")
    (tmp_path / "model" / "manifest.json").write_text("{}")
    (tmp_path / "secret").write_text("no")
    with serving({"": tmp_path / "app", "bundle": tmp_path / "model"}, {"do": "x"}) as page:
        at = f"/{page.secret}"
        assert urlsplit(page.url).path == f"{at}/bench.html"
        status, headers, body = request(page, "GET", f"{at}/a.js")
        assert (status, body, headers["Content-Type"]) == (200, b"1", "text/javascript")
        assert {name: headers[name] for name in ISOLATION} == ISOLATION
        assert request(page, "GET", f"{at}/bundle/manifest.json")[2] == b"{}"
        assert request(page, "GET", f"{at}/job.json")[2] == b'{"do": "x"}'
        for path in (
            "/a.js",
            "/job.json",
            "/",
            f"{at}/",
            f"{at}/bundle",
            f"{at}/../secret",
            f"{at}/%2e%2e/secret",
            f"/{'x' * 22}/a.js",
        ):
            assert request(page, "GET", path)[0] == 404, path
            assert request(page, "HEAD", path)[0] == 404, path
        assert request(page, "POST", f"{at}/report", b'{"step": "one"}')[0] == 204
        assert request(page, "POST", f"{at}/report", b"[1]")[0] == 400
        assert request(page, "POST", "/report", b'{"step": "two"}')[0] == 404
        assert page.reports.get(timeout=1) == {"step": "one"}
        assert page.reports.empty()
