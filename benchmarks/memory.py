"""Where resident memory goes: one artifact after the other, step by step, each in a process of its own.

python -m benchmarks.memory bench/0.5b bench/artifacts/onnx-int4-auto bench/artifacts/executorch-int4-auto
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.worker import CHUNK, SEED, Ours
from phantom_edge.bench.machine import status_bytes
from phantom_edge.system.memory import regions

COLUMNS = ("step", "resident", "of it own", "mapped from the artifact", "peak so far")
DEPTH, STEPS = 2048, 8
Row = tuple[str, ...]


def steps(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """What a process has in memory after each step of a question about a picture, and after the answer."""
    run, folder = Ours(job), Path(job["folder"])
    yield "libraries", {"VmRSS": run.libraries}
    ids = np.random.default_rng(SEED).integers(0, run.vocabulary, DEPTH + STEPS)
    pixels = np.random.default_rng(SEED).random((1, 3, run.tile_size, run.tile_size), dtype=np.float32)
    yield "loaded", _taken(folder)
    run.encode(pixels)
    yield "one tile", _taken(folder)
    run.begin()
    for start in range(0, DEPTH, CHUNK):
        run.extend(ids[start : start + CHUNK])
    yield f"prefill of {DEPTH} tokens", _taken(folder)
    for token in ids[DEPTH:]:
        run.extend(token[None])
    yield "decoding", _taken(folder)
    run.trim()
    for token in ids[:STEPS]:
        run.extend(token[None])
    yield "vision encoder given back, decoding", _taken(folder)


def _taken(folder: Path) -> dict[str, int]:
    below = f"{folder.resolve()}/"
    mapped = sum(region.resident for region in regions() if region.path.startswith(below))
    return {**status_bytes("VmRSS", "RssAnon", "VmHWM"), "mapped": mapped}


def table(job: dict[str, Any]) -> list[Row]:
    """A row of megabytes for each step."""
    keys = ("VmRSS", "RssAnon", "mapped", "VmHWM")
    return [
        (name, *(f"{taken[key] / 1e6:.0f}" if key in taken else "" for key in keys))
        for name, taken in steps(job)
    ]


def main(
    model: Annotated[Path, typer.Argument(help="checkpoint that the artifacts were made from")],
    artifacts: Annotated[list[Path], typer.Argument(help="folders as benchmarks.run names them")],
    threads: int = 2,
) -> None:
    """Print a table in MB for each artifact."""
    for folder in artifacts:
        kind = folder.name.partition("-")[0]
        job = {"model": str(model), "folder": str(folder), "kind": kind, "threads": threads}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows = pool.apply(table, (job,))
        typer.echo(f"\n{folder.name}, MB\n")
        for line in (COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1)), *rows):
            typer.echo(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    typer.run(main)
