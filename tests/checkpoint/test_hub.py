"""The hub over HTTP: what it refuses is explained, every wait has a bound, the cache helps out."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from small_hub import COMMIT, NAME, small_hub

from phantom_edge.checkpoint import hub_job as module
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.origin import Origin
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError


@pytest.fixture
def hub(tiny_dirs, tmp_path, monkeypatch):
    """A hub of one model, and an empty cache."""
    with small_hub(tiny_dirs["qwen2"]) as running:
        use(monkeypatch, running.url, tmp_path / "hub")
        yield running


def use(monkeypatch, url, cache):
    """Settings of the hub's library, which reads them once: here, and in the process that downloads."""
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "5")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)


@pytest.fixture
def impatient(monkeypatch):
    """Waits that are short, for a hub that shall be given up: it would say nothing for two minutes."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(module, "SILENCE_SECONDS", 3.0)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 60


def refusal(**options) -> str:
    with pytest.raises(InputError) as caught:
        Pretrained.open(NAME, **options)
    line = str(caught.value)
    assert line.startswith(f"{NAME}: ")
    assert len(line) < 300
    return line


def test_a_download_is_shown_and_kept_for_the_time_without_a_network(hub, monkeypatch, caplog):
    steps = []
    source = Pretrained.open(NAME, revision="v1", step=steps.append)
    assert source.origin == Origin("hub", NAME, "v1", COMMIT)
    assert steps[0] == f"asking the hub for {NAME}"
    assert any(step.startswith(f"downloading {NAME}: ") for step in steps)
    hub.failure = "silent"
    before = len(hub.requests)
    assert Pretrained.open(NAME, revision=COMMIT).sha256() == source.sha256()  # a commit never changes
    assert len(hub.requests) == before
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.5)
    assert Pretrained.open(NAME, revision="v1").sha256() == source.sha256()
    (record,) = [record for record in caplog.records if record.name.startswith("phantom_edge")]
    assert "using the copy in the local cache" in record.getMessage()


def test_gated(hub):
    for failure in ((403, "GatedRepo"), (401, "GatedRepo"), "gated files"):
        hub.failure = failure
        assert f"is gated: ask for access on {hub.url}/{NAME} and log in with `hf auth login`" in refusal()


def test_what_does_not_exist(hub):
    assert "has no revision 'v7'" in refusal(revision="v7")
    hub.failure = (404, "RepoNotFound")
    assert "no such model on the hub; if it is private, log in with `hf auth login`" in refusal()


@pytest.mark.parametrize(("status", "words"), [(403, "refuses it (403)"), (503, "answers 503; try again")])
def test_other_answers(hub, status, words):
    hub.failure = (status, "Other")
    assert words in refusal()


def test_a_hub_that_never_answers_is_given_up(hub, impatient):
    hub.failure = "silent"
    assert "cannot be reached (" in refusal()


def test_no_hub_at_all(hub, monkeypatch, tmp_path):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub")
    assert "the hub at http://127.0.0.1:9 cannot be reached (" in refusal()


def test_a_dropped_connection_goes_on_where_it_ended(hub, tiny_dirs, tmp_path):
    hub.failure = "dropped"
    hub.folder = shutil.copytree(tiny_dirs["qwen2"], tmp_path / "large")
    (hub.folder / "large.json").write_bytes(b" " * (25 << 20) + b"{}")  # the library writes 10 MiB at a time
    source = Pretrained.open(NAME)
    assert source.sha256() == Pretrained.open(tiny_dirs["qwen2"]).sha256()
    assert hub.dropped >= {"model.safetensors", "large.json"}
    assert hub.ranges == [f"large.json bytes={10 << 20}-"]
    assert (source.checkpoint.folder / "large.json").stat().st_size == (25 << 20) + 2


def test_a_download_that_stalls_is_given_up_and_goes_on_the_next_time(hub, impatient, monkeypatch):
    hub.failure = "stuck"
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "120")
    assert "cannot be reached (no answer for 3 s)" in refusal()
    monkeypatch.setattr(module, "SILENCE_SECONDS", 90.0)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 10.0)
    hub.failure = None
    hub.closing.set()
    assert Checkpoint.open(NAME).config.decoder.type == "qwen2"


def test_an_interrupted_download_leaves_no_process(hub, monkeypatch):
    """What stops a command stops the download, whatever the library's threads wait for."""
    hub.failure = "stuck"
    steps = []

    def interrupt(text):
        steps.append(text)
        if text.startswith("downloading"):
            raise KeyboardInterrupt

    started, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with pytest.raises(KeyboardInterrupt):
        Pretrained.open(NAME, step=interrupt)
    assert [process.poll() is None for process in started] == [False]
    hub.failure = None
    assert Pretrained.open(NAME).config.decoder.type == "qwen2"


def test_the_command_line_says_it_in_one_line(hub, tmp_path):
    """In a process of its own, whose end waits for nothing."""
    hub.failure = (403, "GatedRepo")
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "phantom_edge", "inspect", "-m", NAME]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "is gated" in done.stderr
