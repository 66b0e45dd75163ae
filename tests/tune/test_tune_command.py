"""The command as a user meets it: tune, then export; and one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from triple_files import write_triples

from recipes.synthetic import TINY, write_checkpoint

pytestmark = pytest.mark.slow


def run(*arguments, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "phantom_edge", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_tune_then_export(tmp_path):
    write_checkpoint(tmp_path / "tiny", TINY)
    write_triples(tmp_path)
    arguments = ["tune", "--data", "triples.jsonl", "--images", "pictures", "-m", "tiny", "-o", "tuned"]
    arguments += ["--steps-1", 1, "--steps-2", 1, "--batch", 4, "--validation", 1, "--seed", 1]
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # quiet when not a terminal
    lines = done.stdout.splitlines()
    assert lines[0].startswith("step 1, 1: sft ")
    assert "preference" in lines[0]
    assert lines[1].startswith("step 2, 1: sft ")
    assert [line.split(":")[0] for line in lines[2:-1]] == [
        f"validation, {n}" for n in ("before", "step 1", "after")
    ]
    assert lines[-1].endswith("tuned")
    told = json.loads(run(*arguments, "--json", cwd=tmp_path).stdout)  # finished: told again, not done again
    assert told["output"] == str(tmp_path / "tuned")
    assert [point["stage"] for point in told["curve"]] == [1, 2]
    done = run(
        "export", "-m", "tuned", "-t", "web", "-o", "bundle", "--context", 160, "--no-verify", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["source"]["name"] == "tuned"


def test_what_is_wrong_is_one_line(tmp_path):
    write_triples(tmp_path)
    done = run("tune", "--data", "triples.jsonl", "--images", "nowhere", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere: no such folder; --images takes the folder of the pictures\n"


def test_ctrl_c_keeps_the_state_and_says_so(tmp_path):
    write_checkpoint(tmp_path / "tiny", TINY)
    write_triples(tmp_path)
    words = ["tune", "--data", "triples.jsonl", "--images", "pictures", "-m", "tiny", "-o", "tuned"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "phantom_edge", *words, "--steps-1", "99999"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        # Heard also where the tests ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "tuned.partial" / "state.safetensors").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert stderr == "error: stopped; the same command goes on from the last state, if there is one\n"
    assert not (tmp_path / "tuned").exists()
    assert (tmp_path / "tuned.partial" / "state.safetensors").exists()
