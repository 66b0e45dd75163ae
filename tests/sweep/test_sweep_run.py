"""Whole sweeps on Ray: on this machine, resumed, and on a cluster of two nodes that loses one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from phantom_edge.bundle.folder import Bundle

pytest.importorskip("ray", reason="needs Ray")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUICK = ("--context", "160", "--tasks", "colour", "--samples", "1")


@pytest.fixture
def place(tmp_path) -> Iterator[dict[str, Any]]:
    """Options of a process: a folder, a cache of its own, and no token of another cluster."""
    with tempfile.TemporaryDirectory(prefix="pe-", dir="/tmp") as short:  # Ray's sockets have long names
        own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "RAY_TMPDIR": short}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        yield {"text": True, "cwd": tmp_path, "env": {**environment, **own}}


@pytest.fixture
def run(place):
    """A program to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, timeout=600, **place)

    return run


def test_a_sweep_goes_on_where_it_ended_and_keeps_its_winner(run, tiny_dirs, tmp_path):
    sweep = ("-m", "phantom_edge", "sweep", "-m", tiny_dirs["qwen2"], *QUICK, "-o", "mine")
    first = run(*sweep, "--quant", "int4,int8", "--json")
    assert (first.returncode, first.stderr) == (0, "")
    before = json.loads(first.stdout)
    assert [one["name"] for one in before["combinations"]] == ["desktop int4", "desktop int8"]
    assert all(one["made"]["answers"]["questions"] == 1 for one in before["combinations"])
    assert all(one["timed"]["speed"]["seconds"] > 0 for one in before["combinations"])
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "mine" / "results").iterdir()}
    assert len(results) == 4  # each made and timed
    assert list((tmp_path / "cache" / "phantom-edge" / "sweep").iterdir()) == []

    more = run(*sweep, "--quant", "int4,int8,fp16", "--no-bench", "--keep", "winner")
    assert (more.returncode, more.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in results} == results
    assert len(list((tmp_path / "mine" / "results").iterdir())) == 5
    command = more.stdout.splitlines()[-1]
    assert command.startswith(
        f"phantom-edge export --model {tiny_dirs['qwen2']} --context 160 --target desktop"
    )
    quant = command.rpartition(" ")[2]
    bundle = Bundle.open(tmp_path / "mine" / "bundles" / f"desktop-{quant}")
    assert bundle.manifest.recipe.name == quant
    page = (tmp_path / "mine" / "report.html").read_text(encoding="utf-8")
    assert "Answers by size" in page
    assert page.count("<svg ") == 2  # nothing was timed this time


def test_ctrl_c_keeps_what_is_finished(place, tiny_dirs, tmp_path):
    sweep = ["-m", "phantom_edge", "sweep", "-m", str(tiny_dirs["qwen2"]), *QUICK, "--no-bench", "-o", "mine"]
    command = [sys.executable, *sweep, "--quant", "int4,int8,fp16,fp32", "--cpus", "1"]
    # A shell that runs the tests in the background has its children ignore an interrupt.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heeding, **place}
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        end = time.monotonic() + 300
        while not list(tmp_path.glob("mine/results/*.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)  # until it is also counted
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    done = len(list(tmp_path.glob("mine/results/*.json")))
    line = f"error: stopped; {done} of 4 combinations are in mine, and the same command goes on from there\n"
    assert err == line


def test_what_cannot_run_anywhere_is_a_failed_combination(run, tiny_dirs):
    done = run(
        "-m", "phantom_edge", "sweep", "-m", tiny_dirs["qwen2"], *QUICK, "--quant", "int4,int8",
        "--memory-gb", "99999", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["ok"], result["front"], result["command"]) == (False, [], None)
    for one in result["combinations"]:
        assert one["error"].startswith("declares 99999.0 GB and 1 CPUs, and the largest node has ")


def test_a_node_that_dies_in_the_middle_costs_no_result(run, tiny_dirs, tmp_path):
    script = ROOT / "tests" / "support" / "sweep_cluster.py"
    done = run(script, "killed", tiny_dirs["qwen2"], "mine")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["killed_at"].startswith("1 of 4 ")
    assert result["ok"], [one["error"] for one in result["combinations"]]
    assert len(result["combinations"]) == 4
    assert all(one["made"] and one["timed"]["speed"] for one in result["combinations"])
    assert result["command"] in {one["command"] for one in result["combinations"]}


def test_a_node_without_phantom_edge_fails_alone(run, tiny_dirs):
    script = ROOT / "tests" / "support" / "sweep_cluster.py"
    done = run(script, "without", tiny_dirs["qwen2"], "mine")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    failed = [one["error"] for one in result["combinations"] if one["error"]]
    assert 1 <= len(failed) < 4
    assert all("phantom-edge does not load there (none here)" in error for error in failed)
    assert not result["ok"]
    assert result["command"]
