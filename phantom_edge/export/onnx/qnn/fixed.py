"""The operations of the folded graphs for an NPU: plain ONNX of fixed shapes, attention written out.

Hexagon's compiler takes neither a dynamic dimension nor a fused attention op, so keys and values come in
whole and the new ones go out; a mask says where a row may look. The order of calls at sites is that of
:mod:`phantom_edge.model.rounded_ops`, whose ranges belong to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import TensorProto

from phantom_edge.errors import CheckError
from phantom_edge.export.base import float_tensor
from phantom_edge.export.half_constants import FloatConstants
from phantom_edge.export.onnx import packing
from phantom_edge.export.onnx.ops import SCALES, VALUES, OnnxOps
from phantom_edge.export.onnx.writer import GraphBuilder
from phantom_edge.model.ops import CacheScales, Weights
from phantom_edge.model.rounded_ops import Sites
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor

NUMBER: Final = "number_"
"""Before the value, in the name of a constant that is no weight."""
STEP, ZERO = "cache.step", "cache.zero"
"""Of the grid from which an int8 cache is read: integers as they are. A channel's scale is a factor apart."""
POWERS: Final = ".powers"
"""After the name of a half of a layer's cache: what moves the scales of phantom channels."""
FIRST: Final = 1  # a tile's patches begin behind the class token


@dataclass(frozen=True)
class CallInputs:
    """Values that every decoder layer shares.

    RoPE's cos and its sin with the sign of the rotation [1, S, 1, D], and the mask [1, 1, G * S, C + S] for
    the G query heads of a key's.
    """

    cos: str
    sin: str
    mask: str
    context: int
    steps: int


@dataclass(frozen=True)
class Cached:
    """Keys, or values, that attention sees: past [1, Hkv, C, W] and new [1, Hkv, S, W].

    They are integers where there is a ``scale`` [1, Hkv, 1, W].
    """

    past: str
    new: str
    scale: str | None = None


class FixedOps(OnnxOps):
    """:class:`OnnxOps` in what Hexagon's compiler takes; :meth:`at` is called at every site."""

    def __init__(self, graph: GraphBuilder, spec: FoldedSpec, weights: Weights):
        super().__init__(graph, spec, weights)
        self.sites = Sites()
        self.call: CallInputs | None = None
        self.half = FloatConstants(spec, weights, "fp16")

    def at(self, site: str, value: str) -> str:
        """The value as the next operation gets it."""
        return value

    def like(self, value: str, moved: str) -> str:
        """What an operation that only moves data made of ``value``."""
        return moved

    def _site(self, kind: str, value: str) -> str:
        return self.at(self.sites(kind), value)

    # --- weights
    def _constant(self, name: str) -> str:
        return self.at(name, self._stored(name))

    def _stored(self, name: str) -> str:
        """A float weight; one of the phantom's in fp16 and moved by the power of two that it needs there."""
        self.read.add(name)
        if ".phantom." in name or ".gate." in name:
            return self._float(name, self.half.stored(name))
        return self._float(name, float_tensor(self.weights[name], name))

    # --- matmuls
    def linear(self, x: str, name: str) -> str:
        x = self.at(f"{name}.input", x)
        weight = self._get(f"{name}.weight")
        if not isinstance(weight, QuantizedTensor):
            product = self.graph.node("MatMul", [x, self._transposed(f"{name}.weight")])
        elif weight.bits == 4:
            product = self._matmul_blocks(x, name, weight)
        else:
            product = self._matmul_bytes(x, name, weight)
        product = self.at(f"{name}.product", product)
        if f"{name}.bias" not in self.weights:
            return product
        return self.at(f"{name}.output", self.graph.node("Add", [product, self._constant(f"{name}.bias")]))

    def _transposed(self, name: str) -> str:
        return self.graph.node("Transpose", [self._stored(name)], perm=[1, 0])

    def _matmul_blocks(self, x: str, name: str, weight: QuantizedTensor) -> str:
        return self._matmul_bits(x, name, weight, packing.pack_blocks(weight), weight.scales)

    def _matmul_bytes(self, x: str, name: str, weight: QuantizedTensor) -> str:
        """int8 per channel, with activations in fp16: in blocks of one scale where they fit."""
        if packing.channel_block(weight.shape[1]) is not None:
            return self._matmul_bits(x, name, weight, *packing.pack_channels(weight))
        self.kinds[name] = "MatMul int8"
        values = self.graph.initializer(f"{name}.weight{VALUES}", packing.pack_columns(weight))
        scales = self.graph.initializer(f"{name}.weight{SCALES}", weight.scales[:, 0].numpy())
        product = self.graph.node("MatMul", [x, self._cast(values, TensorProto.FLOAT)])
        return self.graph.node("Mul", [product, scales])

    def project(self, x: str, name: str) -> str:
        y = self.graph.node("MatMul", [x, self._transposed(name)])
        after = self.half.scaling(name).after
        if after != 1.0:
            y = self.graph.node("Mul", [y, self._number(after)])
        return self._site("project", y)

    def scale(self, x: str, name: str) -> str:
        return self._site("scale", self.graph.node("Mul", [x, self._stored(name)]))

    def _number(self, value: float) -> str:
        return self.graph.scalar(f"{NUMBER}{value!r}", np.float32(value))

    # --- norms, activations, arithmetic
    def layer_norm(self, x: str, name: str, eps: float) -> str:
        self.sites.enter(name)
        return self._site("norm", super().layer_norm(x, name, eps))

    def rms_norm(self, x: str, name: str, eps: float) -> str:
        self.sites.enter(name)
        return self._site("norm", super().rms_norm(x, name, eps))

    def gelu(self, x: str) -> str:
        return self._site("gelu", self.graph.node("Gelu", [x]))

    def sigmoid(self, x: str) -> str:
        return self._site("sigmoid", super().sigmoid(x))

    def silu(self, x: str) -> str:
        return self.mul(x, self.sigmoid(x))

    def softmax(self, x: str) -> str:
        return self._site("softmax", super().softmax(x))

    def add(self, a: str, b: str) -> str:
        return self._site("add", super().add(a, b))

    def mul(self, a: str, b: str) -> str:
        return self._site("mul", super().mul(a, b))

    # --- shapes
    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        return [self.like(x, part) for part in super().split(x, sizes)]

    def _reshape(self, x: str, *shape: int) -> str:
        return self.like(x, super()._reshape(x, *shape))

    def _transpose(self, x: str, *perm: int) -> str:
        return self.like(x, self.graph.node("Transpose", [x], perm=list(perm)))

    def split_heads(self, x: str, heads: int) -> str:
        return self._reshape(x, 0, 0, heads, -1)  # [B, S, H, D]

    def merge_heads(self, x: str) -> str:
        return self._reshape(x, 0, 0, -1)  # [B, S, H * D]

    # --- vision
    def patches(self, pixels: str) -> str:
        at, size = "vision_encoder", self.spec.config.vision.patch_size
        self.sites.begin(at)
        parts = [self._stored(f"{at}.patch_embedding.{part}") for part in ("weight", "bias")]
        x = self.graph.node("Conv", [pixels, *parts], kernel_shape=[size, size], strides=[size, size])
        channels = self.spec.config.vision.hidden_size
        x = self._transpose(self._reshape(self._site("patches", x), 1, channels, -1), 0, 2, 1)  # [1, P, C]
        first = self._reshape(self._constant(f"{at}.class_embedding"), 1, 1, channels)
        x = self._site("concat", self.graph.node("Concat", [first, x], axis=1))  # [1, 1 + P, C]
        return self.add(x, self._constant(self.spec.positions(self.spec.config.tile_size)))

    def full_attention(self, q: str, k: str, v: str) -> str:
        scale = self._number(self.spec.config.vision.head_dim**-0.5)
        q = self._site("query", self.graph.node("Mul", [q, scale]))
        q, v = (self._transpose(value, 0, 2, 1, 3) for value in (q, v))  # [1, H, P, D]
        k = self._transpose(k, 0, 2, 3, 1)  # [1, H, D, P]
        weights = self.softmax(self._site("scores", self.graph.node("MatMul", [q, k])))
        # Halved and doubled: without an operation between, ONNX Runtime moves the grids of what v came from,
        # and of what follows, to this product, which then keeps eight bits of v.
        half = self.graph.node("Mul", [v, self._number(0.5)])
        mixed = self.graph.node("Mul", [self.graph.node("MatMul", [weights, half]), self._number(2.0)])
        return self._transpose(self._site("mixed", mixed), 0, 2, 1, 3)

    def shuffle(self, x: str) -> str:
        ints, factor = self.graph.ints, self.spec.config.downsample
        count = self.spec.config.vision.grid**2
        x = self.like(
            x, self.graph.node("Slice", [x, ints(FIRST), ints(FIRST + count), ints(1)])
        )  # [1, P, C]
        small, width = self.spec.config.vision.grid // factor, self.spec.config.vision.hidden_size
        x = self._reshape(x, small, factor, small, factor * width)  # [row, in, column, in and C]
        x = self._transpose(x, 0, 2, 1, 3)
        return self._reshape(x, 1, small * small, factor * factor * width)  # [1, tokens, 4C]

    # --- decoder
    def _of_call(self) -> CallInputs:
        if self.call is None:
            raise CheckError("the decoder's inputs come first; report it")
        return self.call

    def rope(self, x: str) -> str:
        half = self.spec.config.decoder.head_dim // 2
        first, second = self.split(x, [half, half])
        turned = self.concat([second, first])
        call = self._of_call()
        return self.add(self.mul(x, call.cos), self.mul(turned, call.sin))

    def cached_attention(self, q: str, k: str, v: str, layer: int, scale: float) -> str:
        """Over what was cached and what is new apart, so that no step copies the cache."""
        d, call, node = self.spec.config.decoder, self._of_call(), self.graph.node
        group, width = d.heads // d.kv_heads, self.spec.width(layer)
        q = self._site("query", node("Mul", [q, self._number(scale)]))
        keys, values = self._cached(layer, "key", k), self._cached(layer, "value", v)
        q = self._scaled(q, keys)
        # The query heads of one key head are rows of one product: [1, Hkv, G * S, W].
        q = self._reshape(self._transpose(q, 0, 2, 1, 3), 1, d.kv_heads, group * call.steps, width)
        scores = [node("MatMul", [q, self._transpose(part, 0, 1, 3, 2)]) for part in (keys.past, keys.new)]
        both = self._site("scores", node("Concat", scores, axis=-1))  # [1, Hkv, G * S, C + S]
        weights = self.softmax(self._site("masked", node("Add", [both, call.mask])))
        behind, new = self.split(weights, [call.context, call.steps])
        mixed = node("Add", [node("MatMul", [behind, values.past]), node("MatMul", [new, values.new])])
        mixed = self._reshape(self._site("mixed", mixed), 1, d.heads, call.steps, width)
        if self.kv is None:
            for kind, half in (("key", keys), ("value", values)):
                node("Cast", [half.new], [f"present.{layer}.{kind}"], to=TensorProto.FLOAT16)
        return self._scaled(self._transpose(mixed, 0, 2, 1, 3), values)  # [1, S, H, W]

    @property
    def cache_type(self) -> int:
        return TensorProto.FLOAT16 if self.kv is None else TensorProto.INT8

    def _cached(self, layer: int, kind: str, new: str) -> Cached:
        """A layer's keys or values, of which ``new`` are those of this call.

        The NPU takes no scale per channel of a value that is no weight. So the cache's integers are used as
        they are, and their scales multiply the queries, and what attention mixed.
        """
        node, past, present = self.graph.node, f"past_key_values.{layer}.{kind}", f"present.{layer}.{kind}"
        if self.kv is None:
            return Cached(node("Cast", [past], to=TensorProto.FLOAT), self._transpose(new, 0, 2, 1, 3))
        step, zero = self.graph.scalar(STEP, np.float32(1)), self.graph.scalar(ZERO, np.int8(0))
        scale = self._cache_scale(self.kv, layer, kind)
        d, width, ints = self.spec.config.decoder, self.spec.width(layer), self.graph.ints
        one = node("Reshape", [node("Reciprocal", [scale]), ints(1, 1, d.kv_heads, width)])
        whole = self._transpose(node("Mul", [new, one]), 0, 2, 1, 3)
        node("QuantizeLinear", [whole, step, zero], [present])
        old, added = (node("DequantizeLinear", [value, step, zero]) for value in (past, present))
        each = node("Expand", [scale, ints(1, d.kv_heads, d.heads // d.kv_heads, width)])
        return Cached(old, added, node("Reshape", [each, ints(1, 1, d.heads, width)]))

    def _cache_scale(self, kv: CacheScales, layer: int, kind: str) -> str:
        """Scales [1, Hkv, 1, W] of keys or values as they are here, the phantom's moved by a power of two."""
        scales = self._cache_scales(kv, layer)[("key", "value").index(kind)]
        if not self.spec.phantom_dims[layer]:
            return scales
        powers = self.half.cache_powers(layer, kind).numpy()
        name = f"cache.{layer}.{kind}{POWERS}"
        return self.graph.node("Mul", [scales, self.graph.initializer(name, powers)])

    def _scaled(self, value: str, cached: Cached) -> str:
        return value if cached.scale is None else self.graph.node("Mul", [value, cached.scale])
