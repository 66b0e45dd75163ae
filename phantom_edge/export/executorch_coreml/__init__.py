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
from typing import TYPE_CHECKING, Any, Final

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, Exported, ExportOptions, StoredWeights, require_counts
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch import activation_grid as decoder_grid
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights, Maker, Weight, view
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.partials import temporary_folder
from phantom_edge.progress import Step

if TYPE_CHECKING:
    from phantom_edge.export.executorch.program import Method

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
    from phantom_edge.export.executorch import lower
    from phantom_edge.export.executorch.file import write_file
    from phantom_edge.export.executorch.program import Buffers, Method, constant_method
    from phantom_edge.export.executorch.readback import StoredProgram
    from phantom_edge.export.executorch.xnnpack import NamedData

    constants, buffers = NamedData(), Buffers()
    payloads: list[Any] = []
    progress(f"writing {VISION} for Core ML")
    payload, counts = _vision_payload(model, options)
    plans = [_vision_plan(Method(VISION, constants, buffers), model, payload, payloads)]
    weights = lower.RecordedWeights(model.weights)
    recorded = replace(model, weights=weights)
    writers = (lower.write_token_embedding, lower.write_text_decoder)
    for name, write in zip(GRAPHS[1:], writers, strict=True):
        progress(f"writing {name}")
        method = Method(name, constants, buffers)
        output = write(method, recorded, options)
        plans.append(method.finish(output, payloads))
    plans += [constant_method(name, value) for name, value in lower.metadata(options).items()]
    progress(f"packing {FILE}")
    write_file(out / FILE, plans, buffers, payloads, constants)
    expected = lower.expected_counts(model.spec, weights.kinds)
    stored = StoredProgram.open(out / FILE)
    delegates = [delegate.id for delegate in stored.plan(VISION).delegates]
    vision = {DELEGATE: delegates.count(DELEGATE), "delegates": len(delegates)}
    require_counts(VISION, vision, {DELEGATE: 1, "delegates": 1})
    counted = {VISION: counts | {"delegates": 1}}
    for name in GRAPHS[1:]:
        counted[name] = stored.counts(name)
        require_counts(name, counted[name], expected[name])
    about_xnnpack = lower.notes(model.spec, weights.kinds, options)
    notes = (NOTE, *(line for line in about_xnnpack if "vision encoder" not in line))
    return Exported(dict.fromkeys(GRAPHS, Path(FILE)), counted, notes)


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that computes what the file does: Core ML's vision encoder, XNNPACK's decoder."""
    from phantom_edge.export.coreml.constants import FloatConstants

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


@contextmanager
def vision_package(path: Path) -> Iterator[Path]:
    """Core ML's package inside ``path``, while the block runs. Raises :class:`InputError` for none."""
    from phantom_edge.export.executorch.readback import StoredProgram
    from phantom_edge.export.executorch_coreml.payload import unpack

    stored = StoredProgram.open(path)
    delegates = stored.plan(VISION).delegates
    if [delegate.id for delegate in delegates] != [DELEGATE]:
        raise InputError(f"{path}: its vision encoder is not Core ML's; export it for --target ios")
    with temporary_folder() as folder:
        yield unpack(stored.segment(delegates[0].processed.index), folder)


def _vision_payload(model: FoldedModel, options: ExportOptions) -> tuple[bytes, dict[str, int]]:
    """The delegate's payload, and what was counted in its package."""
    from phantom_edge.export.coreml.checks import count_ops, expected_counts
    from phantom_edge.export.coreml.package import write_package
    from phantom_edge.export.coreml.programs import float32_vision_encoder
    from phantom_edge.export.executorch_coreml.payload import MODEL, pack

    with temporary_folder() as scratch:
        folder = scratch / "payload"
        folder.mkdir()
        built = float32_vision_encoder(model, options)
        package = write_package(built, VISION, scratch).rename(folder / MODEL)
        counts = count_ops(package)
        integers = [w for name in built.read if isinstance(w := model.weights[name], QuantizedTensor)]
        casts = 0 if options.float_type == "fp32" else 2
        expected = expected_counts(VISION, model.spec, integers, options.float_type) | {"cast": casts}
        require_counts(VISION, counts, expected)
        return pack(folder, [INPUT], [OUTPUT]), counts


def _vision_plan(method: Method, model: FoldedModel, payload: bytes, payloads: list[Any]) -> Any:
    """The method: its input straight into the delegate, and its output straight out of it."""
    import torch
    from executorch.exir.backend.compile_spec_schema import CompileSpec

    from phantom_edge.export.executorch.xnnpack import Subgraph

    class Package(Subgraph):
        """A delegate that is not written node by node."""

        def serialize(self) -> bytes:
            return payload

    config = model.config
    package = Package(method.constants)
    pixels = method.input((1, 3, config.tile_size, config.tile_size), torch.float32)
    package.inputs.append(pixels)
    features = package._value((1, config.tokens_per_tile, config.decoder.hidden_size))
    method.slot(features)
    method.delegate(package)
    plan = method.finish(features, payloads)
    (delegate,) = plan.delegates
    delegate.id, delegate.compile_specs = DELEGATE, [CompileSpec("compute_units", b"all")]
    return plan
