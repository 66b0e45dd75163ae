"""The three graphs of a folded model in one ExecuTorch program, and the check of what was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from executorch.exir import schema

from phantom_edge.errors import InputError
from phantom_edge.export.base import (
    GRAPHS,
    VISION,
    Exported,
    ExportOptions,
    all_graphs,
    require_counts,
    vision_graphs,
)
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.file import write_file
from phantom_edge.export.executorch.ops import XnnOps, dynamic
from phantom_edge.export.executorch.program import Buffers, Method, constant_method
from phantom_edge.export.executorch.readback import StoredProgram
from phantom_edge.export.executorch.xnnpack import NamedData, Value
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import Weights
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step


def write_program(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write ``out/model.pte`` and count in the file what must be there; see :func:`..export`."""
    if model.kv is not None:
        raise InputError("attention over an int8 KV cache is slower here than over fp32; leave it in float")
    constants, buffers = NamedData(), Buffers()
    weights = RecordedWeights(model.weights)
    plans, payloads = write_methods(replace(model, weights=weights), options, constants, buffers, progress)
    progress(f"packing {FILE}")
    write_file(out / FILE, plans, buffers, payloads, constants)
    counts = _checked_counts(expected_counts(model.spec, weights.kinds), out / FILE)
    files = dict.fromkeys(all_graphs(model.spec), Path(FILE))
    return Exported(files, counts, notes(model.spec, weights.kinds, options))


def write_methods(
    model: FoldedModel, options: ExportOptions, constants: NamedData, buffers: Buffers, progress: Step
) -> tuple[list[schema.ExecutionPlan], list[schema.BackendDelegateInlineData]]:
    """The program's methods, metadata among them, and what their delegates hold, in the same order."""
    payloads: list[schema.BackendDelegateInlineData] = []
    plans = []
    writers = dict(
        zip(GRAPHS, (write_vision_encoder, write_token_embedding, write_text_decoder), strict=True)
    )
    for name, tile_size in all_graphs(model.spec).items():
        progress(f"writing {name}")
        method = Method(name, constants, buffers)
        output = writers.get(name, write_vision_encoder)(method, model.at_tile(tile_size), options)
        plans.append(method.finish(output, payloads))
    plans += [constant_method(name, value) for name, value in metadata(options).items()]
    return plans, payloads


def metadata(options: ExportOptions) -> dict[str, bool | int | list[int]]:
    """What ExecuTorch's runners read, by method name (``llm_runner_helper.cpp``, ``constants.h``)."""
    return {
        "get_max_seq_len": options.chunk,
        "get_max_context_len": options.context,
        "get_eos_ids": list(options.end_ids),
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }


class RecordedWeights(Mapping[str, Weight]):
    """Weights that remember the type of each that was read: made on demand, they are read once."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self.kinds: dict[str, str] = {}

    def __getitem__(self, name: str) -> Weight:
        weight = self.weights[name]
        self.kinds[name] = f"int{weight.bits}" if isinstance(weight, QuantizedTensor) else str(weight.dtype)
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def expected_counts(spec: FoldedSpec, kinds: dict[str, str]) -> dict[str, dict[str, int]]:
    """What each method must hold (see :meth:`StoredProgram.counts`), from the weights that were read."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in GRAPHS}
    for name, kind in kinds.items():
        counts[name.split(".")[0]][kind] += 1
    integers = {graph: {kind: ops[kind] for kind in ("int4", "int8")} for graph, ops in counts.items()}
    layers, kv_heads = spec.config.decoder.layers, spec.config.decoder.kv_heads
    vision = {**integers[VISION], "wrong input": 0, "delegates": 1}
    return {
        **dict.fromkeys(vision_graphs(spec), vision),
        "token_embedding": integers["token_embedding"],
        "text_decoder": {
            **integers["text_decoder"],
            "wrong input": 0,
            "delegates": layers + 2,
            "attention": layers * kv_heads,
        },
    }


def notes(spec: FoldedSpec, kinds: dict[str, str], options: ExportOptions) -> tuple[str, ...]:
    """Sentences for the report: where the file's arithmetic or storage differs from the model's."""
    lines = [
        "The KV cache and all float arithmetic are fp32.",
        "Attention is written as matmuls and a softmax, which XNNPACK runs faster than the fused op; in the "
        "decoder, where it reads the cache, it is counted once per key-value head.",
    ]
    if {"int4", "int8"} & set(kinds.values()):
        lines.append("XNNPACK rounds the input of every integer matmul to int8 per token while it runs.")
    if "torch.float16" in kinds.values():
        lines.append(
            "Float matrices are stored as fp16 and expanded to fp32 when the file is loaded: exact, but "
            "loaded memory is that of fp32. XNNPACK's fp16 arithmetic has no GELU and was not used."
        )
    if spec.config.decoder.tied_head and kinds["token_embedding.weight"] != kinds["text_decoder.head.weight"]:
        lines.append("The tied head and the embedding are of different types, so both are stored.")
    if options.chunk < spec.config.tokens_per_tile:
        lines.append(
            f"A chunk of {options.chunk} is below the {spec.config.tokens_per_tile} tokens of a tile: "
            "ExecuTorch's stock multimodal runner, which passes a tile in one call, cannot use this file; "
            "the toolkit's session can."
        )
    return tuple(lines)


def _checked_counts(expected: dict[str, dict[str, int]], path: Path) -> dict[str, dict[str, int]]:
    stored = StoredProgram.open(path)
    counts = {name: stored.counts(name) for name in expected}
    for graph, ops in counts.items():
        require_counts(graph, ops, expected[graph])
    return counts


def _ops(method: Method, model: FoldedModel, options: ExportOptions) -> XnnOps:
    return XnnOps(method, model.spec, model.weights, options.context)


def write_vision_encoder(method: Method, model: FoldedModel, options: ExportOptions) -> Value:
    side = model.config.tile_size
    ops = _ops(method, model, options)
    output: Value = graphs.vision_encoder(ops, model.spec, method.input((1, 3, side, side), torch.float32))
    ops.finish(output)
    return output


def write_token_embedding(method: Method, model: FoldedModel, options: ExportOptions) -> Value:
    ids = method.input(dynamic((1, options.chunk), 1), torch.int64)
    rows: Value = graphs.token_embedding(_ops(method, model, options), ids)
    return rows


def write_text_decoder(method: Method, model: FoldedModel, options: ExportOptions) -> Value:
    hidden = model.config.decoder.hidden_size
    embeds = method.input(dynamic((1, options.chunk, hidden), 1), torch.float32)
    positions = method.input(dynamic((options.chunk,), 0), torch.int64)
    ops = _ops(method, model, options)
    ops.begin_decoder(embeds, positions)
    output: Value = graphs.text_decoder(ops, model.spec, embeds)
    ops.finish(output)
    return output
