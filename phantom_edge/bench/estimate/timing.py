"""Times and memory of one probe model in a runtime, in a process of its own that has imported nothing else.

``python -m phantom_edge.bench.estimate.timing JOB`` prints one JSON line, ``timed`` or ``error``. Jobs come
from :mod:`phantom_edge.bench.estimate.calibrate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from phantom_edge.bench import machine
from phantom_edge.bench.worker import import_libraries
from phantom_edge.bundle.backend import Backend
from phantom_edge.errors import PhantomEdgeError
from phantom_edge.runtime.decoding import NO_LOGITS, embed, forced, generate, prefill
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
        options = {name: job[name] for name in ("context", "chunk", "threads")}
        backend = artifact_format.load(Path(job["folder"]), **options)
        loading = now() - start
        timed = _time(backend, job)
    timed |= {"loading": loading, "libraries": libraries, "peak": machine.peak_memory()}
    return timed | {"others": usage.others, "seconds": round(usage.seconds, 1)}


def _time(backend: Backend, job: Mapping[str, Any]) -> dict[str, Any]:
    chunk, context, now = job["chunk"], job["context"], machine.CLOCKS[job["clock"]]
    rng = np.random.default_rng(0)
    ids = rng.integers(8, job["vocabulary"], (1, context))[0].tolist()

    def filled(length: int) -> Any:
        cache = backend.make_cache()
        prefill(backend, cache, embed(backend, ids[:length]))
        return cache

    decode_seconds, prefill_seconds = {}, {}
    for depth in (0, job["depth"]):
        choices = generate(backend, filled(depth), NO_LOGITS, forced(repeat(ids[0])), now)
        times = [choice.seconds for choice in islice(choices, 1, 1 + job["steps"])]
        decode_seconds[depth] = median(times[WARM:])
    for start in (0, context - chunk):
        times = []
        for _ in range(REPEATS):
            cache = filled(start)
            times.append(_seconds(now, partial(_prefilled, backend, cache, ids[:chunk])))
        prefill_seconds[start] = median(times[1:])
    pixels = rng.random((1, 3, job["tile"], job["tile"]), dtype=np.float32)
    vision = [_seconds(now, lambda: backend.encode_image(pixels)) for _ in range(REPEATS)]
    return {"vision": median(vision[1:]), "decode": decode_seconds, "prefill": prefill_seconds}


def _prefilled(backend: Backend, cache: Any, ids: list[int]) -> None:
    prefill(backend, cache, embed(backend, ids))


def _seconds(now: Callable[[], float], call: Callable[[], object]) -> float:
    start = now()
    call()
    return now() - start


if __name__ == "__main__":
    try:
        print(json.dumps({"timed": measure(json.loads(sys.argv[1]))}), flush=True)
    except PhantomEdgeError as error:
        print(json.dumps({"error": str(error), "code": error.exit_code}), flush=True)
