"""Targets and formats: what follows from a name. A table; other packages add rows by entry point.

Nothing here imports a platform's library: exporters and runtimes are named by module and loaded when used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from phantom_edge.errors import InputError, did_you_mean
from phantom_edge.system import interrupts
from phantom_edge.system.packages import needed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from phantom_edge.bundle.backend import Backend
    from phantom_edge.bundle.manifest import Npu
    from phantom_edge.export.base import Exported, ExportOptions
    from phantom_edge.model.folded import FoldedModel
    from phantom_edge.model.ops import CacheScales
    from phantom_edge.numbers.grid import QuantizedTensor
    from phantom_edge.numbers.ranges import Ranges

ENTRY_POINTS = "phantom_edge.targets"
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Format:
    """One artifact format: the module that writes it, and the module and class that run it.

    The exporter module has ``export(model, options, out, progress)``, ``reference(model)`` and
    ``stored_weights(folder)``; the backend class is called with ``(folder, context=, chunk=)``. ``unrounded``
    are the backend's options for a run without the platform's own rounding, where it has one: there a fault
    of structure cannot hide. ``int8_cache`` says whether the exporter writes a KV cache in int8, which it
    does where the runtime gains by it. ``fixed`` are the backend's options for a run of the decoder's
    functions of a fixed length, where it has such beside one for any length. ``aborts`` says that the runtime
    ends the process on a program that it does not like. ``several_tiles`` says that an artifact may hold
    vision encoders for several sizes of tiles. ``trims`` says that the backend can do without its vision
    encoder between pictures, and with ``vision=False`` until the first of them.

    Some exporters have more to read back: ``stored_cache(folder)``, the scales of an int8 cache;
    ``stored_ranges(folder)``, the grids of an NPU's values; ``compiled_again(folder, model, options)``;
    ``derived_files(model, options, folder)``, what lies beside the graphs; ``NOT_STORED``, patterns of the
    weights that the artifact does not hold as they are, with the reason.
    """

    name: str
    title: str
    exporter: str
    backend: str
    unrounded: tuple[tuple[str, str], ...] = ()
    int8_cache: bool = False
    fixed: tuple[tuple[str, str], ...] = ()
    aborts: bool = False
    npu: bool = False
    several_tiles: bool = False
    trims: bool = False

    def export(
        self, model: FoldedModel, options: ExportOptions, out: Path, progress: Callable[[str], None]
    ) -> Exported:
        """Write the three graphs below ``out``."""
        exported: Exported = _imported(self.exporter).export(model, options, out, progress)
        return exported

    def reference(self, model: FoldedModel) -> FoldedModel:
        """The torch model of what an artifact holds: the same integers, roundings and activation grids."""
        folded: FoldedModel = _imported(self.exporter).reference(model)
        return folded

    def stored_weights(self, folder: Path) -> Mapping[str, QuantizedTensor]:
        """The integers and scales read back out of an artifact, by module name."""
        weights: Mapping[str, QuantizedTensor] = _imported(self.exporter).stored_weights(folder)
        return weights

    def stored_floats(self, folder: Path) -> Mapping[str, Tensor]:
        """Every float constant read back out of an artifact, by its name in the folded model."""
        floats: Mapping[str, Tensor] = _imported(self.exporter).stored_floats(folder)
        return floats

    @property
    def not_stored(self) -> Mapping[str, str]:
        """Patterns of weights that :meth:`stored_floats` cannot give, and why."""
        patterns: Mapping[str, str] = getattr(_imported(self.exporter), "NOT_STORED", {})
        return patterns

    def stored_cache(self, folder: Path) -> CacheScales | None:
        """The grid of an int8 KV cache that an artifact holds; None for a cache in float."""
        read = getattr(_imported(self.exporter), "stored_cache", None)
        return read(folder) if read else None

    def stored_ranges(self, folder: Path) -> Ranges:
        """The grids on which an NPU holds its values, by the place in the graph; none for other formats."""
        read = getattr(_imported(self.exporter), "stored_ranges", None)
        ranges: Ranges = read(folder) if read else {}
        return ranges

    def differences(self, folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
        """What an artifact declares otherwise than an export of ``model`` with ``options`` does."""
        declared: list[str] = _imported(self.exporter).differences(folder, model, options)
        return declared

    def derived_files(self, model: FoldedModel, options: ExportOptions, folder: Path) -> Mapping[str, bytes]:
        """Files beside the graphs, by path, as an export writes them for the graphs in ``folder``."""
        make = getattr(_imported(self.exporter), "derived_files", None)
        return make(model, options, folder) if make else {}

    def npu_entry(self, model: FoldedModel, options: ExportOptions) -> Npu | None:
        """What a manifest must say of an NPU, compiling aside; None for other formats."""
        make = getattr(_imported(self.exporter), "npu_entry", None)
        return make(model, options) if make else None

    def compiled_again(self, folder: Path, model: FoldedModel, options: ExportOptions) -> Mapping[str, bytes]:
        """What was compiled for chips and is not run, made again, by its path; nothing for other formats."""
        make = getattr(_imported(self.exporter), "compiled_again", None)
        return make(folder, model, options) if make else {}

    def graph_files(self, folder: Path) -> Mapping[str, str]:
        """Where each graph lies below ``folder``."""
        graphs: Mapping[str, str] = _imported(self.exporter).graph_files(folder)
        return graphs

    def artifact_files(self, folder: Path) -> set[str]:
        """Paths below ``folder`` of the files that the graphs are made of."""
        files: set[str] = _imported(self.exporter).artifact_files(folder)
        return files

    def load(self, folder: Path, *, context: int, chunk: int, **options: Any) -> Backend:
        """The runtime for an artifact in ``folder``."""
        module, _, name = self.backend.partition(":")
        backend: Backend = getattr(_imported(module), name)(folder, context=context, chunk=chunk, **options)
        return backend


def _imported(module: str) -> ModuleType:
    with interrupts.deferred(), needed():
        return import_module(module)


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "coreml",
            "Core ML (.mlpackage, iOS 18)",
            "phantom_edge.export.coreml",
            "phantom_edge.runtime.coreml_backend:CoremlBackend",
            unrounded=(("mode", "lifted"),),
            fixed=(("functions", "fixed"),),
            several_tiles=True,
        ),
        Format(
            "executorch",
            "ExecuTorch (.pte, XNNPACK)",
            "phantom_edge.export.executorch",
            "phantom_edge.runtime.executorch_backend:ExecutorchBackend",
            unrounded=(("mode", "lifted"),),
            aborts=True,
            several_tiles=True,
            trims=True,
        ),
        Format(
            "executorch-coreml",
            "ExecuTorch (.pte, Core ML for the vision encoder, XNNPACK for the rest)",
            "phantom_edge.export.executorch_coreml",
            "phantom_edge.runtime.executorch_coreml_backend:ExecutorchCoremlBackend",
            unrounded=(("mode", "lifted"),),
            aborts=True,
        ),
        Format(
            "coreai",
            "Core AI (.aimodel, iOS 27)",
            "phantom_edge.export.coreai",
            "phantom_edge.runtime.coreai_backend:CoreaiBackend",
            several_tiles=True,
        ),
        Format(
            "onnx",
            "ONNX (onnxruntime)",
            "phantom_edge.export.onnx",
            "phantom_edge.runtime.onnx_backend:OnnxBackend",
            unrounded=(("mode", "lifted"),),
            int8_cache=True,
            several_tiles=True,
            trims=True,
        ),
        Format(
            "onnx-webgpu",
            "ONNX (WebGPU, fp16)",
            "phantom_edge.export.onnx.webgpu",
            "phantom_edge.runtime.onnx_backend:OnnxBackend",
            unrounded=(("mode", "lifted"),),
            several_tiles=True,
            trims=True,
        ),
        Format(
            "onnx-qnn",
            "ONNX (Snapdragon NPU, QNN)",
            "phantom_edge.export.onnx.qnn",
            "phantom_edge.runtime.qnn_backend:QnnBackend",
            unrounded=(("mode", "lifted"),),
            int8_cache=True,
            npu=True,
        ),
    )
}


@dataclass(frozen=True)
class Target:
    """A place to run on, and the defaults that suit it. ``context`` and ``chunk`` are in tokens.

    ``variants`` are pairs of formats: where a user names the first, this target gets the second.
    ``browser`` says that JavaScript fetches the files, each graph's by its own name, and makes the KV cache,
    in float. ``scales`` is the grid of int4's scales (``lpbq``), where the target's kernels want another than
    the recipe's.

    >>> watch = pe.Target("watch", "A watch", format="executorch", recipe="int4", context=512)
    >>> watch.artifact_format().title
    'ExecuTorch (.pte, XNNPACK)'
    """

    name: str
    title: str
    format: str
    recipe: str
    context: int = 2048
    chunk: int = 512
    max_tiles: int = 6
    variants: tuple[tuple[str, str], ...] = ()
    browser: bool = False
    scales: str | None = None

    def artifact_format(self, name: str | None = None) -> Format:
        """The format of that name as this target has it, or its own. Raises as :func:`format_for`."""
        name = name or self.format
        return format_for(dict(self.variants).get(name, name))


BUILT_IN = (
    Target(
        "ios",
        "iPhone and iPad, Core ML on iOS 18 or later",
        "coreml",
        "int4",
        variants=(("executorch", "executorch-coreml"),),
    ),
    Target("android", "Android phones, ExecuTorch with XNNPACK on the CPU", "executorch", "int4"),
    Target("snapdragon", "Snapdragon phones, ONNX on the NPU (QNN)", "onnx-qnn", "int4", chunk=128),
    Target("web", "Browsers, ONNX for onnxruntime-web (WASM)", "onnx", "int8", browser=True),
    Target("webgpu", "Browsers with WebGPU, ONNX in fp16", "onnx-webgpu", "int4", browser=True),
    Target("desktop", "Laptops and edge boxes, ONNX on the CPU", "onnx", "int4"),
    Target("linux-arm64", "64-bit Arm boxes such as a Raspberry Pi, ONNX on the CPU", "onnx", "int4"),
)


def targets() -> dict[str, Target]:
    """Every target by name: the built-in ones and those that installed packages add.

    >>> list(pe.targets())
    ['ios', 'android', 'snapdragon', 'web', 'webgpu', 'desktop', 'linux-arm64']
    """
    return {target.name: target for target in (*BUILT_IN, *map(_load, entry_points(group=ENTRY_POINTS)))}


def _load(point: EntryPoint) -> Target:
    try:
        target = point.load()
    except Exception as error:  # whatever another package's import raises
        raise InputError(
            f"target {point.name!r} of another package does not load ({error}); mend or remove it"
        ) from None
    if not isinstance(target, Target):
        raise InputError(f"target {point.name!r} of another package is no Target; mend or remove it")
    return target


def target_for(name: str) -> Target:
    """The target of that name. Raises :class:`InputError` with the nearest names."""
    return _find(name, targets(), "target")


def format_for(name: str) -> Format:
    """The format of that name. Raises :class:`InputError` with the nearest names."""
    return _find(name, FORMATS, "format")


def _find(name: str, table: dict[str, Entry], kind: str) -> Entry:
    if name in table:
        return table[name]
    raise InputError(f"unknown {kind} {name!r}{did_you_mean(name, table)}; there are {', '.join(table)}")
