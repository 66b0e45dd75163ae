"""The graphs inside XNNPACK's delegates, checked before the runtime sees them: it trusts their numbers.

A wrong index or shape there ends the process or holds it up, so each must refer to what is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

NODES: Final = frozenset(
    {
        "XNNAdd", "XNNBatchMatrixMultiply", "XNNConcatenate2", "XNNConvert", "XNNFullyConnected",
        "XNNGelu", "XNNMinimum", "XNNMultiply", "XNNReciprocalSquareRoot", "XNNSigmoid", "XNNSoftmax",
        "XNNSquare", "XNNStaticConstantPad", "XNNStaticReshape", "XNNStaticSlice", "XNNStaticTranspose",
        "XNNSubtract",
    }
)  # fmt: skip
"""Every kind of node that the exporter writes."""
NONE: Final = 2**32 - 1  # the id of what is not there
MAX_DIMENSIONS: Final = 6  # XNN_MAX_TENSOR_DIMS
MAX_ELEMENTS: Final = 1 << 31  # of one tensor
BITS: Final = {
    "xnn_datatype_fp32": 32, "xnn_datatype_fp16": 16, "xnn_datatype_qcint8": 8, "xnn_datatype_qbint4": 4,
    "xnn_datatype_qdint8": 8, "xnn_datatype_qpint8": 8, "xnn_datatype_int32": 32,
}  # fmt: skip


def check_graph(graph: Mapping[str, Any], arguments: int, size_of: Callable[[str], int]) -> None:
    """Raise ValueError for a graph whose numbers do not fit together.

    Args:
        graph: what ``readback.decode`` returns.
        arguments: how many values the program passes to the delegate.
        size_of: bytes of the data that a key names.
    """
    values = [value["xvalue_union"] for value in graph["xvalues"]]
    tensors = [value.get("tensor_value", value) for value in values]
    count = len(tensors)
    _require(sorted(tensor["id_out"] for tensor in tensors) == list(range(count)), "ids of values")
    outside = sorted(tensor["external_id"] for tensor in tensors if tensor["external_id"] != NONE)
    ids = [*graph["input_ids"], *graph["output_ids"]]
    _require(outside == list(range(arguments)) and graph["num_externs"] == len(outside), "arguments")
    _require(len(ids) == len(outside) and all(0 <= index < count for index in ids), "ids of arguments")
    constants = graph["constant_data"]
    for value, tensor in zip(values, tensors, strict=True):
        _check_tensor(tensor, constants, size_of)
        if "quant_params" in value:
            _check_scales(tensor, value["quant_params"], constants, size_of)
    for node in graph["xnodes"]:
        _require(node["xnode_union_type"] in NODES, f"a node {node['xnode_union_type'][:40]}")
        _check_node(node["xnode_union"], count)
    known = {*graph["input_ids"], *(t["id_out"] for t in tensors if t["constant_buffer_idx"])}
    _check_order([node["xnode_union"] for node in graph["xnodes"]], known, graph["output_ids"])


def _check_order(nodes: list[Mapping[str, Any]], known: set[int], outputs: list[int]) -> None:
    """Every value is computed once, and before it is used; the ``known`` ones are there from the start."""
    known.add(NONE)
    for node in nodes:
        used = {value for name, value in node.items() if name.endswith("_id") and name != "output_id"}
        _require(used <= known and node["output_id"] not in known, "the order of nodes")
        known.add(node["output_id"])
    _require(set(outputs) <= known, "an output")


def _check_tensor(
    tensor: Mapping[str, Any], constants: list[Mapping[str, Any]], size_of: Callable[[str], int]
) -> None:
    dims, place = tensor["dims"], tensor["constant_buffer_idx"]
    whole = math.prod(dims)
    _require(tensor["num_dims"] == len(dims) <= MAX_DIMENSIONS, "dimensions")
    _require(min(dims, default=1) > 0 and whole <= MAX_ELEMENTS, "a shape")
    _require(tensor["datatype"] in BITS, "a type")
    _require(0 <= place < max(1, len(constants)), "the place of a constant")
    if place:
        size = size_of(constants[place]["named_key"])
        _require(8 * size >= whole * BITS[tensor["datatype"]], "the size of a constant")


def _check_scales(
    tensor: Mapping[str, Any],
    params: Mapping[str, Any],
    constants: list[Mapping[str, Any]],
    size_of: Callable[[str], int],
) -> None:
    dims = tensor["dims"]
    if "num_nonbatch_dims" in params:
        _require(0 < params["num_nonbatch_dims"] <= len(dims), "the dimensions of a scale")
        return
    _require(len(dims) == 2 and params["channel_dim"] == 0, "the channels of a scale")
    group = params.get("group_size")
    _require(group is None or (group > 0 and dims[1] % group == 0), "the size of a group")
    scales = dims[0] * (dims[1] // group if group else 1)
    place, item = params["scale_buffer_idx"], 2 if group else 4  # bfloat16 or float32
    _require(params["num_scales"] == scales and 0 < place < len(constants), "the number of scales")
    _require(size_of(constants[place]["named_key"]) >= item * scales, "the size of scales")


def _check_node(node: Mapping[str, Any], count: int) -> None:
    for index in _ids(node):
        _require(0 <= index < count or index == NONE, "an id that names nothing")
    if "perm" in node:
        _require(sorted(node["perm"]) == list(range(node["num_dims"])), "a permutation")
    for name in ("new_shape", "offsets", "sizes", "pre_paddings", "post_paddings"):
        numbers = node.get(name, ())
        _require(len(numbers) <= MAX_DIMENSIONS, "dimensions of a node")
        _require(all(0 <= n <= MAX_ELEMENTS for n in numbers), "a size of a node")
        _require(
            "num_dims" not in node or name not in node or len(numbers) == node["num_dims"],
            "dimensions of a node",
        )


def _ids(node: Mapping[str, Any]) -> Iterator[int]:
    yield from (value for name, value in node.items() if name.endswith("_id"))


def _require(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"{what} not as this toolkit writes it")
