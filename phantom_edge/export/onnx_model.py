"""An ONNX model from outside: parsed, and nothing in it but what this toolkit's exporter writes.

A model is a program. One with a loop of 2^63 steps, or with an operation that reads files, must not reach a
runtime: so the operations and their attributes are compared with a list first, and every number with what the
file really holds. Outside the exporter's package, because the runtime needs it and not the exporter's
libraries; only who changes or compares models needs ``onnx``.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from phantom_edge.errors import InputError, shown
from phantom_edge.export import onnx_schema
from phantom_edge.system.reading import check_size, is_file, read_bytes, reading

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

MAX_MODEL_BYTES: Final = 512 << 20  # of a .onnx file without its data: thousands of nodes, not weights
MAX_SHAPE: Final = 1 << 31  # elements of a tensor whose shape is a constant of the model
NO_LIMIT: Final = (1 << 63) - 1  # the end of a slice that has none
AGAIN: Final = "export it again"
CONTRIB: Final = "com.microsoft"

_NODES: Final = {
    "": {
        "Add": "",
        "Cast": "to",
        "Concat": "axis",
        "Constant": "value_float",
        "Conv": "kernel_shape strides",
        "DequantizeLinear": "axis",
        "Equal": "",
        "Expand": "",
        "Gather": "axis",
        "Gelu": "",
        "Identity": "",
        "LayerNormalization": "axis epsilon",
        "MatMul": "",
        "Mul": "",
        "Neg": "",
        "NonZero": "",
        "QuantizeLinear": "",
        "Reciprocal": "",
        "ReduceSum": "keepdims",
        "Reshape": "",
        "ScatterND": "",
        "Shape": "start end",
        "Sigmoid": "",
        "SimplifiedLayerNormalization": "axis epsilon stash_type",
        "Slice": "",
        "Softmax": "axis",
        "Split": "axis",
        "Sub": "",
        "Transpose": "perm",
    },
    CONTRIB: {
        "DynamicQuantizeMatMul": "",
        "GatherBlockQuantized": "bits block_size gather_axis quantize_axis",
        "Gelu": "",
        "GroupQueryAttention": "num_heads kv_num_heads do_rotary scale kv_cache_bit_width k_quant_type "
        "v_quant_type",
        "MatMulNBits": "K N bits block_size accuracy_level",
        "MultiHeadAttention": "num_heads",
        "RotaryEmbedding": "",
    },
}
OPERATIONS: Final = {
    (domain, name): frozenset(attributes.split())
    for domain, nodes in _NODES.items()
    for name, attributes in nodes.items()
}
"""Every operation that the exporter writes, by domain and name, with the attributes that it gives."""


EXTERNAL: Final = 1
"""Of a tensor's ``data_location``: its data are in another file."""
FLOAT, INT8, INT64 = 1, 3, 7
TYPES: Final = {
    number: np.dtype(name)
    for number, name in {
        **{FLOAT: "f4", 2: "u1", INT8: "i1", 4: "u2", 5: "i2", 6: "i4", INT64: "i8", 9: "?", 10: "f2"},
        **{11: "f8", 12: "u4", 13: "u8"},
    }.items()
}
"""By the number of a tensor's ``data_type``: those that numpy has, which is all that the exporter writes."""


def read_model(path: Path) -> Message:
    """Parse a model without its data; check its operations, and that its data lies beside it.

    The classes are those of :mod:`.onnx_schema`.

    Raises:
        InputError: no readable model, an operation, an attribute or anything else that no exporter of this
            toolkit writes, or external data that is not a file of the same folder, long enough.
    """
    return _checked(path, read_bytes(path, MAX_MODEL_BYTES, AGAIN))


def load_model(path: Path) -> onnx.ModelProto:
    """As :func:`read_model`, for whoever changes or compares models."""
    data = read_bytes(path, MAX_MODEL_BYTES, AGAIN)
    _checked(path, data)
    return _parsed(path, data)


def parse_model(path: Path) -> onnx.ModelProto:
    """A model as it is, for whoever wrote it. Raises :class:`InputError` for no model."""
    return _parsed(path, read_bytes(path, MAX_MODEL_BYTES, AGAIN))


def _parsed(path: Path, data: bytes) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    with reading(path, AGAIN, "not an ONNX model"):
        model.ParseFromString(data)
    return model


def _checked(path: Path, data: bytes) -> Message:
    model = onnx_schema.new()
    with reading(path, AGAIN, "not an ONNX model"):
        model.ParseFromString(data)
    with reading(path, AGAIN):
        _check_nodes(path, model)
        if not onnx_schema.is_complete(model):
            raise InputError(f"{path}: not a graph of this toolkit (functions, or the like); {AGAIN}")
        for tensor in model.graph.initializer:
            _check_data(path, tensor)
    return model


def context_of(path: Path) -> str:
    """The name of the binary, in the same folder, around which a compiled model was made.

    Raises :class:`InputError` for a model that holds more than one chip's context, or names another place.
    """
    model = parse_model(path)
    with reading(path, AGAIN):
        nodes = [(node.domain, node.op_type) for node in model.graph.node]
        if nodes != [(CONTRIB, "EPContext")] or model.functions or model.graph.initializer:
            raise InputError(f"{path}: not a compiled graph of this toolkit; {AGAIN}")
        values = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
        name = values["ep_cache_context"].s.decode() if "ep_cache_context" in values else ""
        beside = path.parent / name
        outside = values["embed_mode"].i != 0 or values["source"].s != b"QNN"
        if outside or not re.fullmatch(r"[\w-][\w.-]*", name) or beside.is_symlink() or not is_file(beside):
            raise InputError(
                f"{path}: its binary must be a file in the same folder, not {shown(name)}; {AGAIN}"
            )
        return name


def _check_nodes(path: Path, model: Message) -> None:
    if not model.graph.node:
        raise InputError(f"{path}: not a graph of this toolkit (no nodes); {AGAIN}")
    for node in model.graph.node:
        allowed = OPERATIONS.get((node.domain, node.op_type))
        name = shown(f"{node.domain}::{node.op_type}".removeprefix("::"))
        if allowed is None:
            raise InputError(f"{path}: holds {name}, which this toolkit does not write; {AGAIN}")
        for attribute in node.attribute:
            if attribute.name not in allowed or not onnx_schema.is_complete(attribute):
                what = f"{name} has the attribute {shown(attribute.name)}"
                raise InputError(f"{path}: {what}, which this toolkit does not write; {AGAIN}")


def _check_data(path: Path, tensor: Message) -> None:
    """A tensor's data is in the model, or in a file beside it, and has the size that its shape says."""
    if any(size < 0 for size in tensor.dims):
        raise InputError(f"{path}: {shown(tensor.name)} has the shape {shown(list(tensor.dims))}; {AGAIN}")
    if tensor.data_type not in TYPES:
        kind = f"holds values of type {tensor.data_type}"
        raise InputError(f"{path}: {shown(tensor.name)} {kind}, which this toolkit does not write; {AGAIN}")
    if tensor.external_data or tensor.data_location == EXTERNAL:
        _check_external(path, tensor)
    elif tensor.data_type == INT64 and math.prod(tensor.dims) <= 8:
        stored = np.frombuffer(tensor.raw_data, "<i8").tolist() or list(tensor.int64_data)
        if len(stored) != math.prod(tensor.dims):
            raise InputError(f"{path}: {shown(tensor.name)} holds {len(stored)} numbers, not its shape's")
        numbers = [number for number in stored if 0 < number < NO_LIMIT]
        if math.prod(numbers) > MAX_SHAPE:  # such constants are shapes and places in them
            raise InputError(f"{path}: {shown(tensor.name)} holds {shown(numbers)}, too much for a shape")


def _check_external(path: Path, tensor: Message) -> None:
    name, where = shown(tensor.name), {entry.key: entry.value for entry in tensor.external_data}
    location = where.get("location", "")
    file = path.parent / location
    plain = re.fullmatch(r"[\w.-]+", location) and PurePosixPath(location).name == location
    if not plain or file.is_symlink() or not is_file(file):
        raise InputError(f"{path}: {name}: its data must be a file in the same folder, not {shown(location)}")
    numbers = [where.get(key, "0") for key in ("offset", "length")]
    if not all(re.fullmatch(r"\d{1,18}", number) for number in numbers):
        raise InputError(f"{path}: {name}: offset and length of its data must be numbers")
    offset, length = map(int, numbers)
    if offset + length > check_size(file, None):
        raise InputError(f"{path}: {name}: {location} ends before byte {offset + length}; it is incomplete")
    element = TYPES[tensor.data_type]
    if length and math.prod(tensor.dims) * element.itemsize != length:
        what = f"{length} bytes, which are not {element} {shown(list(tensor.dims))}"
        raise InputError(f"{path}: {name} has {what}; {AGAIN}")
