"""A saved ONNX model lifted to fp32: the same weights, activations rounded neither to integers nor to fp16.

Rounding to an integer grid turns differences of one part in a million into whole steps, and through many
layers those grow as large as the quantisation error itself; a wrong graph could hide there. Without it, only
a fault shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

FLOAT_ACCURACY = 1  # MatMulNBits' accuracy_level: dequantised weights times fp32 activations
FLOAT, HALF, INT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8
CACHE_SCALES = 7  # the first of GroupQueryAttention's inputs that a float cache has not
CACHE_ATTRIBUTES = ("kv_cache_bit_width", "k_quant_type", "v_quant_type")


def lift(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with ``DynamicQuantizeMatMul`` and ``MatMulNBits`` on fp32 activations and cache.

    Weights stay where they are.
    """
    lifted = onnx.ModelProto()
    lifted.CopyFrom(model)
    del lifted.graph.node[:]
    _lift_halves(lifted.graph)
    for node in _without_halves(_without_grids(model.graph)):
        if node.op_type == "DynamicQuantizeMatMul":
            lifted.graph.node.extend(_dequantized(node))
        elif node.op_type == "DequantizeLinear":
            lifted.graph.node.extend(_multiplied_out(node))
        else:
            lifted.graph.node.append(node)
            if node.op_type == "MatMulNBits":
                _set_accuracy(lifted.graph.node[-1])
            if node.op_type == "GroupQueryAttention":
                _float_cache(lifted.graph.node[-1])
    return lifted


def _without_grids(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A graph whose values lie on no grid: what QuantizeLinear and DequantizeLinear do to one is left out.

    So it is of an int8 cache, which comes in and goes out in float.
    """
    ends = {value.name for value in (*graph.input, *graph.output)}
    stored = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    if not stored:
        return graph
    values: dict[str, str] = {}
    left = onnx.GraphProto()
    left.CopyFrom(graph)
    del left.node[:]
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            if node.output[0] in ends:
                before = values.get(node.input[0], node.input[0])
                left.node.append(helper.make_node("Identity", [before], [node.output[0]]))
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] in stored.keys() | ends:
            before = stored.get(node.input[0], node.input[0])
            values[node.output[0]] = values.get(before, before)
            continue
        left.node.append(node)
        left.node[-1].input[:] = [values.get(name, name) for name in node.input]
    return left


def _lift_halves(graph: onnx.GraphProto) -> None:
    """Make fp16 inputs and outputs fp32, and those of an int8 cache."""
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in (HALF, INT8):
            value.type.tensor_type.elem_type = FLOAT


def _without_halves(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes in fp32: what was cast to fp16 is not, what is stored as fp16 is cast where used."""
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == HALF}
    # The cast of a whole table is left where it is: such a table is used through it alone.
    used = {
        name for node in graph.node if node.op_type not in ("Cast", "Gather") for name in node.input
    } & stored
    yield from (helper.make_node("Cast", [name], [f"{name}_fp32"], to=FLOAT) for name in sorted(used))
    for original in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type == "Cast" and node.attribute[0].i == HALF:
            node.attribute[0].i = FLOAT
        if node.op_type not in ("Cast", "Gather"):
            node.input[:] = [f"{name}_fp32" if name in used else name for name in node.input]
        yield node


def _dequantized(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """x [.., K], int8 [K, N], scales [N], zero point 0, bias [N]: as cast, scale, multiply, add."""
    x, values, scales, _, bias = [*node.input, "", ""][:5]
    result = node.output[0]
    number, weight, product = f"{result}_number", f"{result}_weight", f"{result}_product" if bias else result
    # Not DequantizeLinear: ORT 1.31 gives that a zero point of the wrong shape when it optimises.
    nodes = [
        helper.make_node("Cast", [values], [number], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [number, scales], [weight]),
        helper.make_node("MatMul", [x, weight], [product]),
    ]
    return [*nodes, helper.make_node("Add", [product, bias], [result])] if bias else nodes


def _multiplied_out(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """int8 [K, N] and scales [N], as cast and scale, like :func:`_dequantized`."""
    values, scales = node.input
    number = f"{node.output[0]}_number"
    return [
        helper.make_node("Cast", [values], [number], to=FLOAT),
        helper.make_node("Mul", [number, scales], [node.output[0]]),
    ]


def _float_cache(node: onnx.NodeProto) -> None:
    del node.input[CACHE_SCALES:]
    kept = [attribute for attribute in node.attribute if attribute.name not in CACHE_ATTRIBUTES]
    del node.attribute[:]
    node.attribute.extend(kept)


def _set_accuracy(node: onnx.NodeProto) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != "accuracy_level"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("accuracy_level", FLOAT_ACCURACY)])
