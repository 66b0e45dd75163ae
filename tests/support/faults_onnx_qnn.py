"""Faults in Snapdragon bundles: in the NPU's graphs, in the ranges of its values, in compiled files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from faults import Fault, edit_json
from onnx import numpy_helper

from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.export.onnx.qnn import stored_ranges
from phantom_edge.export.onnx.qnn.compiled import compile_graphs
from phantom_edge.export.onnx.stored import load_array
from phantom_edge.export.onnx_layout import FOLDER, npu_file
from phantom_edge.export.qnn_chips import CHIPS
from phantom_edge.numbers.ranges import fingerprint
from phantom_edge.progress import no_step

DECLARED: Final = "declarations that differ"
FIT: Final = "activation ranges that do not fit"
INTEGERS: Final = "integers that differ"
RANGES: Final = "activation ranges that differ"
LAYER: Final = "text_decoder.layers.1"
Change = Callable[[onnx.GraphProto, Path], None]
VISION_GRAPH: Final = "vision_encoder"
VISION, ALL, COMPILED = "snapdragon", "snapdragon:all", "snapdragon:compiled"
INT8_CACHE: Final = "snapdragon:int8-cache"


def edited(graph: str, change: Change) -> Callable[[Path], None]:
    """A graph of the NPU with ``change`` made to it, which is also given the file's path."""

    def inject(folder: Path) -> None:
        path = folder / FOLDER / npu_file(graph)
        model = onnx.load(path, load_external_data=False)
        change(model.graph, path)
        onnx.save_model(model, path)

    return inject


def both(change: Change) -> Callable[[Path], None]:
    """The same in both decoders."""

    def inject(folder: Path) -> None:
        for name in ("prefill", "decode"):
            edited(name, change)(folder)

    return inject


def constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Another value of a constant, in the graph itself."""

    def make(graph: onnx.GraphProto, path: Path) -> None:
        tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
        array = load_array(path, tensor).copy()
        changed = np.array(change(array)).astype(array.dtype)  # still without dimension, where it has none
        tensor.CopyFrom(numpy_helper.from_array(changed, name))

    return make


def attribute(op: str, name: str, value: float) -> Change:
    def change(graph: onnx.GraphProto, _: Path) -> None:
        node = next(node for node in graph.node if node.op_type == op)
        next(a for a in node.attribute if a.name == name).CopyFrom(onnx.helper.make_attribute(name, value))

    return change


def other_op(old: str, new: str) -> Change:
    def change(graph: onnx.GraphProto, _: Path) -> None:
        next(node for node in graph.node if node.op_type == old).op_type = new

    return change


def site(graph: str, name: str, factor: float, *, believed: bool = False) -> Callable[[Path], None]:
    """The range of one site, ``factor`` times as wide; ``believed`` writes its hash into the manifest."""

    def inject(folder: Path) -> None:
        change = constant(f"{name}.grid_scale", lambda scale: scale * np.float32(factor))
        (both if graph == "decoder" else lambda made: edited(graph, made))(change)(folder)
        if believed:
            recorded = fingerprint(stored_ranges(folder))
            edit_json(folder / MANIFEST, lambda m: m["npu"].update(ranges=recorded))

    return inject


def without_phantom(graph: onnx.GraphProto, path: Path) -> None:
    """The factors of all phantom constants are zero."""
    for tensor in list(graph.initializer):
        if ".phantom." in tensor.name and tensor.name.endswith((".scale", ".basis")):
            constant(tensor.name, np.zeros_like)(graph, path)


def no_context(chip: str) -> Callable[[Path], None]:
    """What was compiled for a chip is something else."""
    return lambda folder: (folder / f"npu/{chip}/vision_encoder_qnn.bin").write_bytes(b"none" * 1000)


def context_of_other_weights(folder: Path) -> None:
    """The second chip's binary of another graph, compiled as it should be."""
    change = constant(f"{FC1}.weight.scales", lambda scales: scales * 1.5)
    graphs = folder / FOLDER
    kept = {path.name: path.read_bytes() for path in graphs.glob("npu_vision_encoder.*")}
    edited(VISION_GRAPH, change)(folder)
    for path in (folder / "npu/sm8850").glob("vision_encoder*"):
        path.unlink()  # the compiler does not write over a file
    compile_graphs(folder, [VISION_GRAPH], CHIPS["SM8850"], no_step)
    for name, data in kept.items():
        (graphs / name).write_bytes(data)


def of_vision(change: Change) -> Callable[[Path], None]:
    return edited(VISION_GRAPH, change)


def of_decode(change: Change) -> Callable[[Path], None]:
    return edited("decode", change)


def _one_integer(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size).reshape(values.shape) == 7, values + 3, values)


def _attention_scale(graph: onnx.GraphProto, path: Path) -> None:
    names = [tensor.name for tensor in graph.initializer if tensor.name.startswith("number_0.")]
    constant(next(name for name in names if name != "number_0.5"), lambda scale: scale * 1.1)(graph, path)


def _options(folder: Path) -> None:
    path = folder / FOLDER / npu_file("vision_encoder")
    model = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(model, {"qnn_provider_options": '{"dump_json_qnn_graph": "1"}'})
    onnx.save_model(model, path)


def _other_option(folder: Path) -> None:
    options = {"enable_htp_fp16_precision": "0"}
    edit_json(folder / MANIFEST, lambda manifest: manifest["npu"].update(options=options))


def _other_number(folder: Path) -> None:
    edit_json(folder / MANIFEST, lambda manifest: manifest["npu"]["compiled"]["SM8850"].update(model=57))


def _unmasked(graph: onnx.GraphProto, _: Path) -> None:
    """The mask is added to the softmax and no longer to the scores."""
    softmax = next(node for node in graph.node if node.op_type == "Softmax" and "Add" in node.input[0])
    added = next(node for node in graph.node if softmax.input[0] in node.output)
    softmax.input[0] = added.input[0]


NORM, GELU = "vision_encoder.layers.1.norm.0", "vision_encoder.layers.0.gelu.0"
FC1, INPUT, DECODERS = "vision_encoder.layers.0.fc1", f"{LAYER}.down.input", "decoder"
_flipped = constant(f"{LAYER}.down.weight.values", lambda values: values ^ 1)
_cache_scale = constant("cache.1.key.scales", lambda scales: scales * 2)
_cache_powers = constant("cache.1.value.powers", lambda powers: powers * 2)
_tripled = constant(f"{INPUT}.grid_scale", lambda scale: scale * 3)
FAULTS = [
    Fault("a norm's epsilon", VISION, of_vision(attribute("LayerNormalization", "epsilon", 0.1)), DECLARED),
    Fault("a GELU became a sigmoid", VISION, of_vision(other_op("Gelu", "Sigmoid")), DECLARED),
    Fault("an integer", VISION, of_vision(constant(f"{FC1}.weight.values", _one_integer)), INTEGERS),
    Fault("a scale", VISION, of_vision(constant(f"{FC1}.weight.scales", lambda a: a * 2)), INTEGERS),
    Fault("a range that is not the manifest's", VISION, site(VISION_GRAPH, NORM, 1.01), RANGES),
    Fault("a range too small", VISION, site(VISION_GRAPH, NORM, 0.2, believed=True), FIT),
    Fault("a range far too wide", VISION, site(VISION_GRAPH, GELU, 200, believed=True), FIT),
    Fault("the scale of attention", VISION, of_vision(_attention_scale), "image tokens"),
    Fault("other options of the provider", VISION, _options, "runs"),
    Fault("a manifest with another option", VISION, _other_option, "manifest fields"),
    Fault("a manifest with another chip's number", COMPILED, _other_number, "manifest fields"),
    Fault("no phantom dimension", ALL, both(without_phantom), DECLARED),
    Fault("no phantom dimension for one token", ALL, of_decode(without_phantom), DECLARED),
    Fault("a mask that is not added", ALL, edited("prefill", _unmasked), DECLARED),
    Fault("an integer of one decoder", ALL, of_decode(_flipped), "differ"),
    Fault("a range of one decoder", ALL, of_decode(_tripled), RANGES),
    Fault("a range too small in both decoders", ALL, site(DECODERS, INPUT, 0.1, believed=True), FIT),
    Fault("a sine of the other sign", ALL, of_decode(other_op("Neg", "Identity")), DECLARED),
    Fault("a scale of one decoder's cache", INT8_CACHE, of_decode(_cache_scale), "differ"),
    Fault("scales of the cache", INT8_CACHE, both(_cache_scale), "cache scales that differ"),
    Fault("a power of two of the cache's", INT8_CACHE, both(_cache_powers), DECLARED),
    Fault("another step of the cache", INT8_CACHE, both(constant("cache.step", lambda a: a * 2)), "differ"),
    Fault("a compiled vision encoder that is none", COMPILED, no_context("sm8650"), "runs"),
    Fault("another chip's that is none", COMPILED, no_context("sm8850"), "image tokens as SM8850"),
    Fault("another chip's of other weights", COMPILED, context_of_other_weights, "image tokens as SM8850"),
]  # fmt: skip
