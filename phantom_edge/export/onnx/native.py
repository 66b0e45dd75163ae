"""ONNX for the CPU itself, in operations that its vector instructions serve best.

The head meets one row per call. There an 8-bit ``MatMulNBits`` of int8 per channel is at least as fast as
``DynamicQuantizeMatMul`` (``benchmarks.kernels``), rounds its input more finely, and has the vocabulary's
rows where a look-up can read them: so a tied head and the embedding are one array.

Queries carry the attention's scale when they reach it. ONNX Runtime multiplies one row by a transposed matrix
without copying that matrix only where the product has no factor of its own (``runtime/onnx_attention.py``).
"""

from __future__ import annotations

from typing import Final

from phantom_edge.export.onnx import packing
from phantom_edge.export.onnx.ops import ACCURACY_INT8, SCALES, VALUES, OnnxOps
from phantom_edge.export.onnx.writer import CONTRIB, Attributes
from phantom_edge.model.weights import Weight
from phantom_edge.numbers.grid import QuantizedTensor

HEAD: Final = "text_decoder.head"
NO_SCALE: Final = 1.0  # of attention whose queries are scaled


class NativeOps(OnnxOps):
    """:class:`OnnxOps` with the head, and the embedding that shares its bytes, as 8-bit blocks."""

    def _matmul_channels(self, x: str, name: str, weight: QuantizedTensor, bias: str | None) -> str:
        block = packing.channel_block(weight.shape[1])
        if name != HEAD or block is None:
            return super()._matmul_channels(x, name, weight, bias)
        self.kinds[name] = "MatMulNBits"
        n, k = weight.shape
        sizes: Attributes = {"K": k, "N": n, "bits": 8, "block_size": block, "accuracy_level": ACCURACY_INT8}
        inputs = [x, *self._channels(name, weight, (n, k // block, block))]
        return self._add_bias(self.graph.node("MatMulNBits", inputs, domain=CONTRIB, **sizes), bias)

    def cached_attention(self, q: str, k: str, v: str, layer: int, scale: float) -> str:
        return super().cached_attention(self.mul(q, self.graph.number(scale)), k, v, layer, NO_SCALE)

    def _gather_rows(self, ids: str, name: str, weight: QuantizedTensor) -> str:
        block = packing.channel_block(weight.shape[1])
        if block is None:
            return super()._gather_rows(ids, name, weight)
        self.kinds[name] = "GatherBlockQuantized"
        values, scales = self._channels(name, weight, weight.shape)
        sizes: Attributes = {"bits": 8, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.node("GatherBlockQuantized", [values, ids, scales], domain=CONTRIB, **sizes)

    def _channels(self, name: str, weight: QuantizedTensor, shape: tuple[int, ...]) -> tuple[str, str]:
        packed, scales = packing.pack_channels(weight)
        values = self.graph.initializer(f"{name}.weight{VALUES}", packed.reshape(shape))
        return values, self.graph.initializer(f"{name}.weight{SCALES}", scales.numpy())


def in_blocks(weight: Weight) -> Weight:
    """int8 per channel as :class:`NativeOps` multiplies with it: the same values, a scale for each block."""
    block = packing.channel_block(weight.shape[1])
    if not isinstance(weight, QuantizedTensor) or weight.bits != 8 or weight.group or block is None:
        return weight
    scales = weight.scales.expand(-1, weight.shape[1] // block).contiguous()  # [out, in / block]
    return QuantizedTensor(weight.values, scales, 8, block)
