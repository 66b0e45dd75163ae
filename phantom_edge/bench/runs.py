"""What every driver says about a bundle, and how the parts of a run that were measured apart become one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

from phantom_edge.bench import machine
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.checkpoint.pretrained import NANO_NAME
from phantom_edge.errors import InputError
from phantom_edge.targets import target_for

NO_SOAK = "measured with --soak MINUTES"
SHORT_SOAK = "the soak was too short to compare its ends; use more --soak minutes"
NOISY = "other processes used the machine meanwhile: trust no difference below their share"


def bundle_for(target: str, model: str | None, runs: str) -> Bundle:
    """The bundle at ``model``, in the format of ``target``; ``runs`` says who takes that, in the error."""
    command = f"phantom-edge export --target {target}"
    if model is None or not is_bundle(model):
        raise InputError(f"{model or NANO_NAME}: not a bundle; {runs}: {command}")
    bundle = Bundle.open(model)
    m = bundle.manifest
    if m.format != target_for(target).format:
        raise InputError(f"{model}: a bundle for {m.target} ({m.format}); {runs}: {command}")
    return bundle


def model_facts(bundle: Bundle) -> dict[str, Any]:
    """Name, source, target, format, recipe, fold and context."""
    m = bundle.manifest
    return {
        "name": bundle.folder.resolve().name,
        "source": m.source.name,
        "target": m.target,
        "format": m.format,
        "recipe": m.recipe.name,
        "fold": m.fold.fold,
        "context": m.context,
    }


def jobs(bundle: Bundle, settings: Settings, processor: str | None = None) -> Iterator[tuple[str, str]]:
    """What an app on a device is asked, process by process: a label, and the job as JSON.

    ``processor`` is named where there is more than one to choose from.
    """
    options = settings.to_dict() | {"depths": list(settings.fitting(bundle.manifest.context))}
    for n in range(settings.processes):
        last = n == settings.processes - 1
        job = {"settings": options, "check": n == 0, "soak": last and settings.soak > 0}
        job |= {} if processor is None else {"processor": processor}
        yield f"process {n + 1} of {settings.processes}", json.dumps(job)


def merge(run: Run, part: Run) -> None:
    """Add one process's samples and facts to ``run``."""
    for key, values in part.samples.items():
        run.add(key, *values)
    run.runtime |= part.runtime
    run.model |= part.model
    run.curves |= part.curves
    run.missing |= part.missing
    run.notes += [note for note in part.notes if note not in run.notes]
    others = run.conditions.setdefault("others, by process", [])
    if (share := part.conditions.pop("others", None)) is not None:
        others.append(round(share, 3))
    run.conditions |= part.conditions


def conclude(run: Run, settings: Settings) -> Run:
    """Add what follows from all parts together: derived rows, noise, and why a row is missing."""
    shares = run.conditions.get("others, by process", [])
    run.conditions["noisy"] = bool(shares) and median(shares) > machine.NOISY_SHARE
    if run.conditions["noisy"]:
        run.notes.append(NOISY)
    run.derive()
    if not settings.soak:
        run.missing |= {"drift": NO_SOAK, "energy": NO_SOAK}
    elif "soak" in run.curves and "drift" not in run.samples:
        run.missing["drift"] = SHORT_SOAK
    run.missing |= settings.too_deep(run.model["context"])
    return run
