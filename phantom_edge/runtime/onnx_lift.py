"""A saved ONNX model with its integer operations lifted to fp32: the same weights, activations not rounded.

Rounding to an integer grid turns differences of one part in a million into whole steps, and through many layers those
grow as large as the quantisation error itself; a wrong graph could hide there. Without it, only a fault shows.
"""

from __future__ import annotations

import onnx
from onnx import helper

FLOAT_ACCURACY = 1  # MatMulNBits' accuracy_level: dequantised weights times fp32 activations


def lift(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with ``DynamicQuantizeMatMul`` and ``MatMulNBits`` on fp32 activations; weights stay where they are."""
    lifted = onnx.ModelProto()
    lifted.CopyFrom(model)
    del lifted.graph.node[:]
    for node in model.graph.node:
        if node.op_type == "DynamicQuantizeMatMul":
            lifted.graph.node.extend(_dequantized(node))
        else:
            lifted.graph.node.append(node)
            if node.op_type == "MatMulNBits":
                _set_accuracy(lifted.graph.node[-1])
    return lifted


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


def _set_accuracy(node: onnx.NodeProto) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != "accuracy_level"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("accuracy_level", FLOAT_ACCURACY)])
