"""Put a trained Phantom vision-language model on phones, in browsers and on edge devices.

The names below are the public API. Each is imported when it is first used, so that ``import phantom_edge``
itself loads neither torch nor any platform's library.

>>> import phantom_edge as pe
>>> pe.targets()["ios"].format
'coreml'
>>> session = pe.Session.open()                       # the embedded Phantom-Nano
>>> "".join(session.generate("What is shown?", max_tokens=4)) != ""
True
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phantom_edge.bench.devices import bench
    from phantom_edge.bench.settings import Settings as BenchSettings
    from phantom_edge.bundle.folder import Bundle
    from phantom_edge.bundle.golden import Golden
    from phantom_edge.bundle.manifest import Manifest
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.crop import crop_around
    from phantom_edge.errors import CheckError, InputError, PhantomEdgeError
    from phantom_edge.evaluate.job import build_suite, evaluate_models
    from phantom_edge.model.fold import Fold
    from phantom_edge.numbers.recipe import Recipe, load_recipe
    from phantom_edge.pipeline.export import ExportRequest, ExportResult, export
    from phantom_edge.pipeline.quantize import QuantizeRequest, QuantizeResult, quantize
    from phantom_edge.publish.pull import pull
    from phantom_edge.publish.push import PushOptions, push
    from phantom_edge.quantize.options import QuantizeOptions
    from phantom_edge.report.report import Report
    from phantom_edge.runtime.form import Form
    from phantom_edge.runtime.inspect import inspect
    from phantom_edge.runtime.pictures import PictureCache
    from phantom_edge.runtime.sampling import Sampling
    from phantom_edge.runtime.self_test import self_test
    from phantom_edge.runtime.session import Chat, Session
    from phantom_edge.runtime.verify import verify
    from phantom_edge.sweep.job import SweepResult, sweep
    from phantom_edge.sweep.request import SweepRequest
    from phantom_edge.targets import Target, targets
    from phantom_edge.training.triples import read_triples
    from phantom_edge.tune.options import TuneOptions
    from phantom_edge.tune.trainer import tune

# What libraries would report to their makers stays on the device. They read this when they are imported, here
# and in the processes that are started from here. ONNX Runtime takes no other value for a yes.
os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1", RAY_USAGE_STATS_ENABLED="0")

__version__ = "0.1.0"

# Public name: the module that defines it, and its name there where that differs.
_HOMES = {
    "BenchSettings": "bench.settings:Settings",
    "Bundle": "bundle.folder",
    "Chat": "runtime.session",
    "CheckError": "errors",
    "ExportRequest": "pipeline.export",
    "ExportResult": "pipeline.export",
    "Fold": "model.fold",
    "Form": "runtime.form",
    "Golden": "bundle.golden",
    "InputError": "errors",
    "Manifest": "bundle.manifest",
    "PhantomEdgeError": "errors",
    "PictureCache": "runtime.pictures",
    "Pretrained": "checkpoint.pretrained",
    "PushOptions": "publish.push",
    "QuantizeOptions": "quantize.options",
    "QuantizeRequest": "pipeline.quantize",
    "QuantizeResult": "pipeline.quantize",
    "Recipe": "numbers.recipe",
    "Report": "report.report",
    "Sampling": "runtime.sampling",
    "Session": "runtime.session",
    "SweepRequest": "sweep.request",
    "SweepResult": "sweep.job",
    "Target": "targets",
    "TuneOptions": "tune.options",
    "bench": "bench.devices",
    "build_suite": "evaluate.job",
    "crop_around": "crop",
    "evaluate_models": "evaluate.job",
    "export": "pipeline.export",
    "inspect": "runtime.inspect",
    "load_recipe": "numbers.recipe",
    "pull": "publish.pull",
    "push": "publish.push",
    "quantize": "pipeline.quantize",
    "read_triples": "training.triples",
    "self_test": "runtime.self_test",
    "sweep": "sweep.job",
    "targets": "targets",
    "tune": "tune.trainer",
    "verify": "runtime.verify",
}
__all__ = [
    "BenchSettings",
    "Bundle",
    "Chat",
    "CheckError",
    "ExportRequest",
    "ExportResult",
    "Fold",
    "Form",
    "Golden",
    "InputError",
    "Manifest",
    "PhantomEdgeError",
    "PictureCache",
    "Pretrained",
    "PushOptions",
    "QuantizeOptions",
    "QuantizeRequest",
    "QuantizeResult",
    "Recipe",
    "Report",
    "Sampling",
    "Session",
    "SweepRequest",
    "SweepResult",
    "Target",
    "TuneOptions",
    "__version__",
    "bench",
    "build_suite",
    "crop_around",
    "evaluate_models",
    "export",
    "inspect",
    "load_recipe",
    "pull",
    "push",
    "quantize",
    "read_triples",
    "self_test",
    "sweep",
    "targets",
    "tune",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _HOMES[name].partition(":")
    from phantom_edge.system.packages import needed

    with needed():
        value = getattr(import_module(f"{__name__}.{module}"), own_name or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Root(ModuleType):
    """This module, whose public functions stay callable beside subpackages of the same name.

    After ``import phantom_edge.export.onnx`` Python would bind the package ``phantom_edge.export`` here, in
    the place of the function; that assignment is left out. So ``phantom_edge.export`` is always the function,
    and what lies in the package is imported by ``from phantom_edge.export.onnx import …``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root
