"""Faults in ONNX bundles: in graphs, in their constants, and in the small files beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from faults import Fault, edit_json
from onnx import NodeProto, TensorProto, helper, numpy_helper

from phantom_edge.export.onnx.stored import load_array
from phantom_edge.export.onnx_layout import find

DECODER, EMBEDDING, VISION = "text_decoder", "token_embedding", "vision_encoder"
DECLARED, FLOATS, INTEGERS = "declarations that differ", "floats that differ", "integers that differ"
BESIDE, STRAY = "files beside the graphs that differ", "files that no check reads"
DIFFER: Final = "that differ"
"""Where a reader may refuse the operation before the declarations are compared."""
LAYER: Final = "text_decoder.layers.1"


# --- graphs
def edited(graph: str, change: Callable[[onnx.GraphProto], None]) -> Callable[[Path], None]:
    """A graph with ``change`` made to it; its data stay."""

    def inject(folder: Path) -> None:
        path = find(folder, graph)
        model = onnx.load(path, load_external_data=False)
        change(model.graph)
        onnx.save_model(model, path)

    return inject


def nodes(graph: onnx.GraphProto, op: str) -> list[NodeProto]:
    """All nodes of one operation, in their order."""
    return [node for node in graph.node if node.op_type == op]


def set_attribute(graph: onnx.GraphProto, *, op: str, name: str, value: Any, index: int = 0) -> None:
    """Give one node of an operation an attribute, or another value of it."""
    node = nodes(graph, op)[index]
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def attribute(op: str, name: str, value: Any, graph: str = DECODER, index: int = 0) -> Callable[[Path], None]:
    return edited(graph, partial(set_attribute, op=op, name=name, value=value, index=index))


def other_op(old: str, new: str, graph: str = DECODER, domain: str = "") -> Callable[[Path], None]:
    """The last node of an operation as another."""

    def change(proto: onnx.GraphProto) -> None:
        node = nodes(proto, old)[-1]
        node.op_type, node.domain = new, domain

    return edited(graph, change)


def silu_becomes_sigmoid(graph: onnx.GraphProto) -> None:
    """In the first gated MLP: its gate without the factor x."""
    sigmoids = {node.output[0]: node.input[0] for node in nodes(graph, "Sigmoid")}
    silu = next(n for n in nodes(graph, "Mul") if sigmoids.get(n.input[1]) == n.input[0])
    product = next(n for n in graph.node if silu.output[0] in n.input)
    product.input[0] = silu.input[1]


def one_position_short(graph: onnx.GraphProto) -> None:
    """The attention's lengths begin one position too late."""
    graph.initializer.append(helper.make_tensor("two", TensorProto.INT64, [1], [2]))
    nodes(graph, "Sub")[0].input[1] = "two"


def swapped_halves(graph: onnx.GraphProto) -> None:
    """Key and value of the last attention change places."""
    inputs = nodes(graph, "GroupQueryAttention")[-1].input
    inputs[1], inputs[2] = inputs[2], inputs[1]


def swapped_tables(graph: onnx.GraphProto) -> None:
    inputs = nodes(graph, "RotaryEmbedding")[-1].input
    inputs[2], inputs[3] = inputs[3], inputs[2]


def swapped_weights(graph: onnx.GraphProto) -> None:
    """Two layers read each other's norms."""
    names = [f"text_decoder.layers.{n}.norm2.weight" for n in (0, 1)]
    readers = {n: next(node for node in graph.node if n in node.input) for n in names}
    for name, other in zip(names, reversed(names), strict=True):
        readers[name].input[1] = other


def dropped_bias(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if f"{LAYER}.qkv.bias" in node.input)
    if node.op_type == "Add":
        node.op_type = "Identity"
        del node.input[1]
    else:
        del node.input[3:]


def dropped_phantom(graph: onnx.GraphProto) -> None:
    """The gate's half of a layer is not added: z is taken for its blend."""
    node = next(node for node in graph.node if f"{LAYER}.gate.scale" in node.input)
    node.input[1] = "text_decoder.layers.0.gate.scale"


def next_to_last(graph: onnx.GraphProto) -> None:
    """Logits of the position before the last where a call has several."""
    (constant,) = (tensor for tensor in graph.initializer if tensor.name == "ints_-1")
    constant.raw_data = np.array([-2], dtype=np.int64).tobytes()


def zero_point(graph: onnx.GraphProto) -> None:
    node = nodes(graph, "DynamicQuantizeMatMul")[-1]
    graph.initializer.append(helper.make_tensor("one", TensorProto.INT8, [], [1]))
    node.input[:] = [*node.input[:3], "one", *node.input[4:]]


def other_scales(graph: onnx.GraphProto) -> None:
    """A matmul reads the scales of another."""
    first, second = nodes(graph, "DynamicQuantizeMatMul")[-2:]
    first.input[2], second.input[2] = second.input[2], first.input[2]


def renamed_output(graph: onnx.GraphProto) -> None:
    graph.output[1].type.tensor_type.shape.dim[3].dim_value += 1


# --- constants
def changed(graph: str, name: str, change: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    """A constant whose values ``change`` alters in place; all else stays where it is."""

    def inject(folder: Path) -> None:
        path = find(folder, graph)
        model = onnx.load(path, load_external_data=False)
        (tensor,) = (one for one in model.graph.initializer if one.name == name)
        array = load_array(path, tensor).copy()
        change(array)
        if tensor.data_location != TensorProto.EXTERNAL:
            tensor.raw_data = array.tobytes()
            onnx.save_model(model, path)
            return
        where = {entry.key: entry.value for entry in tensor.external_data}
        with open(path.parent / where["location"], "r+b") as file:
            file.seek(int(where["offset"]))
            file.write(array.tobytes())

    return inject


def moved(graph: str, name: str, other: str) -> Callable[[Path], None]:
    """A constant in the data file of another graph, which a browser does not fetch for this one."""

    def inject(folder: Path) -> None:
        path, data = find(folder, graph), find(folder, other).with_suffix(".onnx_data")
        model = onnx.load(path, load_external_data=False)
        (tensor,) = (one for one in model.graph.initializer if one.name == name)
        array = load_array(path, tensor)
        where = {"location": data.name, "offset": data.stat().st_size, "length": array.nbytes}
        with open(data, "ab") as file:
            file.write(array.tobytes())
        del tensor.external_data[:]
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        onnx.save_model(model, path)

    return inject


def fill(value: float, rows: slice | int = slice(None)) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[rows] = value

    return change


def scaled(factor: float, rows: slice | int = slice(None)) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[rows] *= np.array(factor, array.dtype)

    return change


def flip_one(array: np.ndarray) -> None:
    """The lowest bit of the last value."""
    array.reshape(-1).view(np.uint8)[-array.itemsize] ^= 1


def swap_rows(array: np.ndarray) -> None:
    array[[-1, -2]] = array[[-2, -1]]


# --- files
def json_edit(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, change)


def put(name: str, content: bytes = b"{}\n") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(graph: str, suffix: str) -> Callable[[Path], None]:
    """The second half of a graph's file, or of its data, is lost."""

    def inject(folder: Path) -> None:
        path = find(folder, graph).with_suffix(suffix)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return inject


def small_graph(name: str, change: Callable[[onnx.GraphProto], None]) -> Callable[[Path], None]:
    def inject(folder: Path) -> None:
        model = onnx.load(folder / name, load_external_data=False)
        change(model.graph)
        onnx.save_model(model, folder / name)

    return inject


def norm_removed(graph: onnx.GraphProto) -> None:
    node = nodes(graph, "LayerNormalization")[0]
    node.op_type = "Identity"
    del node.input[1:], node.attribute[:]


def other_image_token(graph: onnx.GraphProto) -> None:
    (constant,) = (tensor for tensor in graph.initializer if tensor.name == "image_token_id")
    other = int(numpy_helper.to_array(constant)) + 1
    constant.CopyFrom(helper.make_tensor("image_token_id", TensorProto.INT64, [], [other]))


def lost_line_break(config: dict) -> None:
    config["chat_template"] = config["chat_template"].replace("\\n", "", 1)


def further_end(config: dict) -> None:
    config.get("model", config)["eos_token_id"].append(1)


def next_image_token(config: dict) -> None:
    config["image_token_index"] += 1


def set_key(key: str, value: Any) -> Callable[[dict], None]:
    return lambda config: config.update({key: value})


ATTENTION: Final = "GroupQueryAttention"
NORM: Final = "SimplifiedLayerNormalization"
GENAI_VISION, GENAI_EMBEDDING = "onnx/genai_vision.onnx", "onnx/genai_embedding.onnx"

FAULTS: Final = (
    # Graphs that run.
    Fault("mask one position short", "desktop", edited(DECODER, one_position_short), DECLARED),
    Fault("a window of 150", "desktop", attribute(ATTENTION, "local_window_size", 150, index=-1), DIFFER),
    Fault("another attention scale", "desktop", attribute(ATTENTION, "scale", 0.177, index=-1), DECLARED),
    Fault("a silu is a sigmoid", "desktop", edited(DECODER, silu_becomes_sigmoid), DECLARED),
    Fault("key and value swapped", "desktop", edited(DECODER, swapped_halves), DECLARED),
    Fault("cos and sin swapped", "desktop", edited(DECODER, swapped_tables), DECLARED),
    Fault("norms of two layers swapped", "desktop", edited(DECODER, swapped_weights), DECLARED),
    Fault("a dropped bias", "desktop", edited(DECODER, dropped_bias), DECLARED),
    Fault("another layer's gate", "desktop", edited(DECODER, dropped_phantom), DECLARED),
    Fault("the position before the last", "desktop", edited(DECODER, next_to_last), DECLARED),
    Fault("another epsilon", "desktop", attribute(NORM, "epsilon", 2e-6), DECLARED),
    Fault("fp32 activations", "desktop", attribute("MatMulNBits", "accuracy_level", 1), DECLARED),
    Fault("tanh's GELU", "desktop", other_op("Gelu", "FastGelu", VISION, "com.microsoft"), DIFFER),
    Fault(
        "heads of the vision", "desktop", attribute("MultiHeadAttention", "num_heads", 6, VISION), DECLARED
    ),
    Fault("a cache of another width", "desktop:fp32", edited(DECODER, renamed_output), DECLARED),
    Fault("bits of the rows", "desktop", attribute("GatherBlockQuantized", "bits", 4, EMBEDDING), INTEGERS),
    # Their constants.
    Fault(
        "no RoPE from position 400",
        "desktop",
        changed(DECODER, "rope.cos", fill(0, slice(400, None))),
        FLOATS,
    ),
    Fault("the last RoPE rows swapped", "desktop", changed(DECODER, "rope.sin", swap_rows), FLOATS),
    Fault(
        "a norm of ones", "desktop", changed(VISION, "vision_encoder.layers.0.norm1.weight", fill(1)), FLOATS
    ),
    Fault("a bit of a bias", "desktop", changed(DECODER, f"{LAYER}.qkv.bias", flip_one), FLOATS),
    Fault(
        "a phantom constant", "desktop", changed(DECODER, f"{LAYER}.phantom.key.scale", scaled(1.01)), FLOATS
    ),
    Fault(
        "an embedding row",
        "desktop",
        changed(EMBEDDING, "token_embedding.weight.values", fill(128, -1)),
        INTEGERS,
    ),
    Fault(
        "a scale of int4", "desktop", changed(DECODER, f"{LAYER}.o.weight.scales", scaled(2, -1)), INTEGERS
    ),
    Fault(
        "a bit of a float matrix", "desktop:fp32", changed(DECODER, f"{LAYER}.down.weight", flip_one), FLOATS
    ),
    Fault(
        "a float embedding row",
        "desktop:fp32",
        changed(EMBEDDING, "token_embedding.weight", fill(0, -1)),
        FLOATS,
    ),
    Fault("data cut short", "desktop", cut(VISION, ".onnx_data"), INTEGERS),
    Fault("a graph cut short", "desktop", cut(EMBEDDING, ".onnx"), INTEGERS),
    # Files beside them.
    Fault("a norm less for genai", "desktop", small_graph(GENAI_VISION, norm_removed), BESIDE),
    Fault("genai's image token", "desktop", small_graph(GENAI_EMBEDDING, other_image_token), BESIDE),
    Fault("genai's end token", "desktop", json_edit("genai_config.json", further_end), BESIDE),
    Fault("an end token", "web", json_edit("generation_config.json", further_end), BESIDE),
    Fault(
        "pixels / 256",
        "web",
        json_edit("preprocessor_config.json", set_key("rescale_factor", 1 / 256)),
        BESIDE,
    ),
    Fault("a lost line break", "web", json_edit("tokenizer_config.json", lost_line_break), BESIDE),
    Fault("another patch", "web", json_edit("processor_config.json", set_key("patch_size", 14)), BESIDE),
    Fault("another image token", "webgpu", json_edit("config.json", next_image_token), BESIDE),
    Fault("no config", "web", removed("config.json"), BESIDE),
    Fault("data in another graph's file", "web", moved(DECODER, "rope.cos", EMBEDDING), DECLARED),
    Fault("a file of no graph", "desktop", put("onnx/adapter.onnx_data"), STRAY),
    # int8, in the browser.
    Fault("a zero point", "web", edited(DECODER, zero_point), INTEGERS),
    Fault("scales of another matrix", "web", edited(VISION, other_scales), INTEGERS),
    Fault("a bias of int8 dropped", "web", edited(DECODER, dropped_bias), DECLARED),
    Fault("an integer", "web", changed(DECODER, f"{LAYER}.down.weight.values", flip_one), INTEGERS),
    # WebGPU.
    Fault("rounded activations", "webgpu", attribute("MatMulNBits", "accuracy_level", 4), DECLARED),
    Fault("a norm in fp16", "webgpu", attribute("Cast", "to", TensorProto.BFLOAT16, VISION), DECLARED),
    Fault("no RoPE at the end", "webgpu", changed(DECODER, "rope.sin", fill(0, -1)), FLOATS),
    # The cache in int8.
    Fault(
        "one scale per cache",
        "desktop:int8-cache",
        attribute(ATTENTION, "k_quant_type", "PER_TENSOR"),
        DECLARED,
    ),
    Fault(
        "scales of the cache",
        "desktop:int8-cache",
        changed(DECODER, "cache.1.key.scales", scaled(2)),
        "cache scales that differ",
    ),
    Fault("a cache of 4 bits", "desktop:int8-cache", attribute(ATTENTION, "kv_cache_bit_width", 4), DECLARED),
    Fault("genai's config", "desktop:int8-cache", put("genai_config.json"), STRAY),
)
