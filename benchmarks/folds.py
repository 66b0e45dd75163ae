"""What the phantom dimension costs: folds of one decoder side by side, step by step, in one process.

    python -m benchmarks.folds bench --formats onnx,executorch

Every step of decoding is taken by each fold in turn, and what counts is the median of the ratios within the
steps. With one thread the processor's time is read, of which other processes take nothing; only the caches
are shared with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from benchmarks.contenders import FOLDS, RECIPE, artifact
from benchmarks.make_checkpoint import make_checkpoint
from benchmarks.sizes import published
from benchmarks.worker import CHUNK, EXPORT_FACTS, SEED, WARM_STEPS, Ours, export
from phantom_edge.bench.machine import CLOCKS, describe, watched

BASE = "off"


@dataclass(frozen=True)
class Cost:
    """One fold at one depth: the median step in seconds, and how much longer it is than a step without
    phantom.
    """

    format: str
    fold: str
    cached: int
    seconds: float
    cost: float


def interleaved(runs: Mapping[str, Ours], cached: int, steps: int, clock) -> dict[str, list[float]]:
    """Seconds of every step of decoding behind ``cached`` tokens, by fold."""
    rng = np.random.default_rng(SEED)
    for run in runs.values():
        run.begin()
        for start in range(0, cached, CHUNK):
            run.extend(rng.integers(0, run.vocabulary, min(CHUNK, cached - start)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARM_STEPS + steps):
        for name, run in runs.items():
            token = rng.integers(0, run.vocabulary, 1)
            start = clock()
            run.extend(token)
            times[name].append(clock() - start)
    return {name: values[WARM_STEPS:] for name, values in times.items()}


def costs(kind: str, cached: int, times: Mapping[str, Sequence[float]]) -> list[Cost]:
    """Each fold's median step, and the median over the steps of its ratio to the step without phantom."""
    return [
        Cost(
            kind, fold, cached, median(own), median(a / b for a, b in zip(own, times[BASE], strict=True)) - 1
        )
        for fold, own in times.items()
    ]


def table(found: Sequence[Cost]) -> str:
    """As Markdown."""
    rows = [
        f"| {c.format} | {c.cached} | {c.fold} | {c.seconds * 1e3:.1f} | "
        f"{'' if c.fold == BASE else f'{c.cost:+.1%}'} |"
        for c in found
    ]
    head = ["| format | tokens cached | fold | ms per token | against no phantom |", "|---|--:|---|--:|--:|"]
    return "\n".join(head + rows)


def main(
    work: Annotated[
        Path, typer.Argument(help="checkpoint and artifacts are kept here, as benchmarks.run keeps them")
    ],
    size: str = "0.5b",
    formats: str = "onnx,executorch",
    folds: str = ",".join(FOLDS),
    depth: int = 2048,
    steps: int = 32,
    threads: Annotated[int, typer.Option(help="1 reads the processor's time, more the wall's")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measure and print the table."""
    checkpoint = work / size
    if not (checkpoint / "config.json").exists():
        make_checkpoint(checkpoint, published(size))
    clock = CLOCKS["processor" if threads == 1 else "wall"]
    found: list[Cost] = []
    with watched() as usage:
        for kind in formats.split(","):
            runs = {fold: _load(work, checkpoint, kind, fold, threads) for fold in folds.split(",")}
            for cached in (0, depth):
                found += costs(kind, cached, interleaved(runs, cached, steps, clock))
            del runs
    print(", ".join(f"{name} {value}" for name, value in describe().items()))
    print(
        f"{threads} thread(s), {'processor' if threads == 1 else 'wall'} time, others used "
        f"{usage.others:.0%}\n"
    )
    print(table(found))
    if json_file:
        json_file.write_text(json.dumps([vars(cost) for cost in found], indent=1))


def _load(work: Path, checkpoint: Path, kind: str, fold: str, threads: int) -> Ours:
    folder = work / "artifacts" / artifact(kind, fold)
    job = {"kind": kind, "fold": fold, "recipe": RECIPE, "model": str(checkpoint), "folder": str(folder)}
    if not (folder / EXPORT_FACTS).exists():
        typer.echo(f"exporting {folder.name} …", err=True)
        list(export(job))
    return Ours(job | {"threads": threads})


if __name__ == "__main__":
    typer.run(main)
