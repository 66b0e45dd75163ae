"""ONNX Runtime's settings of a session against its defaults: how threads wait, and how long a chunk is.

    python -m benchmarks.session_settings bench/artifacts/onnx-int4-auto --context 2304

Sessions with each setting take turns, in one process; a decode step behind an empty cache and a prefill of
512 tokens are timed by the clock, because what a waiting thread burns is not what the user waits for. Worth
reading on a machine that does nothing else.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import numpy as np
import typer

from phantom_edge.bench.machine import describe
from phantom_edge.runtime.onnx_backend import sources_of
from phantom_edge.runtime.onnx_graphs import DECODER, OnnxGraphs
from phantom_edge.runtime.onnx_int8 import EXACT_INT8, saturates

PROMPT: Final = 512
STEPS: Final = 24
SPIN: Final = "session.intra_op."
SETTINGS: Final[Mapping[str, tuple[Mapping[str, str], int]]] = {
    "defaults, chunks of 512": ({}, PROMPT),
    "no spinning": ({f"{SPIN}allow_spinning": "0"}, PROMPT),
    "spinning for 100 us": ({f"{SPIN}spin_duration_us": "100"}, PROMPT),
    "spinning for 10 ms": ({f"{SPIN}spin_duration_us": "10000"}, PROMPT),
    "backing off up to 8 pauses": ({f"{SPIN}spin_backoff_max": "8"}, PROMPT),
    "backing off up to 64 pauses": ({f"{SPIN}spin_backoff_max": "64"}, PROMPT),
    "work in smaller blocks": ({"session.dynamic_block_base": "4"}, PROMPT),
    "chunks of 256": ({}, 256),
    "chunks of 128": ({}, 128),
    "chunks of 64": ({}, 64),
}
"""Names, entries of the session's configuration (``onnxruntime_session_options_config_keys.h``), chunk."""


def measure(graphs: OnnxGraphs) -> tuple[float, float]:
    """Milliseconds of a decode step behind an empty cache, a median of a few, and of a prefill."""
    cache, ids = graphs.make_cache(), np.arange(PROMPT)[None]
    start = time.perf_counter()
    for at in range(0, PROMPT, graphs.chunk):
        graphs.decode(graphs.embed(ids[:, at : at + graphs.chunk]), cache)
    prefill = time.perf_counter() - start
    cache, steps = graphs.make_cache(), []
    for token in range(STEPS):
        embedded = graphs.embed(np.array([[token]]))
        start = time.perf_counter()
        graphs.decode(embedded, cache)
        steps.append(time.perf_counter() - start)
    return 1e3 * median(steps[1:]), 1e3 * prefill  # the first step gives memory back


def decoder(bundle: Path, context: int, threads: int, entries: Mapping[str, str], chunk: int) -> OnnxGraphs:
    """The decoder of ``bundle`` with these entries beside the toolkit's own."""
    sources = sources_of(bundle, context, chunk, "stock", (DECODER, "token_embedding"))
    own = {EXACT_INT8: "1"} if saturates() else {}
    return OnnxGraphs(
        bundle, sources, context=context, chunk=chunk, threads=threads, entries={**own, **entries}
    )


def main(
    bundle: Annotated[Path, typer.Argument(help="An ONNX bundle or artifact.")],
    context: Annotated[int, typer.Option(help="Length of the cache.")] = 2048,
    threads: Annotated[int, typer.Option(help="0 for all cores.")] = 0,
    rounds: int = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every sample here.")] = None,
) -> None:
    """Time each setting in turn and print it beside the defaults."""
    threads = threads or describe()["cores"]
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(rounds):
        for name, (entries, chunk) in SETTINGS.items():
            # A session of its own per round: two sessions of one model differ by where their pages lie.
            samples[name].append(measure(decoder(bundle, context, threads, entries, chunk)))
        typer.echo(f"round {number + 1} of {rounds}", err=True)
    defaults = samples[next(iter(SETTINGS))]
    typer.echo(f"{threads} threads; medians in ms, and of their ratios to the defaults within a round")
    for name, rows in samples.items():
        typer.echo(f"{name:<28}" + "".join(_column(rows, defaults, n) for n in (0, 1)))
    if json_file:
        json_file.write_text(json.dumps(samples, indent=1))


def _column(rows: Sequence[tuple[float, float]], defaults: Sequence[tuple[float, float]], n: int) -> str:
    ratios = [mine[n] / theirs[n] for mine, theirs in zip(rows, defaults, strict=True)]
    low, high = min(ratios), max(ratios)
    title = ("decode", "prefill")[n]
    return f"  {title} {median(row[n] for row in rows):8.2f} {median(ratios):5.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    typer.run(main)
