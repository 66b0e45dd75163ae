"""All rows of the comparison in one run: interleaved rounds, medians, ratios, a roofline, a table and a plot.

python -m benchmarks.run --size 0.5b --peers llama-bench=PATH,llama-mtmd-cli=PATH --gguf DIR --json out.json
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import llama, tables
from benchmarks.contenders import EXPORT_ONLY, RECIPE, Contender, llama_peers, ours, parse_peers, torch_peers
from benchmarks.make_checkpoint import make_checkpoint
from benchmarks.sizes import published
from benchmarks.stats import Sample
from benchmarks.worker import EXPORT_FACTS
from phantom_edge.bench import machine
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.errors import CheckError, PhantomEdgeError
from phantom_edge.versions import installed

LIBRARIES = ("torch", "executorch", "onnxruntime", "transformers")
ROOT = Path(__file__).resolve().parents[1]
STREAM_BYTES = 512 << 20  # far beyond any cache
STREAM_ROUNDS = 7
TILE_SIZES = (448, 336, 224)
"""Sides of tiles that a model cut to a preset is also timed with."""


def load() -> str:
    """The load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{n:.2f}" for n in os.getloadavg())


def read_bandwidth(threads: int) -> float:
    """Bytes per second at which ``threads`` threads sum a large array: the ceiling of reading weights."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        data, best = torch.ones(STREAM_BYTES // 4), float("inf")
        for _ in range(STREAM_ROUNDS):
            start = time.perf_counter()
            data.sum()
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return STREAM_BYTES / best


@dataclass(frozen=True)
class Settings:
    """What is measured. ``depth`` is the number of cached tokens of the deep decode, ``steps`` its length."""

    size: str
    work: Path
    rounds: int = 3
    threads: int = 2
    prefill: int = 512
    depth: int = 2048
    steps: int = 32
    repeats: int = 3
    vocab: str | None = None


@dataclass
class Measured:
    """Samples by contender and metric, and what is known of each contender without running it."""

    samples: dict[str, dict[str, list[Sample]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, number: int, noisy: bool, result: dict) -> None:
        """Record one result of one round."""
        sample = Sample(float(result["value"]), number, noisy, result.get("setting", ""))
        self.samples[name][result["metric"]].append(sample)
        if "libraries" in result:
            self.facts[name]["libraries"] = result["libraries"]


class Bench:
    """One run: prepares what is missing, then measures round by round."""

    def __init__(
        self,
        settings: Settings,
        peers: dict[str, Path],
        gguf: Path | None,
        kinds: set[str],
        console,
        matching: str,
    ):
        self.settings, self.peers, self.console = settings, peers, console
        self.checkpoint = settings.work / settings.size
        if not (self.checkpoint / "config.json").exists():
            self._say(f"writing a random checkpoint of size {settings.size}")
            make_checkpoint(self.checkpoint, published(settings.size))
        config = PhantomConfig.from_file(self.checkpoint / "config.json")
        tiles = tuple(size for size in TILE_SIZES if size <= config.tile_size)
        artifacts = ours(settings.work / "artifacts", vocab=settings.vocab, tile_sizes=tiles)
        everyone = [*artifacts, *torch_peers(config)]
        everyone += llama_peers(peers, gguf or settings.work / "gguf", config)
        of_kind = [c for c in everyone if not kinds or c.kind in kinds]
        self.contenders = [c for c in of_kind if re.search(matching, c.name)]
        self.gguf = gguf or settings.work / "gguf"
        self.measured = Measured()

    def prepare(self) -> None:
        """Export what is not there yet; facts of exports made earlier are read from beside them."""
        for contender in self.contenders:
            facts = dict(contender.facts or {})
            if contender.folder is not None and contender.kind != "llama":
                path = contender.folder / EXPORT_FACTS
                if not path.exists():
                    self._say(f"exporting {contender.name}")
                    self._work(contender, "export", recipe=RECIPE)
                facts = json.loads(path.read_text())
            self.measured.facts[contender.name] = facts

    def run(self) -> None:
        """Measure every contender once per round, in turn, each in a fresh process."""
        for number in range(self.settings.rounds):
            for contender in self.contenders:
                self._say(f"round {number + 1} of {self.settings.rounds}: {contender.name}")
                try:
                    with machine.watched() as usage:
                        results = list(self._measure(contender))
                except CheckError as error:
                    self.measured.failures[contender.name] = str(error)
                    continue
                for result in results:
                    self.measured.add(contender.name, number, usage.noisy, result)

    def _measure(self, contender: Contender) -> Iterator[dict]:
        s = self.settings
        if contender.kind in EXPORT_ONLY:
            return
        if contender.kind != "llama":
            yield from self._work(contender, "decoder", prefill=s.prefill, depth=s.depth, steps=s.steps)
            yield from self._work(contender, "tile", repeats=s.repeats)
            return
        program, model = self.peers["llama-bench"], contender.folder
        yield from llama.bench(
            program, model, threads=s.threads, prefill=s.prefill, steps=s.steps, depth=s.depth
        )
        if "llama-mtmd-cli" in self.peers:
            for encoder in llama.encoders(self.gguf):
                yield from llama.encode(
                    self.peers["llama-mtmd-cli"], model, encoder, self._image(), threads=s.threads
                )

    def _work(self, contender: Contender, job: str, **arguments) -> list[dict]:
        request = {
            "do": job,
            "kind": contender.kind,
            "model": str(self.checkpoint),
            "threads": self.settings.threads,
        }
        request |= {
            "folder": str(contender.folder),
            "fold": contender.fold,
            "kv_cache": contender.kv_cache,
            "rules": contender.rules,
            "vocab": contender.vocab,
            "tile_sizes": contender.tile_sizes,
            **arguments,
        }
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(request)]
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise CheckError(f"{contender.name}: {job} failed: {last}")
        return json.loads(done.stdout.strip().splitlines()[-1])["results"]

    def _image(self) -> Path:
        path = self.settings.work / "tile.png"
        if not path.exists():
            import numpy as np
            from PIL import Image

            Image.fromarray(np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)).save(
                path
            )
        return path

    def _say(self, text: str) -> None:
        self.console.print(f"{text} …", highlight=False, markup=False)


def benchmark(bench: Bench) -> dict[str, Any]:
    """Prepare and run everything; the result is plain data for :mod:`benchmarks.tables`."""
    settings = bench.settings
    facts = machine.describe() | {"read bandwidth, GB/s": round(read_bandwidth(settings.threads) / 1e9, 1)}
    bench.prepare()
    with machine.watched() as usage:
        before = load()
        bench.run()
    facts["read bandwidth after, GB/s"] = round(read_bandwidth(settings.threads) / 1e9, 1)
    measured = bench.measured
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {k: v for k, v in asdict(settings).items() if not isinstance(v, Path)},
        "versions": installed(*LIBRARIES),
        "machine": facts | {"load before": before, "load after": load()},
        "others": usage.others,
        "noisy": usage.noisy,
        "contenders": [{"name": c.name, "kind": c.kind, "fold": c.fold} for c in bench.contenders],
        "facts": measured.facts,
        "samples": {
            name: {metric: [asdict(s) for s in samples] for metric, samples in metrics.items()}
            for name, metrics in measured.samples.items()
        },
        "failures": measured.failures,
    }


def main(
    size: Annotated[str, typer.Option(help="0.5b, 1.8b, 3.8b or 7b")] = "0.5b",
    work: Annotated[Path, typer.Option(help="checkpoints, artifacts and GGUF files are kept here")] = Path(
        "bench"
    ),
    peers: Annotated[str, typer.Option(help="llama-bench=PATH,llama-mtmd-cli=PATH")] = "",
    gguf: Annotated[Path | None, typer.Option(help="folder of the GGUF files; default: WORK/gguf")] = None,
    only: Annotated[
        str, typer.Option(help="onnx, executorch, torch, llama: those kinds, separated by commas")
    ] = "",
    vocab: Annotated[
        str | None, typer.Option(help="also ours cut to this preset; WORK/SIZE needs a true tokenizer")
    ] = None,
    matching: Annotated[str, typer.Option(help="only contenders whose name this pattern matches")] = "",
    rounds: int = 3,
    threads: Annotated[int, typer.Option(help="of every contender; 0 for all cores")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write every sample here")] = None,
    show: Annotated[
        Path | None, typer.Option(help="show the samples of an earlier run; nothing is measured")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write tables and plots as one page here")] = None,
    markdown: Annotated[bool, typer.Option(help="print the table as Markdown too")] = False,
) -> None:
    """Measure ours against the peers that are present, side by side."""
    from rich.console import Console

    if show is not None:
        result = json.loads(show.read_text())
    else:
        threads = threads or machine.describe()["cores"]
        try:
            settings, kinds = (
                Settings(size, work.resolve(), rounds, threads, vocab=vocab),
                set(filter(None, only.split(","))),
            )
            bench = Bench(settings, parse_peers(peers), gguf, kinds, Console(stderr=True), matching)
            result = benchmark(bench)
        except PhantomEdgeError as error:
            typer.secho(f"error: {error}", err=True, fg="red")
            raise typer.Exit(error.exit_code) from None
    if json_file:
        json_file.write_text(json.dumps(result, indent=1))
    report = tables.report(result)
    if html:
        html.write_text(report.to_html(), encoding="utf-8")
    report.print(Console())
    if markdown:
        typer.echo(tables.markdown(result))


if __name__ == "__main__":
    typer.run(main)
