"""The methods of a ``.pte`` whose vision encoder is a Core ML package."""

from __future__ import annotations

from typing import Any

import torch
from executorch.exir.backend.compile_spec_schema import CompileSpec

from phantom_edge.export.base import GRAPHS, ExportOptions, require_counts
from phantom_edge.export.coreml.checks import count_ops, expected_counts
from phantom_edge.export.coreml.package import write_package
from phantom_edge.export.coreml.programs import float32_vision_encoder
from phantom_edge.export.executorch import lower
from phantom_edge.export.executorch.program import Buffers, Method, constant_method
from phantom_edge.export.executorch.xnnpack import NamedData, Subgraph
from phantom_edge.export.executorch_coreml import DELEGATE, INPUT, OUTPUT, VISION
from phantom_edge.export.executorch_coreml.payload import MODEL, pack
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step
from phantom_edge.system.partials import temporary_folder


def write_methods(
    model: FoldedModel,
    options: ExportOptions,
    payload: bytes,
    constants: NamedData,
    buffers: Buffers,
    progress: Step,
) -> tuple[list[Any], list[Any]]:
    """The program's methods, metadata among them, and what their delegates hold, in the same order."""
    payloads: list[Any] = []
    plans = [_vision_plan(Method(VISION, constants, buffers), model, payload, payloads)]
    writers = (lower.write_token_embedding, lower.write_text_decoder)
    for name, write in zip(GRAPHS[1:], writers, strict=True):
        progress(f"writing {name}")
        method = Method(name, constants, buffers)
        output = write(method, model, options)
        plans.append(method.finish(output, payloads))
    plans += [constant_method(name, value) for name, value in lower.metadata(options).items()]
    return plans, payloads


def vision_payload(model: FoldedModel, options: ExportOptions) -> tuple[bytes, dict[str, int]]:
    """The delegate's payload, and what was counted in its package."""
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
