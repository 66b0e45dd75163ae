"""``--device ios[:UDID]``: an ``ios`` bundle on an iPhone or iPad, by the app, from a Mac with Xcode.

Neither a Mac nor a device was at hand when this was written: it is tested against recorded output and a
program that speaks devicectl's command line. See docs/benchmarking.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phantom_edge.bench.apple.devicectl import Devicectl
from phantom_edge.bench.devices import Options
from phantom_edge.bench.results import Run
from phantom_edge.bench.runs import bundle_for, conclude, jobs, merge, model_facts
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step, prefixed
from phantom_edge.system.partials import temporary_folder

DEFAULT = "org.phantomedge.app"
FOLDER = "Documents/phantom-bench"
LEAST = (18,)  # iOS: int4 weights and state


def bench(models: Sequence[str | None], settings: Settings, options: Options, step: Step) -> list[Run]:
    """Measure Core ML bundles by the app ``options.app`` on the device.

    The app must be installed. Started with ``PHANTOM_EDGE_BENCH`` set to a folder of its container that holds
    a bundle and ``job.json``, it prints the lines of :mod:`phantom_edge.bench.protocol` and ends.

    Raises :class:`InputError` when this is no Mac, there is no such device or the bundle is for something
    else, and :class:`CheckError` when what runs on the device fails.
    """
    bundles = [bundle_for("ios", model, "an iPhone runs Core ML") for model in models]
    xcode, app = Devicectl.connect(options.serial), options.app or DEFAULT
    device, system = xcode.device, f"iOS {xcode.device.version}"
    if tuple(int(n) for n in device.version.split(".")[:1] if n.isdigit()) < LEAST:
        raise InputError(f"{device.name} runs {system}; these bundles need iOS {LEAST[0]} or newer")
    facts = {"kind": "ios", "name": device.model, "product": device.product, "system": system}
    return [_measured(xcode, app, bundle, facts, settings, step) for bundle in bundles]


def _measured(
    xcode: Devicectl, app: str, bundle: Bundle, device: dict[str, Any], settings: Settings, step: Step
) -> Run:
    run = Run(dict(device), {"name": f"coreml, {app}"}, model_facts(bundle), settings.to_dict())
    run.add("bundle", bundle.bytes)
    for name in (MANIFEST, *bundle.manifest.files):
        path = bundle.folder / name
        step(f"copying {name}, {path.stat().st_size / 1e6:,.0f} MB")
        try:
            xcode.push(app, path, f"{FOLDER}/{name}")
        except CheckError as error:
            raise CheckError(f"{name} could not be copied to {app} on {xcode.device.name}: {error}") from None
    with temporary_folder() as here:
        path = here / "job.json"
        for label, job in jobs(bundle, settings):
            path.write_text(job)
            xcode.push(app, path, f"{FOLDER}/{path.name}")
            merge(run, xcode.launch(app, FOLDER, prefixed(step, label)))
    run.notes.append(f"the bundle stays in the app's {FOLDER}; devicectl cannot remove it, the app can")
    return conclude(run, settings)
