"""``--device adb[:SERIAL]``: an ``android`` bundle on a phone, by the app or a stock ExecuTorch runner.

With ``--npu`` the app runs a bundle's part for the NPU; one that falls back to the CPU is an error.

No phone was at hand when this was written: it is tested against recorded transcripts and a program that
speaks adb's command line. See docs/benchmarking.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from phantom_edge.bench.android import app, phone, runner
from phantom_edge.bench.android.adb import Adb
from phantom_edge.bench.android.npu import Part, check_ran
from phantom_edge.bench.devices import Options
from phantom_edge.bench.results import Run
from phantom_edge.bench.runs import bundle_for, conclude, jobs, merge, model_facts
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.folder import TOKENIZER, Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.errors import InputError, PhantomEdgeError
from phantom_edge.progress import Step, prefixed
from phantom_edge.runtime.traces import QUESTION
from phantom_edge.system.partials import temporary_folder
from phantom_edge.text.tokenizer import Tokenizer

FOLDER = "/data/local/tmp/phantom-bench"
THROTTLED = ("moderate", "severe", "critical", "emergency", "shutdown")


def bench(models: Sequence[str | None], settings: Settings, options: Options, step: Step) -> list[Run]:
    """Measure ExecuTorch bundles on a phone, by the program ``options.runner`` or else by the app on it.

    With ``options.npu`` the app runs that bundle's part for the phone's NPU beside each of ``models``.

    Raises :class:`InputError` when there is no such phone, no room, no app and no runner, or the bundle or
    the runner is for something else; :class:`CheckError` when what runs on the phone fails.
    """
    if options.runner is not None and options.app is not None:
        raise InputError("--runner and --app are two ways to measure; give one")
    if options.runner is not None and options.npu is not None:
        raise InputError("--runner knows no NPU: measure --npu by the app")
    bundles = [bundle_for("android", model, "an Android phone runs ExecuTorch") for model in models]
    adb, package = Adb.connect(options.serial, step), options.app or app.DEFAULT
    device = phone.describe(adb)
    if options.runner is not None:
        phone.check_program(options.runner, device["abi"])
    elif not app.is_installed(adb, package):
        call = f"`phantom-edge app android --bundle-id {package}`"
        raise InputError(f"{adb.serial} has no app {package}; install one that {call} writes or use --runner")
    part = None if options.npu is None else Part.of(options.npu, bundles, device["soc"])
    runs = []
    for bundle in bundles:
        run = Run(dict(device), {}, model_facts(bundle), settings.to_dict())
        run.runtime["processor"] = "CPU"
        run.add("bundle", bundle.bytes + (part.bytes if part else 0))
        run.conditions |= {f"before: {name}": value for name, value in phone.condition(adb).items()}
        if options.runner is not None:
            _by_runner(run, adb, bundle, options.runner, settings, step)
        else:
            _by_app(run, adb, bundle, package, settings, step, part)
        run.conditions |= {f"after: {name}": value for name, value in phone.condition(adb).items()}
        if {run.conditions.get(f"{when}: thermal status") for when in ("before", "after")} & set(THROTTLED):
            run.notes.append("the phone was slowing itself down from heat: let it cool and measure again")
        runs.append(conclude(run, settings))
    return runs


def _by_runner(run: Run, adb: Adb, bundle: Bundle, program: Path, settings: Settings, step: Step) -> None:
    threads = settings.threads or "the runner's choice"
    run.runtime |= {"name": f"executorch, {program.name}", "threads": threads}
    run.model |= {"image_tokens": bundle.manifest.tiles.tokens, "tiles": 1}
    model, tokenizer = bundle.folder / bundle.manifest.graphs.text_decoder, bundle.folder / TOKENIZER
    with temporary_folder() as here:
        picture = here / "picture.png"
        Image.fromarray(Golden.read(bundle.folder).image).save(picture)
        files = {"model.pte": model, TOKENIZER: tokenizer, "picture.png": picture, "runner": program}
        with _pushed(adb, files, run, step) as folder:
            adb.shell(f"chmod 755 {folder}/runner")
            stock = runner.StockRunner(adb, folder)
            stock.probe(program.name)
            runner.measure(stock, Tokenizer.from_file(tokenizer), QUESTION, settings, run, step)
            if settings.soak:
                runner.soak(stock, QUESTION, settings, run, step)


def _by_app(
    run: Run, adb: Adb, bundle: Bundle, package: str, settings: Settings, step: Step, npu: Part | None
) -> None:
    run.runtime["name"] = f"{'QNN and ' if npu else ''}executorch, {package}"
    files = {name: bundle.folder / name for name in (MANIFEST, *bundle.manifest.files)}
    if npu is not None:
        files |= npu.files
        run.model |= npu.facts()
    with _pushed(adb, files, run, step) as folder, temporary_folder() as here:
        path = here / "job.json"
        for label, job in jobs(npu.bundle if npu else bundle, settings, processor="npu" if npu else None):
            path.write_text(job)
            adb.shell(f"rm -f {folder}/job.json")
            adb.push(path, f"{folder}/job.json")
            adb.shell(f"chmod a+r {folder}/job.json")
            measured = app.measure(adb, package, folder, prefixed(step, label))
            if npu is not None:
                check_ran(measured, package)
            merge(run, measured)


@contextmanager
def _pushed(adb: Adb, files: dict[str, Path], run: Run, step: Step) -> Iterator[str]:
    """The files in a folder on the phone while the block runs; if they stay, a note says where."""
    folders = sorted({f"{FOLDER}/{name}".rpartition("/")[0] for name in files})
    adb.shell(f"rm -rf {FOLDER}; mkdir -p {' '.join(map(shlex.quote, folders))}")
    try:
        phone.check_room(adb, FOLDER, list(files.values()))
        for name, path in files.items():
            step(f"pushing {name}, {path.stat().st_size / 1e6:,.0f} MB")
            adb.push(path, f"{FOLDER}/{name}")
        adb.shell(f"chmod -R a+rX {FOLDER}")
        yield FOLDER
    finally:
        try:
            adb.shell(f"rm -rf {FOLDER}")
        except PhantomEdgeError:
            run.notes.append(f"{FOLDER} was left on the phone; remove it with `adb shell rm -rf {FOLDER}`")
