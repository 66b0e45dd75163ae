"""A few damaged inputs of every kind, the same ones each time: `python -m benchmarks.fuzz` runs thousands."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

import pytest

from benchmarks.fuzz import mutate, workers
from benchmarks.fuzz.corpus import build
from benchmarks.fuzz.kinds import KINDS, available, prepare, warm_up
from benchmarks.fuzz.workers import Outcome, fault_of, outcomes

EACH = 3
SLOW = {".aimodel"}  # every input starts processes of its own


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("corpus"), ("onnx", "coreml", "executorch"))


@pytest.mark.slow
def test_no_damaged_input_breaks_a_promise(corpus):
    warm_up(corpus)
    kinds = [kind for kind in available(corpus) if kind not in SLOW]
    assert set(KINDS) - set(kinds) == SLOW
    jobs = [(kind, seed) for kind in kinds for seed in range(EACH)]
    results = list(outcomes(jobs, partial(prepare, corpus)))
    assert len(results) == len(jobs)
    assert not [(r.fault, r.kind, r.seed, r.text[-300:]) for r in results if r.fault]
    assert {0, 2} <= {r.code for r in results}


def _program(kind: str, seed: int):
    """Inputs that end in every way that must be noticed."""

    def put(work: Path):
        def run() -> int:
            match kind:
                case "hang":
                    time.sleep(60)
                case "abort":
                    os.abort()
                case "memory":
                    taken = b"x" * (workers.BYTES + (50 << 20))
                    time.sleep(60 + len(taken))
                case "traceback":
                    raise ZeroDivisionError
                case "left behind":
                    (work / "half").write_text("x")
                case "2 lines":
                    os.write(2, b"error: a\nb\n")
                    return 2
                case "a long line":
                    os.write(2, b"error: " + b"x" * 400)
                    return 2
                case "error: one line":
                    os.write(2, b"error: one line\n")
                    return 2
            return 0

        return run

    return put


def test_every_fault_is_noticed(monkeypatch):
    monkeypatch.setattr(workers, "SECONDS", 4.0)
    monkeypatch.setattr(workers, "BYTES", 600 << 20)
    kinds = ["right", "hang", "abort", "memory", "traceback", "left behind", "2 lines", "a long line"]
    results = list(outcomes([(kind, 0) for kind in [*kinds, "error: one line", "right"]], _program))
    faults = [r.fault for r in results]
    assert faults[:2] == ["", "hang"]
    assert faults[2] == "died of SIGABRT"
    assert faults[3:8] == kinds[3:]
    assert faults[8:] == ["", ""]


def test_a_seed_names_an_input_for_good():
    data, document = bytes(range(256)), b'{"a": {"b": [1, 2, {"c": "d"}]}, "e": 1.5}'
    for damage in (mutate.damaged_bytes, mutate.damaged_json, mutate.damaged_text, mutate.damaged_lines):
        inputs = [damage(document, random.Random(seed)) for seed in range(50)]
        assert inputs == [damage(document, random.Random(seed)) for seed in range(50)]
        assert len(set(inputs)) > 40
    assert mutate.near_the_start(data, random.Random(0), 16).endswith(data[16:])


def test_a_fault_is_named():
    assert fault_of(2, "error: no such folder", (), 0) == ""
    assert fault_of(2, "error: unexpected KeyError: 'a'", (), 0) == "traceback"
    assert fault_of(2, "warning\nerror: no such folder", (), 0) == "2 lines"
    assert fault_of(2, "no such folder", (), 0) == "no error line"
    assert fault_of(3, "", (), 0) == "exit code 3"
    assert fault_of(0, "", ("x.partial",), 0) == "left behind"
    assert fault_of(0, "", (), 1 << 40) == "memory"
    assert Outcome("k", 0, 0, "", 0.0, 0).fault == ""
