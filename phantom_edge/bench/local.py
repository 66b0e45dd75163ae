"""``--device local``: this machine, every model in its own runtime, every process fresh."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phantom_edge.bench import machine, protocol
from phantom_edge.bench.devices import Options
from phantom_edge.bench.results import Run
from phantom_edge.bench.runs import conclude, merge, model_facts
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.checkpoint.pretrained import NANO, NANO_NAME, Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.export import qnn_provider
from phantom_edge.progress import Step, prefixed
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.system.children import child
from phantom_edge.system.outputs import short_name
from phantom_edge.targets import format_for

CONFIG = "config.json"
NO_THREADS = ("coreml", "coreai")  # formats whose runtime chooses its threads itself
LAST_LINES = 3  # of what a crashed process said
INTERPRETED = "the MIL interpreter runs Core ML programs here; its times say nothing about a phone's"


def bench(models: Sequence[str | None], settings: Settings, options: Options, step: Step) -> list[Run]:
    """Measure every model, process by process in turn, so that a slow drift of the machine meets all alike.

    ``models`` are bundles, or checkpoints (folder, Hub id, None for Phantom-Nano), which run in torch. Raises
    :class:`InputError` for a model that cannot be opened and :class:`CheckError` when a process fails.
    """
    runs = [_prepared(model, settings, options.tile_size) for model in models]
    for n in range(settings.processes):
        for run, model in zip(runs, models, strict=True):
            last = n == settings.processes - 1
            job: dict[str, Any] = {"model": model, "image": options.image, "tile_size": options.tile_size}
            job |= {"settings": settings.to_dict(), "check": n == 0}
            job["soak"] = last and settings.soak > 0
            label = f"{run.model['name']}, process {n + 1} of {settings.processes}"
            merge(run, _process(job, prefixed(step, label)))
    for run in runs:
        conclude(run, settings)
        if run.runtime.get("name", "").startswith("mil-interpreter"):
            run.notes.append(INTERPRETED)
    return runs


def _prepared(model: str | None, settings: Settings, tile_size: int | None) -> Run:
    """A run with the facts that need no measuring; a bundle's hashes are compared here, once."""
    device = {"kind": "local", "name": "", **machine.describe()}
    device |= {"name": device["cpu"], "system": f"{platform.system()} {platform.machine()}"}
    if model is not None and is_bundle(model):
        bundle = Bundle.open(model)
        PromptSpec.of_bundle(bundle, tile_size)
        return _of_bundle(bundle, device, settings)
    if model is not None and Path(model).is_dir() and not (Path(model) / CONFIG).is_file():
        raise InputError(f"{model}: neither a bundle (no {MANIFEST}) nor a checkpoint (no {CONFIG})")
    source = Pretrained.open(model)
    source = source if tile_size is None else source.at_tile(tile_size)
    files = [source.checkpoint.folder / CONFIG, *source.checkpoint.files]
    name = NANO_NAME if source.checkpoint.folder == NANO else short_name(source.name)
    facts = {"name": name, "format": "checkpoint", "recipe": ", ".join(source.checkpoint.dtypes)}
    run = Run(device, {}, facts, settings.to_dict())
    run.add("bundle", sum(path.stat().st_size for path in files))
    run.notes.append("a checkpoint runs unfolded in torch, fp32: it is the reference, not what ships")
    return run


def _of_bundle(bundle: Bundle, device: dict[str, Any], settings: Settings) -> Run:
    if format_for(bundle.manifest.format).npu and qnn_provider.emulated():
        raise InputError(
            f"{bundle.folder}: made for an NPU, which is emulated here: its times say nothing; measure on a "
            "phone with --device adb --npu"
        )
    if settings.threads is not None and format_for(bundle.manifest.format).name in NO_THREADS:
        raise InputError(f"{bundle.folder}: Core ML chooses its threads itself; leave out --threads")
    run = Run(device, {}, model_facts(bundle), settings.to_dict())
    run.add("bundle", bundle.bytes)
    return run


def _process(job: dict[str, Any], step: Step) -> Run:
    """Run one job in a fresh process."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    command = [sys.executable, "-m", "phantom_edge.bench.worker", json.dumps(job)]
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": errors, "text": True}
        with child(command, env=environment, **options) as process:
            run = protocol.read(process.stdout or (), step)
            process.wait()
        if run is not None and not process.returncode:
            return run
        errors.seek(0)
        lines = errors.read().strip().splitlines()[-LAST_LINES:]
        last = " | ".join(lines) or f"exit status {process.returncode}"
    if process.returncode == -signal.SIGKILL:
        last = "it was killed, most likely for its memory; close other programs or choose a smaller model"
    raise CheckError(f"{job['model'] or NANO_NAME}: the process that was timed ended early: {last}")
