"""Rates of this machine in a runtime, from a few probe models that run in it in half a minute."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bench import machine, protocol
from phantom_edge.bench.estimate.count import Model, Work
from phantom_edge.bench.estimate.probes import CHUNK, CONTEXT, Probe, probes
from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.bench.estimate.timing import WARM
from phantom_edge.errors import CheckError, InputError
from phantom_edge.numbers.recipe import Precision
from phantom_edge.progress import Step
from phantom_edge.system.children import run
from phantom_edge.system.partials import temporary_folder
from phantom_edge.targets import format_for

DEPTH = 1000  # cached tokens at which decoding is timed again
STEPS = 24
ANY = 1e30  # a rate so high that it takes no time
FORMATS = ("onnx", "executorch")
NO_COREML = (
    "Core ML runs in an interpreter on this machine, so there is nothing to estimate; "
    "use a device of the table (`phantom-edge estimate --list`)"
)


@dataclass(frozen=True)
class Timed:
    """One probe: seconds of a tile, of a step and a chunk by cached tokens, of loading; and bytes."""

    vision: float
    decode: dict[int, float]
    prefill: dict[int, float]
    loading: float = 0.0
    libraries: int = 0
    peak: int = 0
    stored: int = 0


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    ``memory`` peak bytes per stored byte, ``fixed`` bytes beyond it and the cache, libraries among them;
    ``load`` seconds of loading per stored byte of weights and per operation.
    """

    rates: Rates
    memory: float
    fixed: float
    load: tuple[float, float]
    facts: dict[str, Any] = field(default_factory=dict)


def calibrate(
    format_name: str, kinds: Mapping[str, str], threads: int | None, step: Step, clock: str = "wall"
) -> Calibration:
    """Write the probes, time each in a fresh process, and solve for the rates.

    ``kinds`` are the precisions of ``layers``, ``head`` and ``vision``; ``clock`` as in
    :class:`~phantom_edge.bench.settings.Settings`. Raises :class:`InputError` for a format that
    does not run here as it runs on a device.
    """
    if format_name not in FORMATS:
        raise InputError(NO_COREML)
    chosen = probes(*(Precision.parse(kinds[part]) for part in ("layers", "head", "vision")))
    timed, others, seconds = {}, [], 0.0
    with temporary_folder() as folder:
        for probe in chosen:
            place = folder / probe.name
            step(f"calibrating: writing the {probe.name} model")
            probe.write(format_for(format_name), place, lambda _: None)
        for probe in chosen:
            step(f"calibrating: timing the {probe.name} model")
            place = folder / probe.name
            timing = _process(_job(probe, format_name, place, threads, clock))
            others.append(timing.pop("others") or 0.0)
            seconds += timing.pop("seconds")
            for part in ("decode", "prefill"):  # JSON has made their keys texts
                timing[part] = {int(k): v for k, v in timing[part].items()}
            stored = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            timed[probe.name] = Timed(**timing, stored=stored)
    models = {probe.name: probe.model(format_name) for probe in chosen}
    facts = {"others": max(others), "seconds": round(seconds, 1), "threads": threads or machine.cores()}
    return Calibration(solve(models, timed), *memory(models, timed), loading(models, timed), facts)


def memory(models: Mapping[str, Model], timed: Mapping[str, Timed]) -> tuple[float, float]:
    """Peak bytes per stored byte, from two probes of like activations; and the rest of the large one's."""
    peaks = {name: t.peak - models[name].cache_bytes(CONTEXT) for name, t in timed.items()}
    more = timed["headed"].stored - timed["thin"].stored
    share = max(1.0, (peaks["headed"] - peaks["thin"]) / more) if more > 0 else 1.0
    return share, max(0.0, peaks["large"] - share * timed["large"].stored)


def loading(models: Mapping[str, Model], timed: Mapping[str, Timed]) -> tuple[float, float]:
    """Seconds of loading per stored byte and per operation, by least squares of the relative errors."""
    rows = [
        (models[name].stored_bytes() / max(t.loading, 1e-9), models[name].operations() / max(t.loading, 1e-9))
        for name, t in timed.items()
    ]
    per_byte, per_operation = nonnegative(np.array(rows, float), np.ones(len(rows)))
    return float(per_byte), float(per_operation)


def _job(probe: Probe, format_name: str, folder: Path, threads: int | None, clock: str) -> dict[str, Any]:
    sizes = {"vocabulary": probe.sizes.vocabulary, "tile": probe.sizes.image_size}
    lengths = {"context": CONTEXT, "chunk": CHUNK, "depth": DEPTH, "steps": WARM + STEPS}
    options = {"format": format_name, "folder": str(folder), "threads": threads, "clock": clock}
    return {**options, **sizes, **lengths}


def _process(job: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "phantom_edge.bench.estimate.timing", json.dumps(job)]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = run(command, env=environment)
    for line in map(protocol.parsed, done.stdout.splitlines()):
        if "timed" in line:
            return dict(line["timed"])
        if "error" in line:
            raise (InputError if line["code"] == InputError.exit_code else CheckError)(line["error"])
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    raise CheckError(f"the calibration ended early: {last}")


def solve(models: Mapping[str, Model], timed: Mapping[str, Timed]) -> Rates:
    """Rates that explain the probes' times.

    One token at a time, by differences: what the large model reads more than the thin one gives the reading
    of weights, what is left the time per operation; then a deep cache the decoder's attention, and the headed
    model the reading of the head. Many tokens at a time, by least squares of the relative errors without
    negative rates: products and attention of the decoder from prefills at two depths, of the vision encoder
    from two sizes of picture. Everything else that many tokens cost (norms, activations, the phantom
    dimension's small products) is part of the products' rate: it grows with them, and apart from them it is
    too small to stand out from noise.
    """
    large, thin, headed = models["large"], models["thin"], models["headed"]
    empty, deep, little = large.decoder(1, 0), large.decoder(1, DEPTH), thin.decoder(1, 0)
    kind, (slow, fast) = empty.main, (timed[n].decode[0] for n in ("large", "thin"))
    read = {kind: _rate(empty.weights[kind] - little.weights[kind], slow - fast)}
    # Never nothing: an operation takes at least a tenth of what it would if reading were free.
    call = max(fast - little.weights[kind] / read[kind], 0.1 * fast) / _calls(thin)
    longer = timed["large"].decode[DEPTH] - timed["large"].decode[0]
    attend_one = _rate(deep.attention - empty.attention, longer)
    work = headed.decoder(1, 0)
    head = work.main
    if head not in read:
        known = call * _calls(headed) + work.weights[kind] / read[kind]
        read[head] = _rate(work.weights[head], timed["headed"].decode[0] - known)
    prefills = [(large.decoder(CHUNK, at), seconds) for at, seconds in timed["large"].prefill.items()]
    multiply, attend_many = _fitted(prefills, call)
    images = [(models[n].vision(), timed[n].vision) for n in ("large", "thin")]
    multiply_image, attend_image = _fitted(images, call)
    return Rates(
        read=_every(read),
        multiply=_every({kind: multiply}),
        multiply_image=_every({images[0][0].main: multiply_image}),
        attend_one=attend_one,
        attend_many=attend_many,
        attend_image=attend_image,
        cache=ANY,
        write=ANY,
        write_image=ANY,
        call=call,
    )


def _every(rates: dict[str, float]) -> dict[str, float]:
    """All kinds: unmeasured floats take no time of their own, other integers as long as the slowest."""
    integers = min(rates.values())
    return {"int4": integers, "int8": integers, "float": ANY} | rates


def _fitted(rows: Sequence[tuple[Work, float]], call: float) -> list[float]:
    """Rates of the products of the main kind, and of attention, from the times of some work."""
    table = []
    for work, seconds in rows:
        left = max(seconds - work.calls * call, 0.1 * seconds)
        table.append([work.products[work.main] / left, work.attention / left])
    return [_rate(1.0, per) for per in nonnegative(np.array(table, float), np.ones(len(table)))]


def nonnegative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x >= 0 that brings a x nearest to b (Lawson and Hanson's active set, for a handful of unknowns).

    >>> nonnegative(np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 2.0])).round(6).tolist()
    [0.0, 1.5]
    """
    scale = np.maximum(np.abs(a).max(0), 1e-300)
    a, free = a / scale, np.zeros(a.shape[1], bool)
    x = np.zeros(a.shape[1])
    for _ in range(10 * a.shape[1]):
        slope = a.T @ (b - a @ x)
        slope[free] = 0
        if slope.max() <= 1e-12:
            break
        free[slope.argmax()] = True
        while True:
            y = np.zeros_like(x)
            y[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            if (y[free] > 0).all():
                break
            bad = free & (y <= 0)
            step = np.min(x[bad] / np.maximum(x[bad] - y[bad], 1e-300))
            x = x + step * (y - x)
            free &= x > 1e-15
        x = y
    return np.asarray(x / scale)


def _calls(model: Model) -> int:
    return model.decoder(1, 0).calls + model.embedding(1).calls


def _rate(amount: float, seconds: float) -> float:
    """A rate that a measured difference gives; one lost in noise is as good as infinite."""
    return float(amount / seconds) if seconds > 0 and amount > 0 else ANY
