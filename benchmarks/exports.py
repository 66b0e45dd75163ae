"""What an export takes: seconds, processor seconds and peak memory, step by step, of any size in any format.

    python -m benchmarks.exports bench --size 0.5b --formats onnx,executorch,coreml
    python -m benchmarks.exports bench --size 7b --formats onnx --layers 2,4

With ``--layers A,B`` two shortened checkpoints of the size are exported, and what a layer takes is carried on
to all of them: for sizes that this machine's disk or patience does not hold. Every export runs in a process
of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.contenders import RECIPE
from benchmarks.make_checkpoint import make_checkpoint
from benchmarks.sizes import published
from phantom_edge.bench.machine import describe
from phantom_edge.errors import CheckError, InputError, PhantomEdgeError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Taken:
    """One export, and its verification where that was asked for (zeros where not).

    ``layers`` is that of decoder and vision encoder, or None for all; ``files`` counts the bundle's bytes.
    """

    size: str
    format: str
    layers: int | None
    seconds: float
    cpu_seconds: float
    peak: float
    files: float
    verify_seconds: float = 0.0
    verify_cpu_seconds: float = 0.0
    verify_peak: float = 0.0


def carried_on(few: Taken, more: Taken, layers: int) -> Taken:
    """Both lengthened to ``layers``, every layer costing what those between the two cost."""

    def line(a: float, b: float) -> float:
        return a + (b - a) * (layers - few.layers) / (more.layers - few.layers)

    names = [field.name for field in fields(Taken) if field.type == "float"]
    values = {name: line(getattr(few, name), getattr(more, name)) for name in names}
    return Taken(few.size, few.format, layers, **values)


def table(taken: Sequence[Taken]) -> str:
    """As Markdown."""
    rows = [
        f"| {t.size} | {t.format} | {t.layers or 'all'} | {t.seconds:.0f} | {t.cpu_seconds:.0f} | "
        f"{t.peak / 1e9:.2f} "
        f"| {t.files / 1e6:.0f} | {_verified(t)} |"
        for t in taken
    ]
    head = "| size | format | layers | s | processor s | peak, GB | bundle, MB "
    head += "| verified in s | processor s | peak, GB |"
    return "\n".join([head, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|", *rows])


def _verified(t: Taken) -> str:
    if not t.verify_seconds:
        return "- | - | -"
    return f"{t.verify_seconds:.0f} | {t.verify_cpu_seconds:.0f} | {t.verify_peak / 1e9:.2f}"


def main(
    work: Annotated[Path, typer.Argument(help="checkpoints are kept here; bundles are not kept")],
    size: str = "0.5b",
    formats: str = "onnx,executorch,coreml",
    layers: Annotated[str, typer.Option(help="A,B: two shortened checkpoints instead of the whole one")] = "",
    fold: str = "exact",
    verify: Annotated[
        bool, typer.Option(help="verify each bundle too, with one picture of one tile")
    ] = False,
    keep: Annotated[bool, typer.Option(help="keep the shortened checkpoints")] = False,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Export, and print what it took."""
    try:
        wanted = [int(n) for n in layers.split(",")] if layers else [None]
        if len(wanted) not in (1, 2) or (len(wanted) == 2 and not 0 < wanted[0] < wanted[1]):
            raise InputError(f"--layers {layers}: give two numbers of layers, such as 2,4")
        taken = _all(work, size, formats.split(","), wanted, fold, verify, keep)
    except PhantomEdgeError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(error.exit_code) from None
    print(", ".join(f"{name} {value}" for name, value in describe().items()) + "\n")
    print(table(taken))
    if json_file:
        json_file.write_text(json.dumps([vars(t) for t in taken], indent=1))


def _all(
    work: Path, size: str, formats: list[str], wanted: list, fold: str, verify: bool, keep: bool
) -> list[Taken]:
    found: dict[str, list[Taken]] = {name: [] for name in formats}
    for count in wanted:
        checkpoint = work / (size if count is None else f"{size}-{count}-layers")
        if not (checkpoint / "config.json").exists():
            typer.echo(f"writing {checkpoint.name} …", err=True)
            make_checkpoint(checkpoint, published(size, count))
        for name in formats:
            typer.echo(f"exporting {checkpoint.name} to {name} …", err=True)
            found[name].append(_one(work, checkpoint, size, name, count, fold, verify))
        if count is not None and not keep:
            shutil.rmtree(checkpoint)
    for taken in found.values():
        if len(taken) == 2:
            taken.append(carried_on(*taken, published(size).layers))
    return [t for taken in found.values() for t in taken]


def _one(
    work: Path, checkpoint: Path, size: str, name: str, count: int | None, fold: str, verify: bool
) -> Taken:
    folder = work / f"export-{checkpoint.name}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    job = {"kind": name, "model": str(checkpoint), "folder": str(folder), "fold": fold}
    try:
        facts = _worker({**job, "do": "export", "recipe": RECIPE, "threads": None, "whole": True})
        for seconds, cpu, peak, text in facts["steps"]:
            typer.echo(f"  {seconds:8.1f} s {cpu:8.1f} s {peak / 1e9:6.2f} GB  {text}", err=True)
        taken = Taken(size, name, count, facts["value"], facts["cpu_seconds"], facts["peak"], facts["files"])
        if not verify:
            return taken
        typer.echo(f"verifying {checkpoint.name} in {name} …", err=True)
        report = _worker({**job, "do": "verify"})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    typer.echo(f"  {json.dumps(report['checks'])}", err=True)
    if report["failures"]:
        raise CheckError(f"{checkpoint.name} in {name}: verification failed: {', '.join(report['failures'])}")
    took = {"verify_seconds": report["value"], "verify_cpu_seconds": report["cpu_seconds"]}
    return replace(taken, **took, verify_peak=report["peak"])


def _worker(job: dict) -> dict:
    """The result of one job in a process of its own. Raises :class:`CheckError` with its last line."""
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CheckError(f"{job['model']} to {job['kind']}: {job['do']} failed: {last}")
    (result,) = json.loads(done.stdout.strip().splitlines()[-1])["results"]
    return result


if __name__ == "__main__":
    typer.run(main)
