"""ONNX for a Snapdragon's NPU, through ONNX Runtime's QNN provider, with the rest for the CPU beside it.

``onnx/npu_{vision_encoder,prefill,decode}.onnx`` have fixed shapes and no operation that the NPU leaves to a
CPU; the embedding, and the decoder where the NPU has only the vision encoder, are the files of a desktop
bundle. All hold one set of integers. ``npu/CHIP/`` has graphs compiled for chips by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from phantom_edge.bundle.manifest import CompiledGraphs, Npu
from phantom_edge.errors import CheckError
from phantom_edge.export import onnx as cpu
from phantom_edge.export import qnn_provider
from phantom_edge.export.base import Exported, ExportOptions, float_tensor, require_counts
from phantom_edge.export.half_constants import FloatConstants, alike
from phantom_edge.export.onnx import build
from phantom_edge.export.onnx.checks import count_ops
from phantom_edge.export.onnx.checks import expected_counts as cpu_counts
from phantom_edge.export.onnx.compare import model_differences
from phantom_edge.export.onnx.ops import OnnxOps
from phantom_edge.export.onnx.qnn import compiled, graphs, memory
from phantom_edge.export.onnx.qnn.checks import expected_counts as npu_counts
from phantom_edge.export.onnx.qnn.fixed import POWERS
from phantom_edge.export.onnx.qnn.readback import (
    NPU,
    graph_paths,
    stored_cache,
    stored_floats,
    stored_ranges,
    stored_weights,
)
from phantom_edge.export.onnx.readback import floats_of
from phantom_edge.export.onnx.writer import DATA, OPSET, GraphBuilder, GraphWriter, Place
from phantom_edge.export.onnx_layout import FOLDER, npu_file
from phantom_edge.export.onnx_model import AGAIN, load_model
from phantom_edge.export.qnn_chips import ARCHITECTURES, chip_for
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.ranges import fingerprint
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.progress import Step
from phantom_edge.system.reading import reading

__all__ = [
    "NOT_STORED",
    "artifact_files",
    "compiled_again",
    "differences",
    "export",
    "graph_files",
    "npu_entry",
    "reference",
    "stored_cache",
    "stored_floats",
    "stored_ranges",
    "stored_weights",
]
CACHE_POWERS: Final = re.compile(rf"cache\.(\d{{1,4}})\.(key|value){re.escape(POWERS)}")
NPU_OPSET: Final = 21
"""The first whose QuantizeLinear gives uint16."""
NOTES: Final = (
    "the NPU's graphs have fixed shapes",
    "attention multiplies in fp16: of a product of two values in uint16 the NPU keeps eight bits of one",
    "vectors and constants are fp32 in the file; the NPU computes with them in fp16 or uint16",
)
HALF_CACHE: Final = "the caller keeps the KV cache, in fp16, and masks with -1e4"
INT8_CACHE: Final = (
    "the caller keeps the KV cache, in int8, and masks with -1e4; a scale per channel was calibrated, and "
    "what lies beyond its range is cut off"
)
MOVED: Final = "in fp16 moved by a power of two, which the model gives; compared by `differences`"
NOT_STORED: Final = {
    f"text_decoder.layers.*.{name}": MOVED
    for name in ("phantom.*", "gate.scale", "gate.basis", "gate.weight", "gate.bias")
}
"""Weights that are compared with the model's by :func:`differences`, and why."""


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that an artifact must agree with: same integers, activations as NPU and CPU round."""
    if model.rounding is None:
        raise CheckError("the model does not say what the NPU runs; report it")
    if not model.rounding.covers("text_decoder"):
        return cpu.reference(model)
    half = FloatConstants(model.spec, model.weights, "fp16")
    weights = {n: half.meaning(n) if _is_phantoms(n) else model.weights[n] for n in model.weights}
    return replace(model, weights=weights)


def _is_phantoms(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NOT_STORED)


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write the NPU's graphs and the CPU's below ``out``, check them, and compile for ``options.chips``.

    ``model.rounding`` says what the NPU runs, and its ranges.

    Raises:
        CheckError: a norm, an attention or a quantised weight is missing, a weight went nowhere, or a graph
            does not compile.
        InputError: the decoder does not fit the NPU's memory, an integer type that ONNX cannot express, or
            no compiler for ``options.chips``.
    """
    memory.check_memory(model, options)
    chips = [chip_for(name) for name in options.chips]
    if chips:
        qnn_provider.require()
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    counts: dict[str, dict[str, int]] = {}
    read: set[str] = set()
    written: dict[bytes, Place] = {}
    for name, path in _paths(model).items():
        progress(f"onnx: {name}")
        with GraphWriter(out / FOLDER, path.stem, written, _opset(name)) as graph:
            ops = _build(name, graph, model, options)
            graph.save()
        counts[name] = count_ops(graph.path)
        npu, short = name.startswith(NPU), name.removeprefix(NPU)
        expect = npu_counts if npu else cpu_counts
        expected = expect(short, model.spec, ops.kinds)
        require_counts(name, counts[name], expected)
        read |= ops.read
    if left := sorted(set(model.weights) - read):
        raise CheckError(f"weights that no graph used: {', '.join(left[:8])}")
    names = graphs.names(model)
    made = {chip.name: compiled.compile_graphs(out, names, chip, progress) for chip in chips}
    return Exported(_files(model), counts, _notes(model), _npu(model, made))


def _paths(model: FoldedModel) -> dict[str, Path]:
    """Where every graph goes, by its name as in :func:`graph_paths`, in the order of writing."""
    names = graphs.names(model)
    files = build.paths_of(build.dtype_of(model), model.spec)
    paths = {NPU + name: Path(FOLDER) / npu_file(name) for name in names}
    paths["token_embedding"] = files["token_embedding"]
    if graphs.DECODE not in names:
        paths["text_decoder"] = files["text_decoder"]
    return paths


def _opset(name: str) -> int:
    return NPU_OPSET if name.startswith(NPU) else OPSET


def _build(name: str, graph: GraphBuilder, model: FoldedModel, options: ExportOptions) -> OnnxOps:
    if not name.startswith(NPU):
        shared = replace(options, share_data=True)
        return build.build_graph(name, graph, model, shared, cpu.operations_for(model))
    graph.metadata = {qnn_provider.METADATA: json.dumps(_switches(model), sort_keys=True)}
    graph.prefix = f"{name.removeprefix(NPU)}_"  # two decoders in one binary are told apart by their nodes
    return graphs.build(name.removeprefix(NPU), graph, model, options)


def _switches(model: FoldedModel) -> dict[str, str]:
    """Options of the provider: what is in fp32 in the file is computed in fp16.

    Where the decoder's int4 weights are on LPBQ's grid, they become LPBQ, which rounds no scale then.
    """
    switches = {qnn_provider.FP16: "1"}
    rounding = model.rounding
    if rounding is not None and rounding.ranges and rounding.covers("text_decoder") and _on_lpbq(model):
        switches[qnn_provider.BLOCKS] = "1"
    return switches


def _on_lpbq(model: FoldedModel) -> bool:
    """Whether every weight of groups that the decoder has is on LPBQ's grid by its recipe."""
    plan = model.recipe.plan(model.module_shapes()) if model.recipe else []
    groups = [a.precision for a in plan if a.precision.group and a.name.startswith("text_decoder.")]
    return bool(groups) and all(precision.scales is ScaleGrid.LPBQ for precision in groups)


def _files(model: FoldedModel) -> dict[str, Path]:
    paths = _paths(model)
    decoder = paths.get("text_decoder") or paths[NPU + graphs.DECODE]
    return {
        "vision_encoder": paths[NPU + graphs.VISION],
        "token_embedding": paths["token_embedding"],
        "text_decoder": decoder,
    }


def _notes(model: FoldedModel) -> tuple[str, ...]:
    if graphs.DECODE in graphs.names(model):
        return (*NOTES, HALF_CACHE if model.kv is None else INT8_CACHE)
    return (
        *NOTES,
        "the decoder runs on the CPU: MatMulNBits rounds its input to int8 per row and weight group",
    )


def _npu(model: FoldedModel, made: Mapping[str, CompiledGraphs]) -> Npu:
    ranges = model.rounding.ranges if model.rounding is not None else {}
    return Npu(
        graphs={name: f"{FOLDER}/{npu_file(name)}" for name in graphs.names(model)},
        activations="uint16" if ranges else "fp16",
        ranges=fingerprint(ranges) if ranges else None,
        architectures=ARCHITECTURES,
        options=_switches(model),
        compiled=made,
    )


def npu_entry(model: FoldedModel, options: ExportOptions) -> Npu:
    """The manifest's entry of the NPU; of compiling, its version and seconds are left empty."""
    chips = [chip_for(name) for name in options.chips]
    return _npu(model, {chip.name: compiled.entry(chip, graphs.names(model), "", 0.0) for chip in chips})


def compiled_again(folder: Path, model: FoldedModel, options: ExportOptions) -> dict[str, bytes]:
    """The decoders that were compiled for chips, compiled again, by path in the bundle."""
    chips = [chip_for(name) for name in options.chips]
    return compiled.decoders_again(folder, graphs.names(model), chips)


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in the graphs is not as :func:`export` writes it, in a few words each; weights' values aside.

    Of the weights, the phantom's constants are compared, too. Raises :class:`InputError` for a graph that is
    missing or damaged.
    """
    lines: list[str] = []
    data: set[str] = set()
    present = graph_paths(folder)
    expected_paths = _paths(model)
    for name in sorted(present.keys() ^ expected_paths.keys()):
        lines.append(f"{name} is {'not to be' if name in present else 'missing'}")
    for name, relative in expected_paths.items():
        if name not in present:
            continue
        graph = GraphBuilder(relative.stem, _opset(name))
        _build(name, graph, model, options)
        data.add(relative.with_suffix(DATA).name)
        path = folder / relative
        lines += model_differences(name, path, graph.model(), data)
        lines += [
            f"{name}: constant {odd}" for odd in _odd_constants(path, model, halves=name.startswith(NPU))
        ]
    return lines + compiled.differences(folder, graphs.names(model), options.chips)


def _odd_constants(path: Path, model: FoldedModel, *, halves: bool) -> list[str]:
    """Constants of the phantom that are not the model's: ``halves`` are in fp16, moved by powers of two."""
    half = FloatConstants(model.spec, model.weights, "fp16")
    odd = []
    with reading(path, AGAIN):
        for name, maker in floats_of(path, load_model(path).graph):
            if _is_phantoms(name) and name in model.weights:
                expected = half.stored(name) if halves else float_tensor(model.weights[name], name)
            elif match := CACHE_POWERS.fullmatch(name):
                expected = half.cache_powers(int(match[1]), match[2])
            else:
                continue
            if not alike(maker.make().numpy(), expected.numpy()):
                odd.append(name)
    return odd


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``; the decoder for one token where the NPU decodes."""
    paths = graph_paths(folder)
    decoder = paths.get("text_decoder") or paths[NPU + graphs.DECODE]
    chosen = {
        "vision_encoder": paths[NPU + graphs.VISION],
        "token_embedding": paths["token_embedding"],
        "text_decoder": decoder,
    }
    return {graph: path.relative_to(folder).as_posix() for graph, path in chosen.items()}


def artifact_files(folder: Path) -> set[str]:
    """The graphs, the files of their data and what was compiled of them, as posix paths below ``folder``."""
    files: set[str] = set()
    for path in graph_paths(folder).values():
        with reading(path, AGAIN):
            tensors = load_model(path).graph.initializer
            data = {entry.value for t in tensors for entry in t.external_data if entry.key == "location"}
            files |= {f"{FOLDER}/{file}" for file in (path.name, *data)}
    return files | compiled.files(folder)
