"""Times and memory of one probe model in a runtime, in a process of its own that has imported nothing else.

``python -m phantom_edge.bench.estimate.timing JOB`` prints one JSON line, ``timed`` or ``error``. Jobs come
from :mod:`phantom_edge.bench.estimate.calibrate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from phantom_edge.bench import machine
from phantom_edge.bench.worker import import_libraries
from phantom_edge.errors import PhantomEdgeError
from phantom_edge.targets import format_for

WARM, REPEATS = 4, 5


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load and time the model in ``job["folder"]``.

    Returns seconds of a tile (``vision``), of ``decode`` and ``prefill`` by cached tokens and of ``loading``;
    bytes of the ``libraries`` and at the ``peak``; the share of the cores that ``others`` used.
    """
    artifact_format = format_for(job["format"])
    import_libraries(artifact_format.name)
    now = machine.CLOCKS[job["clock"]]
    libraries, start = machine.peak_memory(), now()
    with machine.watched() as usage:
        backend = artifact_format.load(
            Path(job["folder"]), context=job["context"], chunk=job["chunk"], threads=job["threads"]
        )
        loading = now() - start
        found = _time(backend, job)
    found |= {"loading": loading, "libraries": libraries, "peak": machine.peak_memory()}
    return found | {"others": usage.others, "seconds": round(usage.seconds, 1)}


def _time(backend: Any, job: Mapping[str, Any]) -> dict[str, Any]:
    chunk, context, now = job["chunk"], job["context"], machine.CLOCKS[job["clock"]]
    rng = np.random.default_rng(0)
    ids = rng.integers(8, job["vocabulary"], (1, context))

    def filled(length: int) -> Any:
        cache = backend.make_cache()
        for at in range(0, length, chunk):
            backend.decode(backend.embed(ids[:, at : min(length, at + chunk)]), cache)
        return cache

    decode, prefill = {}, {}
    for depth in (0, job["depth"]):
        cache = filled(depth)
        times = [
            _seconds(now, lambda c=cache: backend.decode(backend.embed(ids[:, :1]), c))
            for _ in range(job["steps"])
        ]
        decode[depth] = median(times[WARM:])
    for start in (0, context - chunk):
        times = []
        for _ in range(REPEATS):
            cache = filled(start)
            times.append(_seconds(now, lambda c=cache: backend.decode(backend.embed(ids[:, :chunk]), c)))
        prefill[start] = median(times[1:])
    pixels = rng.random((1, 3, job["tile"], job["tile"]), dtype=np.float32)
    vision = [_seconds(now, lambda: backend.encode_image(pixels)) for _ in range(REPEATS)]
    return {"vision": median(vision[1:]), "decode": decode, "prefill": prefill}


def _seconds(now: Callable[[], float], call: Callable[[], object]) -> float:
    start = now()
    call()
    return now() - start


if __name__ == "__main__":
    try:
        print(json.dumps({"timed": measure(json.loads(sys.argv[1]))}), flush=True)
    except PhantomEdgeError as error:
        print(json.dumps({"error": str(error), "code": error.exit_code}), flush=True)
