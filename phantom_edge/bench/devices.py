"""``--device``: which driver measures, and its options. A driver's module is imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path

from phantom_edge.bench.report import Results
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.locate import bundle_folder
from phantom_edge.errors import InputError, did_you_mean
from phantom_edge.progress import Step, no_step


@dataclass(frozen=True)
class Options:
    """What only some drivers take; one that is given to another driver is refused.

    ``serial`` is the part of ``--device`` after the colon. ``image`` replaces the golden picture,
    ``tile_size`` the side of its tiles, which is one that the bundle has. ``browser``
    is a Chromium's program, ``providers`` what to run in it. ``runner`` is an ExecuTorch runner built for the
    device, ``app`` the benchmark app's package or bundle id, ``npu`` a bundle for the device's NPU.
    """

    serial: str | None = None
    image: str | None = None
    tile_size: int | None = None
    browser: Path | None = None
    providers: tuple[str, ...] = ()
    runner: Path | None = None
    app: str | None = None
    npu: Path | None = None


@dataclass(frozen=True)
class Driver:
    """A kind of device: the module with ``bench(models, settings, options, step)``, and its options."""

    module: str
    options: tuple[str, ...]


DRIVERS = {
    "local": Driver("phantom_edge.bench.local", ("image", "tile_size")),
    "browser": Driver("phantom_edge.bench.browser", ("browser", "providers")),
    "adb": Driver("phantom_edge.bench.android", ("serial", "runner", "app", "npu")),
    "ios": Driver("phantom_edge.bench.apple", ("serial", "app")),
}
_FLAGS = {"providers": "--provider", "tile_size": "--tile-size", "serial": "a serial number"}


def bench(
    models: Sequence[str | Path | None],
    device: str = "local",
    settings: Settings | None = None,
    options: Options | None = None,
    *,
    step: Step = no_step,
) -> Results:
    """Measure ``models`` (bundles; locally also checkpoints, None for Phantom-Nano) on ``device``.

    ``device`` is ``local``, ``browser``, ``adb[:SERIAL]`` or ``ios[:UDID]``. Raises :class:`InputError` when
    there is no such device or it cannot run the model, :class:`CheckError` when the model computes something
    else there.

    >>> results = pe.bench(["nano-desktop"], settings=pe.BenchSettings(processes=1, repeats=1, steps=4))
    >>> results.runs[0].value("decode@0") > 1  # tokens per second
    True
    """
    name, _, serial = device.partition(":")
    if name not in DRIVERS:
        hint = did_you_mean(name, DRIVERS)
        raise InputError(f"unknown device {device!r}{hint}; use local, browser, adb[:SERIAL] or ios[:UDID]")
    driver, options = DRIVERS[name], options or Options()
    if serial:
        options = Options(**{**vars(options), "serial": serial})
    for entry in fields(Options):
        if getattr(options, entry.name) and entry.name not in driver.options:
            flag = _FLAGS.get(entry.name, f"--{entry.name}")
            raise InputError(f"--device {name} takes no {flag}; leave it out")
    if name != "local" and settings is not None and settings.clock != "wall":
        raise InputError(f"--device {name} reads the clock on the wall only")
    if not models:
        raise InputError("nothing to measure: name a bundle")
    names = [bundle_folder(model, step=step) for model in models]
    if options.npu is not None:
        options = replace(options, npu=Path(bundle_folder(options.npu, step=step) or ""))
    return Results(import_module(driver.module).bench(names, settings or Settings(), options, step))
