"""ExecuTorch for Apple devices: one ``model.pte``, its vision encoder in Core ML, the rest in XNNPACK.

The vision encoder is the package that the Core ML exporter writes, inside ExecuTorch's Core ML delegate; the
other two methods are those of every ``.pte``. So a tile can use the GPU or the Neural Engine, and the app
needs one runtime. This is the one exporter that is made of two formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, Exported, ExportOptions, StoredWeights, require_counts
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch import activation_grid as decoder_grid
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights, Maker, Weight, view
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step
from phantom_edge.system.partials import temporary_folder

if TYPE_CHECKING:
    from torch import Tensor

    from phantom_edge.export.executorch.readback import StoredProgram

DELEGATE: Final = "CoreMLBackend"  # ETCoreMLStrings.mm
VISION: Final = "vision_encoder"
PREFIX: Final = f"{VISION}."
INPUT, OUTPUT = "pixel_values", "image_features"
NOTE: Final = (
    "The vision encoder is a Core ML package for iOS 18 inside the file, "
    "with float32 pixels and image tokens."
)


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write ``out/model.pte``: methods, metadata and arguments are those of the plain ExecuTorch export.

    Raises :class:`CheckError` when an attention op, a quantised weight or the delegate is missing.
    """
    from phantom_edge.export.executorch.file import write_file
    from phantom_edge.export.executorch.lower import RecordedWeights, expected_counts
    from phantom_edge.export.executorch.lower import notes as notes_on_xnnpack
    from phantom_edge.export.executorch.program import Buffers
    from phantom_edge.export.executorch.readback import StoredProgram
    from phantom_edge.export.executorch.xnnpack import NamedData
    from phantom_edge.export.executorch_coreml.lower import vision_payload, write_methods

    constants, buffers = NamedData(), Buffers()
    progress(f"writing {VISION} for Core ML")
    payload, counts = vision_payload(model, options)
    weights = RecordedWeights(model.weights)
    recorded = replace(model, weights=weights)
    plans, payloads = write_methods(recorded, options, payload, constants, buffers, progress)
    progress(f"packing {FILE}")
    write_file(out / FILE, plans, buffers, payloads, constants)
    expected = expected_counts(model.spec, weights.kinds)
    stored = StoredProgram.open(out / FILE)
    delegates = [delegate.id for delegate in stored.plan(VISION).delegates]
    vision = {DELEGATE: delegates.count(DELEGATE), "delegates": len(delegates)}
    require_counts(VISION, vision, {DELEGATE: 1, "delegates": 1})
    counted = {VISION: counts | {"delegates": 1}}
    for name in GRAPHS[1:]:
        counted[name] = stored.counts(name)
        require_counts(name, counted[name], expected[name])
    about_xnnpack = notes_on_xnnpack(model.spec, weights.kinds, options)
    notes = (NOTE, *(line for line in about_xnnpack if "vision encoder" not in line))
    return Exported(dict.fromkeys(GRAPHS, Path(FILE)), counted, notes)


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that computes what the file does: Core ML's vision encoder, XNNPACK's decoder."""
    from phantom_edge.export.half_constants import FloatConstants

    stored = FloatConstants(
        model.spec, model.weights, str(model.recipe.float_type) if model.recipe else "fp32"
    )

    def weight_of(name: str) -> Weight:
        weight = model.weights[name]
        if isinstance(weight, QuantizedTensor):
            return _CoremlWeight(weight.values, weight.scales, weight.bits, weight.group)
        return stored.meaning(name)

    makers = view(model.weights, lambda name: name.startswith(PREFIX))
    vision = LazyWeights(
        {n: Maker(maker.shape, partial(weight_of, n)) for n, maker in makers.items()}, keep=True
    )
    weights = view(model.weights, lambda name: not name.startswith(PREFIX)) | view(vision, lambda _: True)
    return replace(model, weights=LazyWeights(weights), activation=_grid)


class _CoremlWeight(QuantizedTensor):
    """A quantised weight whose input is not rounded to integers."""


def _grid(weight: QuantizedTensor) -> ActivationGrid:
    return ActivationGrid.NONE if isinstance(weight, _CoremlWeight) else decoder_grid(weight)


def stored_weights(folder: Path) -> StoredWeights:
    """Quantised weights of ``folder/model.pte`` by module. Raises :class:`InputError` for damage."""
    from phantom_edge.export.coreml.readback import package_weights
    from phantom_edge.export.executorch.readback import StoredProgram

    path = Path(folder) / FILE
    stored = StoredProgram.open(path)
    with vision_package(path) as package:
        vision = package_weights(package)
    readers = {name: partial(vision.__getitem__, name) for name in vision} | dict(stored._gathered())
    matmuls = (m for m in stored.matmuls("text_decoder") if m.bits)
    readers |= {m.key.removesuffix(".weight"): partial(stored.quantized, m) for m in matmuls}
    return StoredWeights(readers)


def stored_floats(folder: Path) -> LazyWeights[Tensor]:
    """Float constants of ``folder/model.pte`` by their names in the folded model, in the type stored.

    RoPE's tables are ``rope.cos`` and ``rope.sin`` [context, head_dim / 2]. Those of the Core ML package are
    read here, others at access. Raises :class:`InputError` for damage.
    """
    from phantom_edge.export.coreml.readback import package_floats
    from phantom_edge.export.executorch.floats import program_floats
    from phantom_edge.export.executorch.readback import StoredProgram

    path = Path(folder) / FILE
    with vision_package(path) as package:
        values = {name: maker.make() for name, maker in package_floats(package).items()}
    makers = {
        name: Maker(tuple(value.shape), partial(values.__getitem__, name)) for name, value in values.items()
    }
    decoder = program_floats(StoredProgram.open(path), GRAPHS[2:])
    return LazyWeights(makers | view(decoder, lambda _: True))


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in ``folder/model.pte`` is not as :func:`export` writes it, in a few words each.

    The program as :func:`phantom_edge.export.executorch.differences` compares it, and the Core ML package in
    it as :func:`phantom_edge.export.coreml.differences` does. Raises :class:`InputError` for damage.
    """
    from phantom_edge.export.executorch_coreml.compare import file_differences

    return file_differences(Path(folder) / FILE, model, options)


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``."""
    return dict.fromkeys(GRAPHS, FILE)


def artifact_files(folder: Path) -> set[str]:
    """The one file."""
    return {FILE}


@contextmanager
def vision_package(path: Path) -> Iterator[Path]:
    """Core ML's package inside ``path``, while the block runs. Raises :class:`InputError` for none."""
    from phantom_edge.export.executorch.readback import StoredProgram
    from phantom_edge.export.executorch_coreml.payload import unpack

    payload = payload_of(StoredProgram.open(path))
    with temporary_folder() as folder:
        yield unpack(payload, folder)


def payload_of(stored: StoredProgram) -> bytes:
    """What the Core ML delegate holds. Raises :class:`InputError` for no such delegate."""
    delegates = stored.plan(VISION).delegates
    if [delegate.id for delegate in delegates] != [DELEGATE]:
        raise InputError(f"{stored.path}: its vision encoder is not Core ML's; export it for --target ios")
    return stored.segment(delegates[0].processed.index)
