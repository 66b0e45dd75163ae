"""The integers and scales that an artifact really holds, looked up by the operations that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, StoredWeights, vision_graph
from phantom_edge.export.onnx import packing
from phantom_edge.export.onnx.ops import SCALES, VALUES
from phantom_edge.export.onnx.stored import load_array
from phantom_edge.export.onnx_layout import FOLDER, find, further_vision_encoders
from phantom_edge.export.onnx_model import AGAIN, load_model
from phantom_edge.model.weights import LazyWeights, Maker
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.quantize.kv import KVScales
from phantom_edge.system.reading import reading

CACHE_SCALES: Final = 12  # the first of GroupQueryAttention's inputs that only an int8 cache has
FLOATS: Final = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
SUFFIX: Final = f".weight{VALUES}"


def stored_weights(folder: Path) -> StoredWeights:
    """Integers and scales by module name, read out of the three models below ``folder``.

    Every node that multiplies with integers is visited and its own inputs and attributes are decoded, so an
    integer in the wrong place, or under the wrong node, is not what comes back.

    Vision encoders for further sizes of tiles name the same places, which the comparison of graphs sees.
    Raises :class:`InputError` for a file that is not of this toolkit's form, for a weight when it is read.
    """
    readers: dict[str, Callable[[], QuantizedTensor]] = {}
    for name in GRAPHS:
        path = find(folder, name)
        with reading(path, AGAIN):
            readers |= dict(modules_of(path, load_model(path).graph))
    return StoredWeights(readers)


def stored_cache(folder: Path) -> KVScales | None:
    """The scales of the decoder's int8 KV cache, None for one in float; raises as :func:`stored_weights`."""
    path = find(folder, "text_decoder")
    with reading(path, AGAIN):
        graph = load_model(path).graph
        reader = _Reader(path, graph)
        inputs = [node.input for node in graph.node if node.op_type == "GroupQueryAttention"]
        pairs = [[reader.scales_of(n) for n in names[-2:]] for names in inputs if len(names) > CACHE_SCALES]
    return KVScales(*(tuple(column) for column in zip(*pairs, strict=True))) if pairs else None


def stored_floats(folder: Path) -> LazyWeights[torch.Tensor]:
    """Every float constant by its name in the folded model, in the model's layout and the type stored.

    RoPE's tables are ``rope.cos`` and ``rope.sin`` [context, head_dim / 2]. Each is read at access. Raises
    :class:`InputError` as :func:`stored_weights`.
    """
    makers: dict[str, Maker[torch.Tensor]] = {}
    for path in _paths(folder).values():
        with reading(path, AGAIN):
            makers = dict(floats_of(path, load_model(path).graph)) | makers
    return LazyWeights(makers)


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``."""
    return {graph: f"{FOLDER}/{path.name}" for graph, path in _paths(folder).items()}


def _paths(folder: Path) -> dict[str, Path]:
    """Every graph below ``folder``, vision encoders for further sizes of tiles last."""
    further = {vision_graph(size): path for size, path in further_vision_encoders(folder).items()}
    return {name: find(folder, name) for name in GRAPHS} | further


def artifact_files(folder: Path) -> set[str]:
    """The graphs and the files of their data, as posix paths below ``folder``."""
    files: set[str] = set()
    for path in _paths(folder).values():
        with reading(path, AGAIN):
            tensors = load_model(path).graph.initializer
            data = {entry.value for t in tensors for entry in t.external_data if entry.key == "location"}
            files |= {f"{FOLDER}/{file}" for file in (path.name, *data)}
    return files


def modules_of(path: Path, graph: onnx.GraphProto) -> Iterator[tuple[str, Callable[[], QuantizedTensor]]]:
    """Each module of one graph that multiplies with integers, and how they are read."""
    yield from _Reader(path, graph).modules()


def floats_of(path: Path, graph: onnx.GraphProto) -> Iterator[tuple[str, Maker[torch.Tensor]]]:
    """Each float constant of one graph, scales of integers aside, and how it is read."""
    factors = _factors(graph)
    for tensor in graph.initializer:
        if tensor.data_type in FLOATS and not tensor.name.endswith(SCALES):
            transposed = tensor.name in factors
            shape = tuple(reversed(tensor.dims) if transposed else tensor.dims)
            yield tensor.name, Maker(shape, partial(_float, path, tensor, transposed))


def _factors(graph: onnx.GraphProto) -> set[str]:
    """Names of the initializers that a MatMul has on its right, where matrices stand transposed."""
    right = {node.input[1] for node in graph.node if node.op_type == "MatMul" and len(node.input) == 2}
    casts = (node for node in graph.node if node.op_type == "Cast" and len(node.input) == 1)
    return right | {node.input[0] for node in casts if right.intersection(node.output)}


def _float(path: Path, tensor: onnx.TensorProto, transposed: bool) -> torch.Tensor:
    array = load_array(path, tensor)
    return torch.from_numpy((array.T if transposed else array).copy())


class _Reader:
    def __init__(self, path: Path, graph: onnx.GraphProto):
        self.path, self.graph = path, graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}

    def modules(self) -> Iterator[tuple[str, Callable[[], QuantizedTensor]]]:
        for node in self.graph.node:
            module = next((name.removesuffix(SUFFIX) for name in node.input if name.endswith(SUFFIX)), None)
            if module is not None:
                yield module, partial(self._read, node, f"{module}.weight{SCALES}")

    def _read(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        with reading(self.path, AGAIN):
            return self._decode(node, scales)

    def _decode(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        decoders: dict[str, Callable[[onnx.NodeProto, str], QuantizedTensor]] = {
            "MatMulNBits": self._matmul_nbits,
            "DequantizeLinear": self._multiplied_out,
            "Cast": self._scaled_product,
            "DynamicQuantizeMatMul": self._dynamic_matmul,
            "Gather": self._rows,
            "GatherBlockQuantized": self._block_rows,
        }
        if node.op_type not in decoders:
            raise InputError(f"{self.path}: {node.name} multiplies integers as this toolkit does not")
        return decoders[node.op_type](node, scales)

    def _matmul_nbits(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        sizes = _attributes(node)
        self._require(node, node.input[2:] == [scales] and sizes["bits"] in (4, 8))
        values, scale = self._array(node.input[1]), self._array(scales)
        if sizes["bits"] == 8:
            weight = packing.unpack_channels(values, scale, sizes["K"])
        else:
            weight = packing.unpack_blocks(values, scale, sizes["block_size"])
        self._require(node, weight.shape == (sizes["N"], sizes["K"]))
        return weight

    def _multiplied_out(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        used = any(n.op_type == "MatMul" and n.input[1] == node.output[0] for n in self.graph.node)
        self._require(node, used and node.input[1:] == [scales] and _attributes(node) == {"axis": 1})
        return packing.unpack_columns(self._array(node.input[0]), self._array(scales))

    def _scaled_product(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        # Cast, MatMul, Mul by the scales of the columns.
        products = [
            n.output[0] for n in self.graph.node if n.op_type == "MatMul" and n.input[1] == node.output[0]
        ]
        scaled = [n for n in self.graph.node if n.op_type == "Mul" and list(n.input) == [*products, scales]]
        self._require(node, len(scaled) == 1)
        return packing.unpack_columns(self._array(node.input[0]), self._array(scales))

    def _dynamic_matmul(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        zero_point = node.input[3] if len(node.input) > 3 else ""
        self._require(node, node.input[2] == scales and not zero_point)
        return packing.unpack_columns(self._array(node.input[1]), self._array(scales))

    def _rows(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        # Gather, Cast, Mul by the scales that the same ids gather.
        gathered = [n.output[0] for n in self.graph.node if list(n.input) == [scales, node.input[1]]]
        cast = [n.output[0] for n in self.graph.node if n.op_type == "Cast" and n.input[0] == node.output[0]]
        scaled = any(n.op_type == "Mul" and list(n.input) == cast + gathered for n in self.graph.node)
        self._require(node, scaled)
        return packing.unpack_rows(self._array(node.input[0]), self._array(scales))

    def _block_rows(self, node: onnx.NodeProto, scales: str) -> QuantizedTensor:
        sizes = _attributes(node)
        self._require(node, node.input[2:] == [scales] and sizes["bits"] in (4, 8))
        rows, scale, size = self._array(node.input[0]), self._array(scales), sizes["block_size"]
        if sizes["bits"] == 8:
            return packing.unpack_channels(rows.reshape(len(rows), -1, size), scale, rows.shape[1])
        return packing.unpack_blocks(rows.reshape(len(rows), -1, size // 2), scale, size)

    def _require(self, node: onnx.NodeProto, right: bool) -> None:
        if not right:
            raise InputError(f"{self.path}: {node.name} ({node.op_type}) is not as this toolkit writes it")

    def scales_of(self, name: str) -> torch.Tensor:
        """Scales [1, Hkv, 1, W] of one half of a layer's cache as [Hkv, W]."""
        return torch.from_numpy(self._array(name).copy())[0, :, 0]

    def _array(self, name: str) -> np.ndarray:
        return load_array(self.path, self.initializers[name])


def _attributes(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}
