"""A picture that is known against one that is not: time to the first token of a question about it.

    python -m benchmarks.pictures bench/0.5b bench/artifacts/onnx-int4-auto \
        bench/artifacts/executorch-int4-auto

Each artifact runs in a process of its own. A round asks the same question in every way, one after the other,
and the medians of the rounds are shown. Processor seconds are those of all threads until the first token:
they and their ratios within a round mean something on a machine that others use as well.
"""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks.worker import CHUNK, CONTEXT, SEED
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.runtime.known_pictures import KnownPictures
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Session
from phantom_edge.targets import format_for

QUESTION = "What is in the image?"
WAYS = ("without a cache", "unknown, kept", "known, in memory", "known, on disk")
COLUMNS = ("tiles", "picture", "first token, s", "processor s", "against unknown", "MB kept")
GRIDS = {1: (1, 1), 3: (2, 1), 7: (3, 2)}
"""Columns and rows of tiles by their number, which a thumbnail adds to."""
Row = tuple[str, ...]
Seconds = tuple[float, float]  # to the first token, and of processors


class PictureQuestion:
    """One artifact, asked about one picture with a picture cache and without."""

    def __init__(self, job: dict[str, Any], tiles: int, folder: str):
        source = Pretrained.open(job["model"])
        kind = format_for(job["kind"])
        self.backend = kind.load(Path(job["folder"]), context=CONTEXT, chunk=CHUNK, threads=job["threads"])
        self.spec, self.tokenizer = PromptSpec.of_source(source, folded=True), source.tokenizer
        self.folder = folder
        columns, rows = GRIDS[tiles]
        side = self.spec.tile_size
        noise = np.random.default_rng(SEED).integers(0, 256, (rows * side, columns * side, 3), dtype=np.uint8)
        self.picture = Image.fromarray(noise)

    def ask(self, cache: PictureCache | None, expected: str = "") -> Seconds:
        """Seconds of a question in a new chat; ``expected`` is where the picture must be known from."""
        known = None if cache is None else KnownPictures(cache, self.backend, "benchmark")
        session = Session(self.backend, self.tokenizer, self.spec, pictures=known)
        chat, before = session.chat(self.picture), time.process_time()
        list(chat.ask(QUESTION, max_tokens=1))
        assert chat.timing.picture == expected
        return chat.timing.first_token, time.process_time() - before

    def round(self) -> dict[str, Seconds]:
        """Every way once, the unknown picture before the known."""
        cache = PictureCache(folder=self.folder)
        cache.clear()
        calls: dict[str, Callable[[], Seconds]] = {
            WAYS[0]: lambda: self.ask(None),
            WAYS[1]: lambda: self.ask(cache),
            WAYS[2]: lambda: self.ask(cache, "memory"),
            WAYS[3]: lambda: self.ask(PictureCache(folder=self.folder), "disk"),
        }
        seconds = {}
        for way, call in calls.items():
            gc.collect()
            seconds[way] = call()
        return seconds


def table(job: dict[str, Any]) -> list[Row]:
    """A row for each number of tiles and way."""
    rows: list[Row] = []
    for tiles in job["tiles"]:
        with tempfile.TemporaryDirectory() as folder:
            timed = PictureQuestion(job, tiles, folder)
            timed.round()  # threads, pages, first allocations
            rounds = [timed.round() for _ in range(job["rounds"])]
            kept = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
        for way in WAYS:
            first, processor = (median(one[way][n] for one in rounds) for n in (0, 1))
            ratio = median(one[way][1] / one[WAYS[1]][1] for one in rounds)
            size = f"{kept / 1e6:.1f}" if way == WAYS[1] else ""
            rows.append((str(tiles), way, f"{first:.3f}", f"{processor:.3f}", f"{ratio:.3f}", size))
    return rows


def main(
    model: Annotated[Path, typer.Argument(help="checkpoint that the artifacts were made from")],
    artifacts: Annotated[list[Path], typer.Argument(help="folders as benchmarks.run names them")],
    threads: int = 2,
    rounds: int = 5,
    tiles: Annotated[list[int], typer.Option(help="1, 3 or 7; repeatable")] = [1, 3],  # noqa: B006
) -> None:
    """Print a table for each artifact."""
    for folder in artifacts:
        kind = folder.name.partition("-")[0]
        job = {"model": str(model), "folder": str(folder), "kind": kind, "threads": threads}
        job |= {"rounds": rounds, "tiles": tiles}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows = pool.apply(table, (job,))
        typer.echo(f"\n{folder.name}\n")
        for line in (COLUMNS, ("--:", "---", *["--:"] * (len(COLUMNS) - 2)), *rows):
            typer.echo(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    typer.run(main)
