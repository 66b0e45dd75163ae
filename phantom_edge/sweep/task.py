"""What is done on a node for one combination: JSON in, JSON out, and nothing but plain values between."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from phantom_edge.bench.devices import bench
from phantom_edge.bench.estimate.hardware import devices
from phantom_edge.bench.estimate.predict import estimate
from phantom_edge.bench.estimate.workload import Workload
from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, PhantomEdgeError, one_line
from phantom_edge.evaluate.ask import evaluate
from phantom_edge.evaluate.scene_tasks import scene_suite
from phantom_edge.export import qnn_provider
from phantom_edge.pipeline.export import LIBRARIES, ExportRequest, export
from phantom_edge.records import from_json, to_json
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.verify import QUALITY
from phantom_edge.runtime.verify.quality import AGREEMENT, KL
from phantom_edge.sweep.axes import Combination
from phantom_edge.sweep.request import SETTINGS
from phantom_edge.sweep.result import Answer, Made, Speed, Timed
from phantom_edge.system.caching import cached
from phantom_edge.system.causes import out_of_memory
from phantom_edge.system.files import cache_folder
from phantom_edge.targets import Target
from phantom_edge.versions import installed

APPLE: Final = ("coreml", "coreai", "executorch-coreml")


@dataclass(frozen=True)
class Job:
    """One combination for a node: everything that the node must know, and what it must have as well.

    ``source`` are the checkpoint's SHA-256 and ``versions`` those of the libraries where the sweep was
    started: a node with others would measure something else.
    """

    key: str
    values: tuple[str, ...]
    model: str | None
    revision: str | None
    context: int | None
    tasks: tuple[str, ...]
    samples: int
    source: Mapping[str, str]
    versions: Mapping[str, str]
    last: bool
    """Whether nothing more will be measured of the bundle, which is then removed."""

    @property
    def request(self) -> ExportRequest:
        base = ExportRequest(model=self.model, revision=self.revision, context=self.context)
        return Combination(self.values).request(base)

    @property
    def place(self) -> Path:
        """Of the bundle in the node's cache, while it is measured."""
        return Path("sweep") / self.key / "bundle"


def work(kind: str, job: str, node: str) -> str:
    """Do ``make`` or ``time`` on this node, named ``node``. What goes wrong is a result, too."""
    host = socket.gethostname()
    try:
        parsed = from_json(Job, json.loads(job))
        result: Any = make(parsed, node, host) if kind == "make" else timed(parsed, host)
        return json.dumps({"result": to_json(result)})
    except PhantomEdgeError as error:
        return json.dumps({"error": str(error), "host": host})
    except Exception as error:  # a library's: one combination does not end the others
        text = "out of memory" if out_of_memory(error) else f"unexpected {type(error).__name__}: {error}"
        return json.dumps({"error": one_line(text), "host": host})


def make(job: Job, node: str, host: str) -> Made:
    """Export, verify, ask, predict. Raises what these raise."""
    start = time.perf_counter()
    folder = _bundle(job)
    try:
        bundle = Bundle.open(folder)
        quality = _quality(bundle)
        suite = scene_suite(job.tasks, samples=job.samples)
        records = evaluate(Session.of_bundle(bundle), suite.items).records
        answers, predicted = tuple(map(Answer.of, records)), _predicted(folder)
        took = time.perf_counter() - start
        return Made(node, host, took, bundle.bytes, quality[KL], quality[AGREEMENT], answers, predicted)
    finally:
        if job.last:
            _remove(job)


def timed(job: Job, host: str) -> Timed:
    """Time the bundle alone on this machine, then remove it. Raises what ``bench`` raises."""
    try:
        (run,) = bench([_bundle(job)], settings=SETTINGS).runs
    finally:
        _remove(job)
    noisy = bool(run.conditions.get("noisy"))
    return Timed(host, str(run.device["cpu"]), Speed.of(run), run.value("memory"), noisy)


def untimed(target: Target, format_name: str | None = None) -> str:
    """Why the time of a bundle for ``target`` on a machine like this would say nothing; else nothing."""
    form = target.artifact_format(format_name)
    if target.browser:
        return "runs in browsers; time it with `bench --device browser`"
    if form.npu and qnn_provider.emulated():
        return "runs on an NPU, which is emulated here"
    if form.name in APPLE and sys.platform != "darwin":
        return "runs on Apple's systems; what interprets it here says nothing of its speed"
    return ""


def _bundle(job: Job) -> Path:
    """The verified bundle in this node's cache, exported unless it is there."""
    return cached(job.place, _is_whole, lambda folder: _export(job, folder))


def _export(job: Job, folder: Path) -> None:
    _check_node(job)
    export(replace(job.request, output=folder))


def _check_node(job: Job) -> None:
    """Raise :class:`InputError` unless this node has the versions and the checkpoint of the sweep."""
    here = installed(*LIBRARIES)
    for name, version in job.versions.items():
        if here.get(name) != version:
            what = f"{name} is {here.get(name, 'not installed')} on this node and {version} where the sweep"
            raise InputError(f"{what} was started; install the same on all nodes")
    if Pretrained.open(job.model, revision=job.revision).sha256() != job.source:
        raise InputError(f"{job.model}: is another checkpoint on this node; copy the same one to all nodes")


def _is_whole(folder: Path) -> bool:
    try:
        return is_bundle(folder) and Bundle.open(folder).manifest.verification is not None
    except InputError:
        return False


def _remove(job: Job) -> None:
    shutil.rmtree((cache_folder() / job.place).parent, ignore_errors=True)


def _quality(bundle: Bundle) -> dict[str, float]:
    """What verification measured against the original, by the check's name."""
    verification = bundle.manifest.verification
    checks = verification.groups.get(QUALITY, ()) if verification else ()
    return {check.name: float(check.value) for check in checks if isinstance(check.value, (int, float))}


def _predicted(folder: Path) -> dict[str, Speed]:
    """The speed on every device of the table that runs the format; nothing where it is not modelled."""
    if Bundle.open(folder, check=False).browser:
        return {}
    try:
        workload = Workload.of_bundle(folder)
    except InputError:
        return {}
    names = [name for name, device in devices().items() if workload.model.format in device.formats]
    speeds = {name: Speed.of(estimate(workload, name, depths=SETTINGS.depths)) for name in names}
    return {name: speed for name, speed in speeds.items() if speed is not None}
