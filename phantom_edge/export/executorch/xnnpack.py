"""XNNPACK subgraphs, written node by node: what the XNNPACK delegate of a ``.pte`` holds.

ExecuTorch's own lowering traces a model, then partitions it; it leaves every slice of a dynamic length
outside, so that a decoder layer falls into a dozen delegates, and it retraces each of them under symbolic
shapes. Written directly, a layer is one subgraph and lowering takes milliseconds. The payload is the stock
one (``XNNGraph``, read by ``XNNCompiler.cpp``); lengths are written as bounds that XNNPACK resolves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import XNNDatatype as Datatype
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (
    CONSTANT_TENSOR_ALIGNMENT,
    serialize_xnnpack_binary,
)
from executorch.backends.xnnpack.utils.xnnpack_constants import (
    UINT64_MAX,
    XNN_FLAG_TRANSPOSE_B,
    XNN_INVALID_VALUE_ID,
    XNN_VALUE_FLAG_EXTERNAL_INPUT,
    XNN_VALUE_FLAG_EXTERNAL_OUTPUT,
)
from executorch.exir._serialize._named_data_store import NamedDataStore

from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles

FLOAT_TYPES = {torch.float32: Datatype.xnn_datatype_fp32, torch.float16: Datatype.xnn_datatype_fp16}


class Steps(int):
    """The bound of the axis whose length is only known at run time: tokens of one decoder call."""


@dataclass(eq=False)
class Value:
    """A tensor of a method. ``home`` is the subgraph that computes it, or None where the method itself does.

    ``slot`` is its index among the method's values once it is seen outside ``home``.
    """

    shape: tuple[int, ...]
    home: Subgraph | None = None
    slot: int | None = None


class NamedData:
    """The program's named data, shared by all its subgraphs; equal bytes are stored once."""

    def __init__(self) -> None:
        self.store = NamedDataStore()

    def add(self, key: str, tensor: torch.Tensor) -> schema.ConstantDataOffset:
        """Store ``tensor`` under ``key`` and return the reference that a subgraph holds."""
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        self.store.add_named_data(key, flat.numpy().tobytes(), CONSTANT_TENSOR_ALIGNMENT)
        return schema.ConstantDataOffset(UINT64_MAX, flat.numel(), key)


@dataclass(eq=False)
class Subgraph:
    """One delegate under construction. Methods append a node and return its output."""

    constants: NamedData
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nodes: list[schema.XNode] = []
        self._values: list[schema.XValue] = []
        self._data = [schema.ConstantDataOffset(0, 0)]  # index 0 means "not constant"
        self._ids: dict[Value | str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes)

    # --- operations
    def unary(self, kind: type, x: Value) -> Value:
        """A node of one input and one output of the same shape, such as ``XNNSigmoid``."""
        out = self._value(x.shape)
        self._node(kind(self.use(x), self.use(out), 0))
        return out

    def binary(self, kind: type, a: Value, b: Value | int) -> Value:
        """A node of two inputs, shapes broadcast from the last axis; ``b`` may be a constant's id."""
        shape = a.shape
        if isinstance(b, Value):
            shape = tuple(y if x == 1 else x for x, y in zip(a.shape, b.shape, strict=True))
        out = self._value(shape)
        self._node(kind(self.use(a), self.use(b) if isinstance(b, Value) else b, self.use(out), 0))
        return out

    def linear(self, x: Value, weight: int, out_features: int, bias: int = XNN_INVALID_VALUE_ID) -> Value:
        """``x @ W.T + b`` for constants made by :meth:`matrix` and :meth:`tensor`."""
        out = self._value((*x.shape[:-1], out_features))
        self._node(schema.XNNFullyConnected(self.use(x), weight, bias, self.use(out), 0))
        return out

    def token_int8(self, x: Value) -> Value:
        """``x`` dynamically quantised to int8 per row: the input of a matmul with an integer matrix."""
        out = Value(x.shape, self)
        tensor = self._tensor(x.shape, Datatype.xnn_datatype_qdint8)
        self._ids[out] = self._append(schema.XNNQuantizedTensorValue(tensor, schema.PerTokenDynamicQuant(1)))
        self._node(schema.XNNConvert(self.use(x), self._ids[out], 0))
        return out

    def matmul(self, a: Value, b: Value, *, transposed: bool = False) -> Value:
        """[..., M, K] times [..., K, N], or ``transposed`` times [..., N, K]."""
        out = self._value((*a.shape[:-1], b.shape[-2 if transposed else -1]))
        flags = XNN_FLAG_TRANSPOSE_B if transposed else 0
        self._node(schema.XNNBatchMatrixMultiply(self.use(a), self.use(b), self.use(out), flags))
        return out

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Another shape of the same elements; at most one axis may be :class:`Steps`."""
        out = self._value(tuple(shape))
        sizes = [0 if isinstance(n, Steps) else n for n in shape]  # 0: inferred
        self._node(schema.XNNStaticReshape(len(sizes), sizes, self.use(x), self.use(out), 0))
        return out

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Axes in another order."""
        out = self._value(tuple(x.shape[i] for i in order))
        self._node(schema.XNNStaticTranspose(len(order), list(order), self.use(x), self.use(out), 0))
        return out

    def narrow(self, x: Value, axis: int, start: int, length: int) -> Value:
        """``length`` elements of ``axis`` from ``start``."""
        shape = list(x.shape)
        shape[axis] = length
        out = self._value(tuple(shape))
        offsets = [start if i == axis else 0 for i in range(len(shape))]
        sizes = [0 if isinstance(n, Steps) else n for n in shape]  # 0: the whole axis
        self._node(schema.XNNStaticSlice(len(shape), offsets, sizes, self.use(x), self.use(out), 0))
        return out

    def concat(self, a: Value, b: Value) -> Value:
        """Two values along the last axis."""
        out = self._value((*a.shape[:-1], a.shape[-1] + b.shape[-1]))
        none, axis = XNN_INVALID_VALUE_ID, len(a.shape) - 1
        self._node(schema.XNNConcatenate2(axis, self.use(a), self.use(b), none, none, self.use(out), 0, none))
        return out

    def pad_front(self, x: Value, axis: int, count: int) -> Value:
        """``count`` zeros before ``axis``."""
        shape, before = list(x.shape), [0] * len(x.shape)
        shape[axis] += count
        before[axis] = count
        out = self._value(tuple(shape))
        self._node(schema.XNNStaticConstantPad(before, [0] * len(shape), 0.0, self.use(x), self.use(out), 0))
        return out

    # --- constants
    def tensor(self, key: str, tensor: torch.Tensor) -> int:
        """Id of a float constant in the type it has."""
        if key not in self._ids:
            value = self._tensor(tuple(tensor.shape), FLOAT_TYPES[tensor.dtype], self._store(key, tensor))
            self._ids[key] = self._append(value)
        return self._ids[key]

    def matrix(self, key: str, weight: torch.Tensor | QuantizedTensor) -> int:
        """Id of a constant [out, in] of a matmul: floats, int8 per output channel or int4 in groups."""
        if not isinstance(weight, QuantizedTensor):
            return self.tensor(key, weight)
        if key not in self._ids:
            self._ids[key] = self._append(self._integers(key, weight))
        return self._ids[key]

    def _integers(self, key: str, weight: QuantizedTensor) -> schema.XNNQuantizedTensorValue:
        count = weight.scales.numel()
        if weight.bits == 8:
            value = self._tensor(weight.shape, Datatype.xnn_datatype_qcint8, self._store(key, weight.values))
            scales = self._store(f"{key}.scales", weight.scales)
            return schema.XNNQuantizedTensorValue(value, schema.PerChannelQuant([], 0, scales, count))
        packed = pack_nibbles(weight.values, offset=8)  # XNNPACK's zero point of qbint4 is 8, low half first
        value = self._tensor(weight.shape, Datatype.xnn_datatype_qbint4, self._store(key, packed))
        scales = self._store(f"{key}.scales", weight.scales.to(torch.bfloat16))  # exact: see grid.round_scale
        params = schema.PerChannelGroupQuant([], 0, weight.block, scale_buffer_idx=scales, num_scales=count)
        return schema.XNNQuantizedTensorValue(value, params)

    # --- values
    def use(self, value: Value) -> int:
        """The id of ``value`` here; one from elsewhere becomes an input, an output of its own subgraph."""
        if value not in self._ids:
            self._ids[value] = self._append(self._tensor(value.shape, Datatype.xnn_datatype_fp32))
            self.inputs.append(value)
            if value.home is not None:
                value.home.give(value)
        return self._ids[value]

    def give(self, value: Value) -> None:
        """Make ``value``, computed here, an output."""
        if value not in self.outputs:
            self.outputs.append(value)

    def serialize(self) -> bytes:
        """The delegate's payload; arguments of its call are ``inputs``, then ``outputs``."""
        for external, value in enumerate((*self.inputs, *self.outputs)):
            tensor = self._values[self._ids[value]].xvalue_union
            given = external < len(self.inputs)
            tensor.flags = XNN_VALUE_FLAG_EXTERNAL_INPUT if given else XNN_VALUE_FLAG_EXTERNAL_OUTPUT
            tensor.external_id = external
        ids = [[self._ids[v] for v in side] for side in (self.inputs, self.outputs)]
        graph = schema.XNNGraph("0", self._nodes, self._values, sum(map(len, ids)), *ids, self._data)
        return bytes(serialize_xnnpack_binary(graph, bytearray()))

    def _value(self, shape: tuple[int, ...]) -> Value:
        value = Value(shape, self)
        self._ids[value] = self._append(self._tensor(shape, Datatype.xnn_datatype_fp32))
        return value

    def _tensor(self, shape: Sequence[int], datatype: Datatype, buffer: int = 0) -> schema.XNNTensorValue:
        dims, own = [int(n) for n in shape], len(self._values)
        return schema.XNNTensorValue(datatype, len(dims), dims, buffer, XNN_INVALID_VALUE_ID, 0, own)

    def _append(self, value: schema.XNNTensorValue | schema.XNNQuantizedTensorValue) -> int:
        self._values.append(schema.XValue(value))
        return len(self._values) - 1

    def _node(self, node: schema.XNodeUnion) -> None:
        self._nodes.append(schema.XNode(node, len(self._nodes)))

    def _store(self, key: str, tensor: torch.Tensor) -> int:
        self._data.append(self.constants.add(key, tensor))
        return len(self._data) - 1
