"""One measurement in a process of its own, so that load time, peak memory and threads are nobody else's.

``python -m phantom_edge.bench.worker JOB`` with a job as JSON prints JSON lines: ``{"step": ...}`` while it
works, then ``{"run": ...}`` or ``{"error": ..., "code": ...}``. Jobs come from
:mod:`phantom_edge.bench.local`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from phantom_edge.bench import machine
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.backend import Trimmable
from phantom_edge.errors import PhantomEdgeError
from phantom_edge.system.native import quiet_native
from phantom_edge.system.partials import temporary_folder
from phantom_edge.versions import runtime_version

if TYPE_CHECKING:
    from phantom_edge.bundle.folder import Bundle
    from phantom_edge.runtime.session import Session

# What a format's first session would import: on a phone that is part of the app, not of loading a model.
_ONNX = ("phantom_edge.runtime.onnx_backend",)
_EXECUTORCH = (
    "phantom_edge.runtime.executorch_backend",
    "executorch.kernels.quantized",
    "phantom_edge.export.executorch.readback",
)
IMPORTS = {
    "onnx": _ONNX,
    "onnx-webgpu": _ONNX,
    "executorch": _EXECUTORCH,
    "executorch-coreml": (*_EXECUTORCH, "phantom_edge.runtime.executorch_coreml_backend"),
    "coreml": ("phantom_edge.runtime.coreml_backend", "phantom_edge.export.coreml.toolkit:coremltools"),
    "coreai": ("phantom_edge.runtime.coreai_backend",),
    "checkpoint": ("phantom_edge.runtime.torch_backend",),
}


def work(job: dict[str, Any], step: Callable[[str], None]) -> Run:
    """Load ``job["model"]``, check it, time it. The first job of a model also checks the golden outputs."""
    settings = Settings(**{**job["settings"], "depths": tuple(job["settings"]["depths"])})
    run = Run({}, {}, {})
    step("loading")
    session, bundle = _open(job["model"], settings, job.get("tile_size"), run)
    from phantom_edge.bench.measure import measure, soak
    from phantom_edge.bench.task import Task, check_golden

    run.runtime |= _runtime(session.backend.name) | {"threads": settings.threads or machine.cores()}
    if job["check"] and bundle is not None:
        step("checking the golden outputs")
        run.conditions["golden"] = check_golden(session, bundle)
    with temporary_folder() as folder:
        task = Task.of(session, folder, job["image"])
        run.model |= {"tile_size": session.spec.tile_size}
        run.model |= {"tiles": task.tiles, "prompt_tokens": len(task.ids), "context": session.backend.context}
        with machine.watched() as usage:
            measure(session, task, settings, run, step)
        run.add("memory", machine.peak_memory())
        _add_resident(session, run)
        if job["soak"]:
            soak(session, task, settings.soak, run, step)
    run.conditions["others"] = usage.others
    return run


def _add_resident(session: Session, run: Run) -> None:
    """What the process holds now, and without its vision encoder where the runtime gives that back."""
    if (resident := machine.resident_memory()) is None:
        return
    run.add("resident", resident)
    if isinstance(session.backend, Trimmable):
        session.trim()
        run.add("resident_trimmed", machine.resident_memory() or 0)


def _open(
    model: str | None, settings: Settings, tile_size: int | None, run: Run
) -> tuple[Session, Bundle | None]:
    """The session of a bundle or a checkpoint, and the bundle; libraries are imported before the timing."""
    from phantom_edge.bundle.folder import Bundle, is_bundle
    from phantom_edge.runtime.session import Session

    bundle = Bundle.open(model, check=False) if model is not None and is_bundle(model) else None
    import_libraries("checkpoint" if bundle is None else bundle.manifest.format)
    threads, now = settings.threads, machine.CLOCKS[settings.clock]
    if bundle is None and threads is not None:
        import torch

        torch.set_num_threads(threads)
    run.add("libraries", machine.peak_memory())
    options: dict[str, Any] = {"tile_size": tile_size}
    options |= {} if threads is None or bundle is None else {"threads": threads}
    start = now()
    session = Session.open(model, **options) if bundle is None else Session.of_bundle(bundle, **options)
    run.add("load", now() - start)
    return session, bundle


def import_libraries(format_name: str) -> None:
    """Import what the session will need; a format of another package brings its own with its first load."""
    with quiet_native():
        for entry in IMPORTS.get(format_name, ()):
            module, _, function = entry.partition(":")
            loaded = import_module(module)
            if function:
                getattr(loaded, function)()


def _runtime(name: str) -> dict[str, Any]:
    version = runtime_version(name)
    return {"name": name, "version": version} if version else {"name": name}


def main(job: dict[str, Any]) -> None:
    """Print what :func:`work` does and finds as JSON lines."""

    def tell(**line: Any) -> None:
        print(json.dumps(line), flush=True)

    try:
        run = work(job, lambda text: tell(step=text))
    except PhantomEdgeError as error:
        tell(error=str(error), code=error.exit_code)
    else:
        tell(run=run.to_dict())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
