"""An estimate: a benchmark's rows from a model's bytes and operations and a device's rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.bench import machine
from phantom_edge.bench.estimate.calibrate import calibrate
from phantom_edge.bench.estimate.hardware import (
    LEVELS,
    Device,
    Gain,
    device_for,
    gain,
    npu_source,
    runtime_for,
)
from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.bench.estimate.workload import Workload
from phantom_edge.bench.report import Results
from phantom_edge.bench.results import Band, Run
from phantom_edge.bench.settings import DEPTHS, Settings
from phantom_edge.bundle.locate import bundle_folder
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.text.tokenizer import Tokenizer

LOCAL = "local"
ON_CPU = Gain()
LOCAL_BAND = 0.25  # either way: the method's aim; docs/benchmarking.md has what was measured
NOT_MODELLED = {
    "preprocess": "not modelled: a decoder and a resize, a few milliseconds",
    "load": "not modelled: storage differs more than anything else",
    "energy": "not modelled",
    "drift": "not modelled: cases and cooling differ",
}
# By a device's first format.
TARGETS = {"coreml": "ios", "executorch": "android", "onnx": "desktop"}


@dataclass(frozen=True)
class Level:
    """Rates, resident bytes per stored byte, bytes that the runtime takes in any case, an NPU's gain."""

    rates: Rates
    memory: float
    fixed: float = 0.0
    gain: Gain = ON_CPU


def estimate(
    workload: Workload,
    device: str,
    *,
    depths: Sequence[int] = DEPTHS,
    tiles: int = 1,
    threads: int | None = None,
    clock: str = "wall",
    step: Step = no_step,
) -> Run:
    """Predict what ``phantom-edge bench`` measures of ``workload`` on ``device`` (``local``, or a name).

    ``local`` is calibrated first, which takes half a minute, by that ``clock`` of
    :class:`~phantom_edge.bench.settings.Settings`. Raises :class:`InputError` for an unknown device, or one
    that does not run the workload's format.

    >>> run = estimate(Workload.of_model(None, target="ios"), "iphone-16-pro")
    >>> run.bands["decode@0"].low < run.bands["decode@0"].typical < run.bands["decode@0"].high
    True
    """
    if device == LOCAL:
        return _local(workload, depths, tiles, threads, clock, step)
    if threads is not None:
        raise InputError("--threads is for --device local; others are taken with all their large cores")
    hardware = device_for(device)
    if workload.model.format not in hardware.formats:
        runs = f"{hardware.title} runs {' and '.join(hardware.formats)}"
        what = f"the model is for {workload.model.format}"
        raise InputError(f"{runs}, {what}; choose another --target or --device")
    runtime = runtime_for(workload.model.format)
    gains = [gain(n) if hardware.on_npu else ON_CPU for n in range(len(LEVELS))]
    levels = [Level(runtime.rates(hardware, n), runtime.memory[n], gain=gains[n]) for n in range(len(LEVELS))]
    facts = {"kind": "table", "name": hardware.title, **_figures(hardware)}
    run = _run(workload, facts, levels, depths, tiles)
    run.notes.append("peak memory is the model's: the app and the runtime's libraries come on top")
    run.notes += [f"shares of the published figures: {' '.join(runtime.source.split())}"]
    if hardware.on_npu:
        return _of_npu(run)
    limit = hardware.memory * 1e9
    if run.bands["memory"].typical > limit / 2:
        run.notes.append(f"it takes over half of the device's {hardware.memory} GB: an app may not get that")
    return run


def _of_npu(run: Run) -> Run:
    """The same for an NPU: where its gain comes from, and what is not known of it."""
    run.runtime["name"] = f"QNN and {run.runtime['name']}"
    run.bands.pop("memory")
    run.missing["memory"] = "not modelled on an NPU, which has its own graphs beside the CPU's"
    run.notes = [note for note in run.notes if not note.startswith("peak memory")]
    run.notes.append("what a call to the NPU costs is not modelled: it counts for small models")
    run.notes.append(f"never measured, so the band is wide: {npu_source()}")
    return run


def estimates(
    devices: Sequence[str],
    *,
    bundle: str | Path | None = None,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    depths: Sequence[int] = DEPTHS,
    tiles: int = 1,
    threads: int | None = None,
    step: Step = no_step,
) -> Results:
    """A bundle or a checkpoint (options of :meth:`Workload.of_model`) on each device, by its own target."""
    if not devices:
        raise InputError("say which --device: one of `phantom-edge estimate --list`, or local, this machine")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    more = model is not None or given.keys() - {"fold"} or given.get("fold", "exact") != "exact"
    if bundle is not None and more:
        raise InputError("a bundle has its own model, target, recipe, fold and context; leave them out")
    runs = []
    bundle = bundle_folder(bundle, step=step)
    for name in devices:
        if bundle is not None:
            workload = Workload.of_bundle(bundle)
        else:
            target = "desktop" if name == LOCAL else TARGETS[device_for(name).formats[0]]
            workload = Workload.of_model(model, **{"target": target, **given})
        step(f"estimating for {name}")
        runs.append(estimate(workload, name, depths=depths, tiles=tiles, threads=threads, step=step))
    return Results(runs)


def _local(
    workload: Workload, depths: Sequence[int], tiles: int, threads: int | None, clock: str, step: Step
) -> Run:
    calibration = calibrate(workload.model.format, workload.kinds(), threads, step, clock)
    level = Level(calibration.rates, calibration.memory, calibration.fixed)
    facts = machine.describe()
    run = _run(workload, {"kind": LOCAL, "name": facts["cpu"], **facts}, [level] * len(LEVELS), depths, tiles)
    if workload.tokenizer is None:
        run.missing["load"] = "modelled for a bundle that exists, whose tokenizer can be timed"
    else:
        per_byte, per_operation = calibration.load
        seconds = workload.model.stored_bytes() * per_byte + workload.model.operations() * per_operation
        seconds += _seconds_of_tokenizer(workload.tokenizer, clock)
        run.bands["load"] = Band(*[seconds] * 3)
        run.missing.pop("load")
    for key in run.bands.keys() - {"bundle"}:
        typical = run.bands[key].typical
        run.bands[key] = Band(typical, typical * (1 - LOCAL_BAND), typical * (1 + LOCAL_BAND))
    run.runtime |= {"threads": calibration.facts["threads"]}
    run.conditions |= {"calibration, s": calibration.facts["seconds"], "others": calibration.facts["others"]}
    if (calibration.facts["others"] or 0) > machine.NOISY_SHARE:
        run.notes.append("other processes used the machine meanwhile: run it again on a quiet one")
    return run


def _seconds_of_tokenizer(path: Path, clock: str) -> float:
    """Of reading it: with a large vocabulary half a second, a good part of loading, in any runtime."""
    now = machine.CLOCKS[clock]
    start = now()
    Tokenizer.from_file(path)
    return now() - start


def _run(
    workload: Workload, device: dict[str, Any], levels: Sequence[Level], depths: Sequence[int], tiles: int
) -> Run:
    """The rows at every level, low to high."""
    model, tokens = workload.model, workload.prompt_tokens(tiles)
    run = Run(device, {"name": model.format}, {**workload.facts, "tiles": tiles, "prompt_tokens": tokens})
    rows: dict[str, list[float]] = {}

    def put(key: str, value: float) -> None:
        rows.setdefault(key, []).append(value)

    settings = Settings(depths=tuple(depths))
    for level in levels:
        vision = tiles * level.rates.vision(model) / level.gain.vision
        prefill = level.rates.prefill(model, tokens, workload.chunk) / level.gain.prefill
        put("vision", vision)
        put("prefill", prefill)
        put("first_token", vision + prefill)
        put("prefill_rate", tokens / prefill)
        for depth in settings.fitting(workload.context):
            put(f"decode@{depth}", level.gain.decode / level.rates.decode(model, depth))
        put("memory", workload.bytes * level.memory + model.cache_bytes(workload.context) + level.fixed)
        if not workload.built:
            put("bundle", workload.bytes)
    for key, values in rows.items():
        run.bands[key] = Band(values[len(values) // 2], min(values), max(values))
    if workload.built:
        run.add("bundle", workload.bytes)
    run.missing |= NOT_MODELLED | settings.too_deep(workload.context)
    run.notes.append("the first token is without preprocessing")
    return run


def _figures(device: Device) -> dict[str, str]:
    units = {"bandwidth": "GB/s", "int8": "10^12 int8 operations/s", "float": "10^12 float operations/s"}
    published = {name: getattr(device, name) for name in units if getattr(device, name) is not None}
    return {units[name]: f"{figure.value:g} ({figure.source})" for name, figure in published.items()}
