"""The benchmark of a native library under test: its folder and server, and whether its lines are what Python
reads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from native_server import LiveServer

from phantom_edge.bench import protocol
from phantom_edge.bench.results import Run
from phantom_edge.bench.runs import conclude, merge, model_facts
from phantom_edge.bench.settings import Settings
from phantom_edge.bench.worker import work
from phantom_edge.bundle.folder import Bundle
from phantom_edge.runtime.session import Session

FOLDER, JOB = "bench", "job.json"
# 1000 is beyond the small bundle's context: the device has to leave it out.
SETTINGS = Settings(processes=1, repeats=2, warmup=1, steps=3, depths=(9, 0, 1000), soak=0.002)
JOULES = 10_000e-6 * 3600 * 4.0  # what leaves the battery of the tests' device while it soaks


def job() -> dict[str, Any]:
    """What the drivers write for the only process of several."""
    return {"settings": SETTINGS.to_dict(), "check": True, "soak": True}


@contextmanager
def bench_server(session: Session, folder: Path) -> Iterator[LiveServer]:
    """``bench/bundle`` below ``folder`` with a job in it, and the session's backend at the pipes in
    ``bench``.
    """
    below = folder / FOLDER
    below.mkdir()
    shutil.copytree(folder / "bundle", below / "bundle")
    (below / "bundle" / JOB).write_text(json.dumps(job()))
    with LiveServer(session, below) as server:
        yield server


def assert_the_lines_are_those_of_local(folder: Path, threads: int | None = None) -> None:
    """The native run, read by the drivers' own reader, beside the same bundle measured by ``--device
    local``.
    """
    bundle, steps = Bundle.open(folder / "bundle"), []
    native = _complete(
        bundle, protocol.read((folder / FOLDER / "lines.jsonl").open(encoding="utf-8"), steps.append)
    )
    local_steps: list[str] = []
    settings = {
        **SETTINGS.to_dict(),
        "threads": threads,
        "depths": list(SETTINGS.fitting(bundle.manifest.context)),
    }
    local_job = {**job(), "settings": settings, "model": str(bundle.folder), "image": None, "tile_size": None}
    local = _complete(bundle, work(local_job, local_steps.append))
    energy = native.samples.pop("energy")
    local.samples.pop("energy", None)  # where this machine has a counter
    assert local.samples.pop("resident")  # a device reports its peak alone
    local.samples.pop("resident_trimmed", None)  # where the runtime gives the vision encoder back
    assert native.keys == local.keys
    assert {"first_token", "prefill_rate", "decode@0", "decode@9", "load", "memory", "libraries"} <= set(
        native.keys
    )
    assert {key: len(values) for key, values in native.samples.items()} == {
        key: len(values) for key, values in local.samples.items()
    }
    assert native.missing.keys() == local.missing.keys() - {"energy"}
    assert native.model == local.model
    assert native.runtime == {"threads": "the runtime's choice", "version": 'a "quoted" one'}
    assert [s for s in steps if "soaking" not in s] == [s for s in local_steps if "soaking" not in s]
    assert native.summary("first_token").median > native.summary("vision").median > 0
    for whole, *parts in zip(
        *(native.samples[k] for k in ("first_token", "preprocess", "vision", "prefill")), strict=True
    ):
        assert whole == pytest.approx(sum(parts))
    # One token of the soak follows another: as many as its curve says left the battery's charge.
    assert len(energy) == 1
    assert JOULES / energy[0] == pytest.approx(round(JOULES / energy[0]))
    assert native.curves["temperature"][-1][1] == 31.5
    golden = native.conditions["golden"]
    assert golden.pop("tokens") == local.conditions["golden"].pop("tokens")
    assert golden == pytest.approx(local.conditions["golden"], abs=1e-4)


def _complete(bundle: Bundle, part: Run | None) -> Run:
    """A process's part as the drivers merge it."""
    assert part is not None, "no run among the lines"
    run = Run({}, {}, model_facts(bundle), SETTINGS.to_dict())
    run.add("bundle", bundle.bytes)
    merge(run, part)
    return conclude(run, SETTINGS)
