"""The operations of the folded graphs as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from phantom_edge.errors import InputError
from phantom_edge.export.base import float_tensor
from phantom_edge.export.onnx import packing
from phantom_edge.export.onnx.writer import CONTRIB, Attributes, GraphBuilder
from phantom_edge.model.ops import CacheScales, Weights
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor

ACCURACY_INT8 = 4  # MatMulNBits' accuracy_level: multiply integers; its other levels are several times slower
NO_LIMIT = 2**63 - 1
UNUSED_ATTENTION_INPUTS = 5  # of GroupQueryAttention, between the lengths and the cache's scales
PER_CHANNEL = "PER_CHANNEL"
# An initializer's name is its weight's, with one of these when it is quantised.
VALUES, SCALES = ".values", ".scales"


@dataclass(frozen=True)
class DecoderInputs:
    """Values that every decoder layer shares: positions [B, S], lengths for attention, RoPE's tables."""

    positions: str
    seqlens: str
    total: str
    cos: str
    sin: str


class OnnxOps:
    """:class:`~phantom_edge.model.ops.Ops` whose values are names in ``graph``.

    Each float is stored in the type that the recipe gave it and cast to that of the ``arithmetic`` where it
    is used; a cast of a constant is gone once a runtime has loaded the graph. ``read`` names the weights that
    went into the graph, ``kinds`` the operation of each quantised module.
    """

    arithmetic: int = TensorProto.FLOAT

    def __init__(
        self, graph: GraphBuilder, spec: FoldedSpec, weights: Weights, decoder: DecoderInputs | None = None
    ):
        self.graph, self.spec, self.weights, self.decoder = graph, spec, weights, decoder
        self.kv: CacheScales | None = None
        self.read: set[str] = set()
        self.kinds: dict[str, str] = {}
        self._flat: dict[str, str] = {}  # [B, S, H, D] value to the same as [B, S, H*D], where both exist

    # --- weights
    def _get(self, name: str) -> torch.Tensor | QuantizedTensor:
        self.read.add(name)
        return self.weights[name]

    def _float(self, name: str, tensor: torch.Tensor) -> str:
        if self.arithmetic == TensorProto.FLOAT16 and not bool(torch.isfinite(tensor.half()).all()):
            raise InputError(f"{name}: holds a value that fp16 arithmetic cannot; export with --quant fp32")
        value = self.graph.initializer(name, tensor.numpy())
        stored = TensorProto.FLOAT16 if tensor.dtype == torch.float16 else TensorProto.FLOAT
        return value if stored == self.arithmetic else self._cast(value, self.arithmetic)

    def _constant(self, name: str) -> str:
        self.read.add(name)
        return self._float(name, float_tensor(self.weights[name], name))

    def _cast(self, value: str, element: int) -> str:
        return self.graph.node("Cast", [value], to=element)

    # --- where values come from fp32 and go back to it
    def enter(self, value: str) -> str:
        """An fp32 value in the type of the arithmetic."""
        return value if self.arithmetic == TensorProto.FLOAT else self._cast(value, self.arithmetic)

    def leave(self, value: str) -> str:
        """A value in the type of the arithmetic as fp32."""
        return value if self.arithmetic == TensorProto.FLOAT else self._cast(value, TensorProto.FLOAT)

    def _bias(self, name: str) -> str | None:
        weight = self.weights.get(name)  # one read: `in` would be another for weights that are made on access
        if weight is None:
            return None
        self.read.add(name)
        return self._float(name, float_tensor(weight, name))

    # --- matmuls
    def linear(self, x: str, name: str) -> str:
        weight = self._get(f"{name}.weight")
        bias = self._bias(f"{name}.bias")
        if not isinstance(weight, QuantizedTensor):
            return self._add_bias(self._matmul(x, f"{name}.weight", weight), bias)
        if weight.bits == 4 and weight.group:
            return self._add_bias(self._matmul_blocks(x, name, weight), bias)
        if weight.bits == 8 and not weight.group:
            return self._matmul_channels(x, name, weight, bias)
        grid = f"int{weight.bits}, group {weight.group}"
        raise InputError(f"{name}: ONNX takes int4 in groups or int8 per channel, not {grid}")

    def _matmul(self, x: str, name: str, weight: torch.Tensor) -> str:
        return self.graph.node("MatMul", [x, self._float(name, weight.T)])

    def _add_bias(self, x: str, bias: str | None) -> str:
        return x if bias is None else self.graph.node("Add", [x, bias])

    def _matmul_blocks(self, x: str, name: str, weight: QuantizedTensor) -> str:
        accuracy: Attributes = {"accuracy_level": ACCURACY_INT8}
        return self._matmul_bits(x, name, weight, packing.pack_blocks(weight), weight.scales, accuracy)

    def _matmul_bits(
        self,
        x: str,
        name: str,
        weight: QuantizedTensor,
        packed: NDArray[np.uint8],
        scales: torch.Tensor,
        more: Attributes | None = None,
    ) -> str:
        """A product with ``packed`` integers [N, blocks, bytes], which have a scale for each block."""
        self.kinds[name] = "MatMulNBits"
        values = self.graph.initializer(f"{name}.weight{VALUES}", packed)
        stored = self.graph.initializer(f"{name}.weight{SCALES}", self._block_scales(scales).numpy())
        n, k = weight.shape
        size = int(packed.shape[2]) * 8 // weight.bits
        sizes: Attributes = {"K": k, "N": n, "bits": weight.bits, "block_size": size}
        return self.graph.node("MatMulNBits", [x, values, stored], domain=CONTRIB, **sizes, **(more or {}))

    def _block_scales(self, scales: torch.Tensor) -> torch.Tensor:
        # In fp32: behind a Cast from fp16, ORT without optimisation silently reads other scales.
        return scales

    def _matmul_channels(self, x: str, name: str, weight: QuantizedTensor, bias: str | None) -> str:
        self.kinds[name] = "DynamicQuantizeMatMul"
        values = self.graph.initializer(f"{name}.weight{VALUES}", packing.pack_columns(weight))
        scales = self.graph.initializer(f"{name}.weight{SCALES}", weight.scales[:, 0].numpy())
        inputs = [x, values, scales, *(["", bias] if bias else [])]
        return self.graph.node("DynamicQuantizeMatMul", inputs, domain=CONTRIB)

    def project(self, x: str, name: str) -> str:
        self.read.add(name)
        return self._matmul(x, name, float_tensor(self.weights[name], name))

    def scale(self, x: str, name: str) -> str:
        return self.graph.node("Mul", [x, self._constant(name)])

    # --- norms, activations, arithmetic
    def layer_norm(self, x: str, name: str, eps: float) -> str:
        inputs = [x, self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]
        return self.graph.node("LayerNormalization", inputs, axis=-1, epsilon=eps)

    def rms_norm(self, x: str, name: str, eps: float) -> str:
        inputs = [x, self._constant(f"{name}.weight")]
        return self.graph.node("SimplifiedLayerNormalization", inputs, axis=-1, epsilon=eps, stash_type=1)

    def gelu(self, x: str) -> str:
        return self.graph.node("Gelu", [x], domain=CONTRIB)

    def silu(self, x: str) -> str:
        return self.graph.node("Mul", [x, self.sigmoid(x)])

    def sigmoid(self, x: str) -> str:
        return self.graph.node("Sigmoid", [x])

    def softmax(self, x: str) -> str:
        return self.graph.node("Softmax", [x], axis=-1)

    def add(self, a: str, b: str) -> str:
        return self.graph.node("Add", [a, b])

    def mul(self, a: str, b: str) -> str:
        return self.graph.node("Mul", [a, b])

    # --- shapes
    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        parts = [f"{x}_part{n}" for n in range(len(sizes))]
        self.graph.node("Split", [x, self.graph.ints(*sizes)], parts, axis=-1)
        return parts

    def concat(self, values: Sequence[str]) -> str:
        return self.graph.node("Concat", list(values), axis=-1)

    def _reshape(self, x: str, *shape: int) -> str:
        return self.graph.node("Reshape", [x, self.graph.ints(*shape)])  # a 0 keeps the dimension

    def split_heads(self, x: str, heads: int) -> str:
        apart = self._reshape(x, 0, 0, heads, -1)  # [B, S, H, D]
        self._flat[apart] = x
        return apart

    def merge_heads(self, x: str) -> str:
        if x not in self._flat:
            self._flat[x] = self._reshape(x, 0, 0, -1)  # [B, S, H*D]
        return self._flat[x]

    # --- vision
    def patches(self, pixels: str) -> str:
        at, size = "vision_encoder", self.spec.config.vision.patch_size
        parts = [self._constant(f"{at}.patch_embedding.{part}") for part in ("weight", "bias")]
        x = self.graph.node("Conv", [pixels, *parts], kernel_shape=[size, size], strides=[size, size])
        channels = self.spec.config.vision.hidden_size
        x = self.graph.node("Transpose", [self._reshape(x, 0, channels, -1)], perm=[0, 2, 1])  # [T, P, C]
        tiles = self.graph.node("Shape", [pixels], start=0, end=1)  # [1]
        shape = self.graph.node("Concat", [tiles, self.graph.ints(1, channels)], axis=0)  # [3]
        first = self.graph.node("Expand", [self._constant(f"{at}.class_embedding"), shape])  # [T, 1, C]
        x = self.graph.node("Concat", [first, x], axis=1)  # [T, 1 + P, C]
        return self.add(x, self._constant(self.spec.positions(self.spec.config.tile_size)))

    def full_attention(self, q: str, k: str, v: str) -> str:
        heads = self.spec.config.vision.heads
        flat = [self.merge_heads(value) for value in (q, k, v)]  # [T, S, C]
        mixed = self.graph.node("MultiHeadAttention", flat, domain=CONTRIB, num_heads=heads)
        return self.split_heads(mixed, heads)

    def shuffle(self, x: str) -> str:
        ints, factor = self.graph.ints, self.spec.config.downsample
        x = self.graph.node("Slice", [x, ints(1), ints(NO_LIMIT), ints(1)])  # [T, P, C]
        small, width = self.spec.config.vision.grid // factor, self.spec.config.vision.hidden_size
        x = self._reshape(x, 0, small, factor, small, factor * width)  # [T, row, in, column, in and C]
        x = self.graph.node("Transpose", [x], perm=[0, 1, 3, 2, 4])
        return self._reshape(x, 0, small * small, factor * factor * width)  # [T, tokens, 4C]

    # --- decoder
    def embedding(self, ids: str) -> str:
        name = "token_embedding"
        weight = self._get(f"{name}.weight")
        if not isinstance(weight, QuantizedTensor):
            table = self.graph.initializer(f"{name}.weight", weight.numpy())
            rows = self.graph.node("Gather", [table, ids], axis=0)
            return self._cast(rows, TensorProto.FLOAT) if weight.dtype == torch.float16 else rows
        if weight.bits == 4 and weight.group:
            return self._gather_blocks(ids, name, weight)
        return self._gather_rows(ids, name, weight)

    def _gather_rows(self, ids: str, name: str, weight: QuantizedTensor) -> str:
        self.kinds[name] = "Gather int8"
        values = self.graph.initializer(f"{name}.weight{VALUES}", weight.values.numpy())
        scales = self.graph.initializer(f"{name}.weight{SCALES}", weight.scales.numpy())
        rows = self._cast(self.graph.node("Gather", [values, ids], axis=0), TensorProto.FLOAT)  # [B, S, C]
        return self.mul(rows, self.graph.node("Gather", [scales, ids], axis=0))  # [B, S, 1]

    def _gather_blocks(self, ids: str, name: str, weight: QuantizedTensor) -> str:
        self.kinds[name] = "GatherBlockQuantized"
        packed = packing.pack_blocks(weight).reshape(weight.shape[0], -1)  # [V, C/2]
        values = self.graph.initializer(f"{name}.weight{VALUES}", packed)
        scales = self.graph.initializer(f"{name}.weight{SCALES}", weight.scales.numpy())
        sizes: Attributes = {"bits": 4, "block_size": weight.group, "gather_axis": 0, "quantize_axis": 1}
        return self.graph.node("GatherBlockQuantized", [values, ids, scales], domain=CONTRIB, **sizes)

    def rope(self, x: str) -> str:
        shared = self._shared()
        inputs = [self.merge_heads(x), shared.positions, shared.cos, shared.sin]
        turned = self.graph.node("RotaryEmbedding", inputs, domain=CONTRIB)
        return self._heads_apart(turned, self.spec.config.decoder.head_dim)

    def _shared(self) -> DecoderInputs:
        assert self.decoder is not None, "the decoder's inputs come first"
        return self.decoder

    def _heads_apart(self, flat: str, width: int) -> str:
        apart = self._reshape(flat, 0, 0, -1, width)  # [B, S, H, D]
        self._flat[apart] = flat
        return apart

    def cached_attention(self, q: str, k: str, v: str, layer: int, scale: float) -> str:
        d, names, shared = self.spec.config.decoder, [f"{layer}.key", f"{layer}.value"], self._shared()
        inputs = [
            *(self.merge_heads(value) for value in (q, k, v)),  # [B, S, H*W]
            *(f"past_key_values.{name}" for name in names),
            shared.seqlens,
            shared.total,
        ]
        outputs = [f"attention.{layer}", *(f"present.{name}" for name in names)]
        sizes: Attributes = {"num_heads": d.heads, "kv_num_heads": d.kv_heads, "do_rotary": 0, "scale": scale}
        if self.kv is not None:
            inputs += [*[""] * UNUSED_ATTENTION_INPUTS, *self._cache_scales(self.kv, layer)]
            sizes |= {"kv_cache_bit_width": 8, "k_quant_type": PER_CHANNEL, "v_quant_type": PER_CHANNEL}
        self.graph.node("GroupQueryAttention", inputs, outputs, domain=CONTRIB, **sizes)
        return self._heads_apart(outputs[0], self.spec.width(layer))

    @property
    def cache_type(self) -> int:
        """The element type of the KV cache."""
        return self.arithmetic if self.kv is None else TensorProto.INT8

    def _cache_scales(self, kv: CacheScales, layer: int) -> list[str]:
        pairs = (("key", kv.keys[layer]), ("value", kv.values[layer]))
        return [
            self.graph.initializer(f"cache.{layer}.{kind}{SCALES}", scale[None, :, None].contiguous().numpy())
            for kind, scale in pairs  # [1, Hkv, 1, W]
        ]

    def last(self, x: str) -> str:
        return self.graph.node("Gather", [x, self.graph.ints(-1)], axis=1)  # [B, 1, C]


def tables(graph: GraphBuilder, cos: torch.Tensor, sin: torch.Tensor) -> tuple[str, str]:
    """RoPE's cos and sin [context, D / 2] as initializers, always fp32."""
    return graph.initializer("rope.cos", cos.numpy()), graph.initializer("rope.sin", sin.numpy())
