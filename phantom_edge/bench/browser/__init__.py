"""``--device browser``: the web app's own engine in a Chromium of this machine, on WASM and WebGPU."""

from __future__ import annotations

import platform
import queue
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.apps.build import built_app
from phantom_edge.apps.web import check_web_bundle
from phantom_edge.bench import machine
from phantom_edge.bench.browser import program
from phantom_edge.bench.browser.server import Page, serving
from phantom_edge.bench.devices import Options
from phantom_edge.bench.results import Run
from phantom_edge.bench.runs import conclude, merge, model_facts
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import NANO_NAME
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step, prefixed
from phantom_edge.runtime.traces import QUESTION

PROVIDERS = ("wasm", "webgpu")
SILENCE = 900.0  # seconds without a word from the page: a large model's prefill in one thread takes minutes
POLL = 0.25


def bench(models: Sequence[str | None], settings: Settings, options: Options, step: Step) -> list[Run]:
    """Measure ONNX bundles in a browser, every provider and every process in a fresh one.

    Raises :class:`InputError` for another bundle, no browser, no Node.js where the app is not built yet, or a
    browser without the features that it needs; :class:`CheckError` when the page fails or computes something
    else than the golden outputs.
    """
    for provider in options.providers:
        if provider not in PROVIDERS:
            raise InputError(f"--provider {provider}: there are {' and '.join(PROVIDERS)}")
    bundles = [_opened(model) for model in models]
    chromium, app = program.find(options.browser), built_app(step)
    step("asking the browser what it can do")
    features = _in_page(chromium, {"": app}, {"do": "features"}, step, webgpu=True).result["features"]
    # Refuses a browser that cannot run one of them before the first is measured.
    plan = [
        (bundle, provider)
        for bundle in bundles
        for provider in choose(features, options.providers or (("webgpu",) if is_for_gpu(bundle) else ()))
    ]
    runs = []
    for bundle, provider in plan:
        run = Run(_device(features, provider), {}, model_facts(bundle), settings.to_dict())
        run.add("bundle", bundle.bytes)
        if provider == "webgpu" and features["webgpu"]["software"]:
            run.notes.append("WebGPU ran in software: its times say nothing about a graphics processor's")
        runs.append(_measured(run, chromium, {"": app, "bundle": bundle.folder}, provider, settings, step))
    return runs


def choose(features: Mapping[str, Any], requested: Sequence[str]) -> list[str]:
    """The requested providers, else those there are. Raises :class:`InputError` if the browser lacks one."""
    if not features["isolated"]:
        raise InputError(
            "this browser has no cross-origin isolation, so WASM has no threads; use Chromium 92 or newer"
        )
    if not features["simd"]:
        raise InputError("this browser's WebAssembly has no SIMD; use Chromium 91 or newer")
    if "webgpu" in requested and features["webgpu"] is None:
        raise InputError("there is no WebGPU here (no adapter); use --provider wasm or a machine with a GPU")
    real = features["webgpu"] is not None and not features["webgpu"]["software"]
    return list(dict.fromkeys(requested)) or (["wasm", "webgpu"] if real else ["wasm"])


def _device(features: Mapping[str, Any], provider: str) -> dict[str, Any]:
    agent = features["userAgent"]
    device = {
        "kind": "browser",
        "name": agent.rpartition("AppleWebKit")[2].partition(") ")[2] or agent,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.describe()["cpu"],
        "cores": features["cores"],
    }
    return device | ({"gpu": features["webgpu"]["name"]} if provider == "webgpu" else {})


def is_for_gpu(bundle: Bundle) -> bool:
    """Whether a bundle's operations are WebGPU's: on the CPU its fp16 has no kernels."""
    return "webgpu" in f"{bundle.manifest.target} {bundle.manifest.format}"


def _opened(model: str | None) -> Bundle:
    if model is None:
        raise InputError(f"{NANO_NAME}: not a bundle; a browser needs one: phantom-edge export --target web")
    bundle = Bundle.open(model)
    check_web_bundle(bundle)
    return bundle


def _measured(
    run: Run, chromium: Path, mounts: Mapping[str, Path], provider: str, settings: Settings, step: Step
) -> Run:
    depths = settings.fitting(run.model["context"])
    for n in range(settings.processes):
        last = n == settings.processes - 1
        job: dict[str, Any] = {"do": "measure", "provider": provider, "question": QUESTION, "check": n == 0}
        job["settings"] = settings.to_dict() | {"depths": depths, "soak": settings.soak if last else 0}
        label = f"{run.model['name']}, {provider}, page {n + 1} of {settings.processes}"
        with machine.watched() as usage:
            outcome = _in_page(chromium, mounts, job, prefixed(step, label), webgpu=provider == "webgpu")
        part = Run.from_dict(outcome.result.get("run"))
        if usage.foreign is not None:  # the browser's processes are no children of ours that have ended
            usage.foreign -= outcome.core_seconds
        part.conditions["others"] = usage.others
        if outcome.peak_memory is not None:
            part.add("memory", outcome.peak_memory)
        merge(run, part)
    if "memory" not in run.samples:
        why = "a browser's process memory is read on Linux only; the WASM heap is a part of it"
        run.missing["memory"] = why
    conclude(run, settings)
    if settings.soak:
        run.missing["energy"] = "a page cannot read an energy counter"
    return run


@dataclass(frozen=True)
class _Outcome:
    """What a page reported last, and what its browser took."""

    result: dict[str, Any]
    peak_memory: int | None
    core_seconds: float


def _in_page(
    chromium: Path, mounts: Mapping[str, Path], job: Mapping[str, Any], step: Step, *, webgpu: bool
) -> _Outcome:
    """Run one job in a fresh browser."""
    with serving(mounts, job) as page, program.started(chromium, page.url, webgpu=webgpu) as browser:
        result = _result(page, browser, step)
        return _Outcome(result, browser.peak_memory(), browser.core_seconds())


def _result(page: Page, browser: program.Browser, step: Step) -> dict[str, Any]:
    """Wait for the page's result, passing its steps on. Raises :class:`CheckError` when none can come."""
    heard = time.monotonic()
    while True:
        try:
            report = page.reports.get(timeout=POLL)
        except queue.Empty:
            if not browser.alive:
                ended = f"the browser ended before the page had a result: {browser.last_words}"
                raise CheckError(ended) from None
            if time.monotonic() - heard > SILENCE:
                raise CheckError(f"the page said nothing for {SILENCE:.0f} s; try fewer --depths") from None
            continue
        heard = time.monotonic()
        if "step" in report:
            step(str(report["step"]))
        elif "error" in report:
            raise CheckError(str(report["error"]))
        else:
            return report
