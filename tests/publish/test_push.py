"""Bundles to a hub and back, by the hub's own library: what is sent, and what is refused in which words."""

import hashlib
import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from model_hub import TOKEN, Repository, model_hub, point_at
from sample_manifest import sample_manifest

from phantom_edge.apps.web import write_web_app
from phantom_edge.bundle.folder import Bundle, finish, writing
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.checkpoint import hub_job
from phantom_edge.checkpoint.origin import Origin
from phantom_edge.errors import InputError
from phantom_edge.publish.pull import pull
from phantom_edge.publish.push import PushOptions, check_push, push

NAME = "someone/phantom-tiny-web"
FILES = {"onnx/vision_encoder.onnx": b"v" * 3000, "onnx/decoder.onnx": b"d" * 5000, "tokenizer.json": b"{}"}


def make(folder: Path, files=FILES, **changes) -> Path:
    with writing(folder) as partial:
        for path, data in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(data)
        finish(partial, sample_manifest(**changes))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with model_hub() as running:
        point_at(monkeypatch, running, tmp_path / "home")
        yield running


@pytest.fixture
def bundle(tmp_path) -> Path:
    return make(tmp_path / "phantom-tiny-web")


def refusal(*arguments, name=NAME, **options) -> str:
    with pytest.raises(InputError) as caught:
        push(*arguments, **options)
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert len(line) < 300
    assert TOKEN not in line
    return line


def test_a_bundle_goes_there_and_comes_back(hub, bundle, tmp_path):
    steps = []
    pushed = push(bundle, NAME, PushOptions(private=True, message="The first"), step=steps.append)
    repository = hub.repositories[NAME]
    assert repository.private
    assert repository.messages == ["initial commit", "The first"]
    assert (pushed.url, pushed.commit) == (f"{hub.url}/{NAME}", repository.branches["main"])
    assert (pushed.created, pushed.kept_card) == (True, False)
    there = repository.files()
    assert there.keys() == {*FILES, MANIFEST, "README.md", ".gitattributes"}
    assert {path: there[path] for path in content(bundle)} == content(bundle)
    assert steps[-1].startswith(f"sending {NAME}: 8.0 kB")
    assert content(pull(NAME, tmp_path / "back").bundle.folder) == content(bundle)
    assert yaml.safe_load(there["README.md"].decode().split("---\n")[1])["library_name"] == "phantom-edge"


def test_what_is_there_already_is_not_sent_again(hub, bundle, tmp_path):
    first = push(bundle, NAME)
    assert set(hub.received.values()) == {3000, 5000}
    hub.forget()
    assert push(bundle, NAME).commit == first.commit  # nothing differs: no commit
    assert not hub.received
    newer = {"onnx/decoder.onnx": b"D" * 6000, "onnx/vision_encoder.onnx": b"v" * 3000}
    hub.repositories[NAME].files()["notes.txt"] = b"of somebody"
    hub.forget()
    pushed = push(make(bundle, newer), NAME)
    there = hub.repositories[NAME].files()
    assert hub.received.keys() == {sha256(b"D" * 6000)}
    assert there.keys() == {*newer, MANIFEST, "README.md", ".gitattributes", "notes.txt"}  # no tokenizer.json
    assert not pushed.created


def test_an_interrupted_push_goes_on(hub, bundle):
    hub.stuck = f"/storage/{sha256(FILES['onnx/decoder.onnx'])}"
    steps = []

    def interrupt(text):
        steps.append(text)
        if sha256(FILES["onnx/vision_encoder.onnx"]) in hub.storage and text.startswith("sending"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(bundle, NAME, step=interrupt)
    assert hub.repositories[NAME].files().keys() == {".gitattributes"}  # no half of it
    hub.stuck = ""
    hub.closing.set()
    hub.forget()
    push(bundle, NAME)
    assert sha256(FILES["onnx/vision_encoder.onnx"]) not in hub.received
    assert sha256(FILES["onnx/decoder.onnx"]) in hub.received


def test_a_hub_that_falls_silent_is_given_up(hub, bundle, monkeypatch):
    hub.stuck = "/storage/"
    monkeypatch.setattr(hub_job, "SILENCE_SECONDS", 2.0)
    assert "cannot be reached (no answer for 2 s); try again" in refusal(bundle, NAME)


@pytest.mark.slow
def test_a_slow_push_is_no_silent_one(hub, tmp_path, monkeypatch):
    """It takes longer than a silence may, and what is sent is shown meanwhile."""
    bundle = make(tmp_path / "phantom-tiny-web", {"model.onnx": b"m" * (30 << 20)})
    monkeypatch.setattr(hub_job, "SILENCE_SECONDS", 3.0)
    hub.pause = 0.2
    steps, start = [], time.monotonic()
    push(bundle, NAME, step=steps.append)
    assert time.monotonic() - start > 5
    assert any("%" in step for step in steps)


@pytest.mark.parametrize(
    ("part", "status", "words"),
    [
        ("POST /api/repos/create", 401, "the hub does not know the token (401)"),
        ("POST /api/repos/create", 403, "the token may not write there (403)"),
        ("POST /api/repos/create", 404, "the hub has no such user or organisation"),
        ("POST /api/repos/create", 409, "the name is taken"),
        ("GET /api/models", 401, "the hub does not know the token (401)"),
        ("POST /api/models", 403, "the token may not write there (403)"),
        ("/commit/", 409, "the hub is busy with another change there (409)"),
        ("/commit/", 412, "was changed by someone while this was sent (412)"),
        ("/commit/", 500, "the hub answers 500; push again later, what has arrived is not sent twice"),
        ("batch", 413, "a file is larger than the hub takes (413)"),
        ("/preupload/", 400, "the hub does not take it as it is (400)"),
    ],
)
def test_a_hub_that_refuses(hub, bundle, part, status, words):
    hub.refuse[part] = status
    assert words in refusal(bundle, NAME)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "words"), [(429, "fewer questions (429)"), (503, "answers 503")])
def test_a_hub_that_is_busy_is_asked_some_times(hub, bundle, status, words):
    hub.refuse["/storage/"] = status
    assert words in refusal(bundle, NAME)


def test_no_hub_at_all(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub at http://127.0.0.1:9 cannot be reached (" in refusal(bundle, NAME)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids to ask the hub; unset it to push" in refusal(bundle, NAME)


def test_without_a_token(hub, bundle, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "a push needs a token that may write: log in with `hf auth login`" in refusal(bundle, NAME)
    with pytest.raises(InputError, match="a push needs a token"):
        check_push(NAME)
    assert not hub.requests


def test_a_wrong_token_is_never_shown(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongOneOfTheTests")
    assert "does not know the token" in (line := refusal(bundle, NAME))
    assert "hf_wrong" not in line


def test_a_place_of_somebody_else(hub, bundle):
    assert "the token may not write there (403)" in refusal(bundle, "other/name", name="other/name")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.safetensors": b"w", "config.json": b"{}"}, "holds config.json, which is no bundle's"),
        ({MANIFEST: b"{}"}, "holds a manifest.json that is no bundle's"),
        ({MANIFEST: b"[" * 9}, "holds a manifest.json that is no bundle's"),
    ],
)
def test_what_is_no_bundle_is_not_replaced(hub, bundle, files, words):
    hub.repositories[NAME] = repository = Repository()
    repository.commit(files)
    assert f"{words}; push to another name" in refusal(bundle, NAME)
    assert repository.files() == files


def test_a_file_of_somebodys_is_not_replaced(hub, bundle):
    push(bundle, NAME)
    hub.repositories[NAME].files()["onnx/new.onnx"] = b"of somebody"
    make(bundle, {**FILES, "onnx/new.onnx": b"of the bundle"})
    assert "holds onnx/new.onnx, which is no bundle's" in refusal(bundle, NAME)


def test_private_is_private(hub, bundle):
    push(bundle, NAME)
    assert "is public; make it private on the hub first" in refusal(bundle, NAME, PushOptions(private=True))


def test_a_branch_is_made_for_it(hub, bundle):
    push(bundle, NAME)
    make(bundle, {"tokenizer.json": b"[]"})
    commit = push(bundle, NAME, PushOptions(revision="v2")).commit
    assert hub.repositories[NAME].branches["v2"] == commit
    assert hub.repositories[NAME].files("v2")["tokenizer.json"] == b"[]"
    assert hub.repositories[NAME].files()["tokenizer.json"] == b"{}"


def test_an_edited_card_stays(hub, bundle):
    push(bundle, NAME)
    files = hub.repositories[NAME].files()
    written = files["README.md"]
    files["README.md"] = written.replace(b"## Run it", b"## How we run it")
    assert push(bundle, NAME).kept_card
    assert b"How we run it" in hub.repositories[NAME].files()["README.md"]
    files["README.md"] = written + b"\nMore.\n"
    assert push(bundle, NAME).kept_card
    assert not push(bundle, NAME, PushOptions(replace_card=True)).kept_card
    assert hub.repositories[NAME].files()["README.md"] == written
    assert not push(bundle, NAME, PushOptions(licence="mit")).kept_card  # one of ours is written anew
    assert b'license: "mit"' in hub.repositories[NAME].files()["README.md"]


def test_a_bundle_that_should_not_be_passed_on(hub, bundle, tmp_path, caplog):
    (bundle / "tokenizer.json").write_bytes(b"[]")
    with pytest.raises(InputError, match=r"tokenizer\.json is not the file that was exported"):
        push(bundle, NAME)
    make(bundle, verification=None)
    with pytest.raises(InputError, match="was not verified; export it again without --no-verify, or push it"):
        push(bundle, NAME)
    assert NAME not in hub.repositories
    push(bundle, NAME, PushOptions(unverified=True))
    assert b"**It was not verified**" in hub.repositories[NAME].files()["README.md"]
    failed = replace(sample_manifest().verification, ok=False)
    with pytest.raises(InputError, match="its verification failed"):
        push(make(bundle, verification=failed), NAME, PushOptions(unverified=True))
    with pytest.raises(InputError, match="not a bundle"):
        push(tmp_path, NAME)


def test_a_folders_name_in_the_manifest_is_said(hub, bundle, caplog):
    source = replace(sample_manifest().source, origin=Origin("folder", "/home/me/private/phantom"))
    with caplog.at_level(logging.WARNING):
        push(make(bundle, source=source), NAME)
    assert "the manifest names the folder that it was made from: /home/me/private/phantom" in caplog.text
    assert b"/home/me" not in hub.repositories[NAME].files()["README.md"]


@pytest.mark.parametrize(
    "name", ["nano", "a/b/c", "../x", "someone/..", "-a/b", "someone/a b", "", "a/" + "b" * 99]
)
def test_names_that_are_none(bundle, name):
    for call in (lambda: push(bundle, name), lambda: pull(name)):
        with pytest.raises(InputError, match="not a Hugging Face id of the form owner/name"):
            call()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PushOptions(revision="a" * 40), "--revision is a commit"),
        (PushOptions(message=""), "--message has 0 characters"),
        (PushOptions(message="x" * 201), "--message has 201 characters"),
        (PushOptions(licence="Apache 2"), "--license 'Apache 2': give its short name"),
    ],
)
def test_options_that_are_wrong(bundle, options, words):
    with pytest.raises(InputError, match=words):
        push(bundle, NAME, options)


def test_a_checkpoint_is_not_pulled(hub, tiny_dirs, tmp_path):
    hub.repositories["someone/checkpoint"] = repository = Repository()
    repository.commit(content(tiny_dirs["qwen2"]))
    with pytest.raises(InputError, match="someone/checkpoint: is a checkpoint, no bundle"):
        pull("someone/checkpoint", tmp_path / "out")


def test_an_app_is_written_around_an_id(hub, bundle, tmp_path):
    push(bundle, NAME)
    folder = write_web_app(NAME, tmp_path / "app")
    assert content(folder / "public" / "bundle") == content(bundle)
    with pytest.raises(InputError, match=r"someone/none: no such folder, and no such model on the hub"):
        write_web_app("someone/none", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def phantom_edge(*arguments, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phantom_edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def test_the_command_line(hub, bundle, tmp_path, monkeypatch):
    (empty := tmp_path / "empty").mkdir()
    done = phantom_edge("push", bundle, NAME, "--private", "--license", "mit")
    assert done.returncode == 0, done.stderr
    commit = hub.repositories[NAME].branches["main"]
    assert done.stdout == f"pushed {hub.url}/{NAME} (commit {commit[:12]})\n"
    done = phantom_edge("pull", NAME, "--json", cwd=empty)
    assert json.loads(done.stdout)["fetched"].keys() == FILES.keys()
    assert Bundle.open(empty / "phantom-tiny-web")
    done = phantom_edge("pull", NAME, "-o", empty / "phantom-tiny-web")
    assert done.stdout.endswith("0 of 3 files fetched (0.0 kB)\n")
    shutil.rmtree(tmp_path / "home")
    monkeypatch.setenv("HF_TOKEN", "hf_wrongOneOfTheTests")
    done = phantom_edge("pull", NAME, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"error: {NAME}: no such model on the hub; if it is private" in done.stderr


@pytest.mark.slow
def test_an_export_is_published_and_runs_by_its_id(hub, tmp_path):
    """Nano: exported with --push, then asked, verified, inspected, evaluated and timed by its id."""
    name, output = "someone/nano-desktop", tmp_path / "nano"
    done = phantom_edge("export", "-t", "desktop", "-o", output, "--push", name)
    assert done.returncode == 0, done.stderr
    assert f"pushed {hub.url}/{name}" in done.stderr
    question = ("-p", "Is there a red star?")
    by_id = phantom_edge("run", "-m", name, *question)
    assert by_id.returncode == 0, by_id.stderr
    assert by_id.stdout == phantom_edge("run", "-m", output, *question).stdout
    hub.forget()
    assert "nano-desktop: bundle for desktop" in phantom_edge("inspect", "-m", name).stdout
    assert phantom_edge("verify", name, "--tokens", "4").returncode == 0
    records = tmp_path / "records.jsonl"
    asked = ("--tasks", "colour", "--samples", "2", "--records", records)
    assert "nano-desktop" in phantom_edge("eval", "-m", name, *asked).stdout
    times = ("--processes", "1", "--repeats", "1", "--steps", "2", "--depths", "0")
    assert "nano-desktop" in phantom_edge("bench", name, *times).stdout
    assert not hub.sent  # each was there
    pulled = phantom_edge("pull", name, cwd=tmp_path)
    assert "0 of 17 files fetched" in pulled.stdout  # of the cache's
    done = phantom_edge("push", tmp_path / "nano-desktop", name, "--eval", records)
    assert done.returncode == 0, done.stderr
    assert b"| all | 2 |" in hub.repositories[name].files()["README.md"]
    hub.forget()
    card = phantom_edge("push", output, name, "--dry-run").stdout
    assert card.startswith("---\nlibrary_name:")
    assert not hub.requests
    done = phantom_edge("export", "--private")
    assert done.returncode == 2
    assert "--private is for what is published" in done.stderr


@pytest.mark.slow
def test_a_pull_that_is_killed_leaves_the_old_or_the_new(hub, tmp_path):
    """An update by the command line, ended at moments that a fixed seed chooses."""
    place, made = tmp_path / "place", tmp_path / "made"
    output, rng = place / "bundle", random.Random(0)
    hub.repositories[NAME] = repository = Repository()
    versions = [
        content(make(made, {"model.onnx": bytes([n]) * (12 << 20), "same": b"s" * 9000})) for n in (0, 1)
    ]
    repository.commit(versions[0])
    place.mkdir()
    pull(NAME, output)
    ended = 0
    for number in range(8):
        old, new = versions[number % 2], versions[(number + 1) % 2]
        repository.commit(new)
        command = [sys.executable, "-m", "phantom_edge", "pull", NAME, "-o", str(output)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(rng.uniform(0.1, 1.2))  # a pull takes about a second
        process.send_signal((signal.SIGKILL, signal.SIGTERM)[number % 2])
        process.communicate(timeout=60)
        ended += process.returncode != 0
        Bundle.open(output)
        assert content(output) in (old, new)
        pull(NAME, output)
        assert content(output) == new
        assert [path.name for path in place.iterdir()] == ["bundle"]
    assert ended
