"""The three programs: their inputs, states and outputs around the graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phantom_edge.export.base import GRAPHS, VISION, ExportOptions, vision_graphs
from phantom_edge.export.coreml.decoder import DecoderOps, cache_names
from phantom_edge.export.coreml.mil import Function, Program, Var, get_new_symbol, mb, new_program, types
from phantom_edge.export.coreml.ops import NUMPY, MilOps, Shared
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel

MAIN = "main"
"""The function that a package runs unless another is named."""
MIL = {"fp16": types.fp16, "fp32": types.fp32}


@dataclass(frozen=True)
class BuiltProgram:
    """A MIL program, the input types that carry its flexible shapes, and its weights' names."""

    program: Program
    inputs: list[Any]
    read: set[str]


def build(graph: str, model: FoldedModel, options: ExportOptions) -> BuiltProgram:
    """The program of one of :data:`GRAPHS`."""
    builders = (_vision_encoder, _token_embedding, _text_decoder)
    return dict(zip(GRAPHS, builders, strict=True))[graph](model, options)


def _ops(model: FoldedModel, options: ExportOptions, shared: Shared | None = None) -> Any:
    """Operations of the graphs without a cache; :class:`DecoderOps` has the decoder's, too."""
    return MilOps(model.spec, model.weights, options.float_type, shared)


def _vision_encoder(model: FoldedModel, options: ExportOptions) -> BuiltProgram:
    """``main``, and a function for each further size of tiles, over one set of weights."""
    shared: Shared = {}
    program, read = new_program(), set()
    for graph, size in vision_graphs(model.spec).items():
        function, used = _vision(model.at_tile(size), options, options.float_type, shared)
        program.add_function(MAIN if graph == VISION else graph, function)
        read |= used
    program.export_as_multifunction = len(program.functions) > 1
    return BuiltProgram(program, [], read)


def float32_vision_encoder(model: FoldedModel, options: ExportOptions) -> BuiltProgram:
    """The vision encoder with float32 pixels and image tokens, whatever type it works in."""
    program = new_program()
    function, read = _vision(model, options, "fp32", {})
    program.add_function(MAIN, function)
    return BuiltProgram(program, [], read)


def _vision(
    model: FoldedModel, options: ExportOptions, outside: str, shared: Shared
) -> tuple[Function, set[str]]:
    """The vision encoder with pixels and image tokens of the type ``outside``, and its weights' names."""
    size, ops = model.config.tile_size, _ops(model, options, shared)
    pixels = mb.placeholder(shape=(1, 3, size, size), dtype=MIL[outside])

    def body(pixel_values: Var) -> Var:
        if options.float_type == outside:
            return graphs.vision_encoder(ops, model.spec, pixel_values)
        pixel_values = mb.cast(x=pixel_values, dtype=options.float_type)
        return mb.cast(x=graphs.vision_encoder(ops, model.spec, pixel_values), dtype=outside)

    return _function({"pixel_values": pixels}, body, "image_features"), ops.constants.read


def _token_embedding(model: FoldedModel, options: ExportOptions) -> BuiltProgram:
    ops = _ops(model, options)
    ids = mb.placeholder(shape=(1, get_new_symbol()), dtype=types.int32)

    def body(input_ids: Var) -> Var:
        return graphs.token_embedding(ops, input_ids)

    flexible = [_flexible("input_ids", (1, None), np.int32, options.chunk)]
    return BuiltProgram(_program({"input_ids": ids}, body, "inputs_embeds"), flexible, ops.constants.read)


def _text_decoder(model: FoldedModel, options: ExportOptions) -> BuiltProgram:
    """``main`` for any number of steps, and the same at the two fixed ones that an app has."""
    hidden = model.config.decoder.hidden_size
    shared: Shared = {}
    program, read = new_program(), set()
    for name, steps in {MAIN: get_new_symbol(), "prefill": options.chunk, "decode": 1}.items():
        function, used = _decoder_function(model, options, steps, shared)
        program.add_function(name, function)
        read |= used
    program.export_as_multifunction = True
    flexible = [
        _flexible("inputs_embeds", (1, None, hidden), NUMPY[options.float_type], options.chunk),
        _flexible("position_ids", (None,), np.int32, options.chunk),
    ]
    return BuiltProgram(program, flexible, read)


def _decoder_function(
    model: FoldedModel, options: ExportOptions, steps: Any, shared: Shared
) -> tuple[Function, set[str]]:
    """The decoder over ``steps`` positions, a number or a symbol, and the names of its weights."""
    spec, d = model.spec, model.config.decoder
    inputs = {
        "inputs_embeds": mb.placeholder(shape=(1, steps, d.hidden_size), dtype=MIL[options.float_type]),
        "position_ids": mb.placeholder(shape=(steps,), dtype=types.int32),
    }
    for n in range(d.layers):
        shape = (1, d.kv_heads, options.context, spec.width(n))
        for name in cache_names(n):
            inputs[name] = mb.state_tensor_placeholder(shape=shape, dtype=types.fp16)
    read: set[str] = set()

    def body(inputs_embeds: Var, position_ids: Var, **caches: Var) -> Var:
        ops = DecoderOps(model, options, position_ids, caches, shared)
        logits = graphs.text_decoder(ops, spec, inputs_embeds)
        read.update(ops.constants.read)
        return logits

    return _function(inputs, body, "logits"), read


def _program(inputs: dict[str, Any], body: Callable[..., Var], output: str) -> Program:
    """A program of one function."""
    program = new_program()
    program.add_function(MAIN, _function(inputs, body, output))
    return program


def _function(inputs: dict[str, Any], body: Callable[..., Var], output: str) -> Function:
    """A function over named inputs; ``body`` gives its only output."""
    with Function(inputs, coremltools().target.iOS18) as function:
        result = body(**function.inputs)
        result.set_name(output)
        function.set_outputs([result])
    return function


def _flexible(name: str, shape: tuple[int | None, ...], dtype: type, chunk: int) -> Any:
    """An input type whose open dimension takes 1..chunk."""
    ct = coremltools()
    dims = tuple(ct.RangeDim(1, chunk, default=1) if size is None else size for size in shape)
    return ct.TensorType(name=name, shape=ct.Shape(dims), dtype=dtype)
