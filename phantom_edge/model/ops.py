"""The small set of operations that the folded graphs are written in, and their torch form.

``graphs.py`` says once what a Phantom computes; each format implements :class:`Ops` with torch tensors (here,
:class:`TorchOps`), ONNX nodes or MIL operations. A value is whatever the implementation makes of it; only the
meaning of an operation and the layout are fixed: activations [B, S, C], heads [B, S, H, D].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.model import linear_by_rows
from phantom_edge.model.original import causal_attention, pixel_shuffle
from phantom_edge.model.rope import rotary_tables, rotate
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight, dense, dense_rows
from phantom_edge.numbers.activations import ActivationGrid, GridOf, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor

Value = Any
Weights = Mapping[str, Weight]


class Ops(Protocol):
    """What a format must provide. The ``name`` of a linear is its module's name in a recipe."""

    # --- arithmetic shared by both graphs
    def linear(self, x: Value, name: str) -> Value:
        """``x @ W.T + b`` with ``{name}.weight``, which may be quantised, and ``{name}.bias``, if any."""

    def project(self, x: Value, name: str) -> Value:
        """``x @ W.T`` with the small constant ``name`` [out, in], never quantised."""

    def scale(self, x: Value, name: str) -> Value:
        """``x`` times the one-element constant ``name``."""

    def layer_norm(self, x: Value, name: str, eps: float) -> Value: ...
    def rms_norm(self, x: Value, name: str, eps: float) -> Value: ...
    def gelu(self, x: Value) -> Value:
        """GELU with erf, not its tanh approximation."""

    def silu(self, x: Value) -> Value: ...
    def sigmoid(self, x: Value) -> Value: ...
    def softmax(self, x: Value) -> Value:
        """Over the last axis."""

    def add(self, a: Value, b: Value) -> Value: ...
    def mul(self, a: Value, b: Value) -> Value:
        """Elementwise; the last axis of ``b`` may be 1."""

    def split(self, x: Value, sizes: Sequence[int]) -> Sequence[Value]:
        """Along the last axis."""

    def concat(self, values: Sequence[Value]) -> Value:
        """Along the last axis."""

    def split_heads(self, x: Value, heads: int) -> Value:
        """[B, S, H*D] to [B, S, H, D]."""

    def merge_heads(self, x: Value) -> Value:
        """[B, S, H, D] to [B, S, H*D]."""

    # --- vision
    def patches(self, pixels: Value) -> Value:
        """Tiles [T, 3, S, S] in 0..1 to [T, 1 + patches, C]: patch and class embedding, positions added."""

    def full_attention(self, q: Value, k: Value, v: Value) -> Value:
        """Softmax attention over all positions, scale 1/sqrt(D)."""

    def shuffle(self, x: Value) -> Value:
        """Drop the class token and pixel-shuffle: [T, 1 + patches, C] to [T, tokens, 4C]."""

    # --- decoder
    def embedding(self, ids: Value) -> Value:
        """Rows of ``token_embedding.weight``, which may be quantised: [1, S] to [1, S, hidden]."""

    def rope(self, x: Value) -> Value:
        """Rotate [B, S, H, D] by the positions of this call."""

    def cached_attention(self, q: Value, k: Value, v: Value, layer: int, scale: float) -> Value:
        """Causal grouped-query attention [B, S, H, W] after appending k, v [B, S, Hkv, W] to the cache."""

    def last(self, x: Value) -> Value:
        """[B, S, C] to [B, 1, C], the last position."""


class KVCache:
    """Keys and values of every layer, [1, context, Hkv, head_dim + phantom_dim]; ``length`` are filled."""

    def __init__(self, spec: FoldedSpec, context: int, dtype: torch.dtype = torch.float32):
        d = spec.config.decoder
        shapes = [(1, context, d.kv_heads, spec.width(n)) for n in range(d.layers)]
        self.keys = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.values = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.context, self.length = context, 0


class CacheScales(Protocol):
    """The int8 grid of a KV cache: ``keys`` and ``values`` hold, per layer, scales [Hkv, W]."""

    @property
    def keys(self) -> Sequence[Tensor]: ...
    @property
    def values(self) -> Sequence[Tensor]: ...
    def round(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, S, Hkv, W] as the cache gives them back."""

    def fingerprint(self) -> str:
        """SHA-256 of all scales."""


class TorchOps:
    """The reference: fp32 torch with quantised weights multiplied out.

    ``activation`` is the grid on which a runtime holds the input of a product with a quantised weight, ``kv``
    the grid of its cache. The decoder continues ``cache`` by ``steps`` tokens.
    """

    def __init__(
        self,
        spec: FoldedSpec,
        weights: Weights,
        *,
        activation: GridOf | None = None,
        kv: CacheScales | None = None,
        cache: KVCache | None = None,
        steps: int = 0,
    ):
        self.spec, self.weights, self.activation, self.kv = spec, weights, activation, kv
        if cache is not None:
            self._keys, self._values = cache.keys, cache.values
            d = spec.config.decoder
            self.start, self.end = cache.length, cache.length + steps
            self.tables = rotary_tables(d.rope, d.head_dim, torch.arange(self.start, self.end), self.end)

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if isinstance(weight, QuantizedTensor) and self.activation is not None:
            x = self.on_grid(x, self.activation(weight), weight.group)
        return self.product(x, name, weight, None if bias is None else dense(bias))

    def product(self, x: Tensor, name: str, weight: Weight, bias: Tensor | None) -> Tensor:
        """``x @ W.T + b`` in fp32; a large matrix becomes fp32 a few rows at a time."""
        whole = isinstance(weight, Tensor) and weight.dtype == torch.float32
        if whole or math.prod(weight.shape) <= linear_by_rows.PIECE:
            return F.linear(x, dense(weight), bias)
        out, width = weight.shape
        return linear_by_rows.linear(x, (out, width), partial(dense_rows, weight), bias)

    def on_grid(self, x: Tensor, grid: ActivationGrid, group: int | None) -> Tensor:
        """The input of one integer matmul as the runtime holds it."""
        return fake_quantize(x, grid, group)

    def _float(self, name: str) -> Tensor:
        return dense(self.weights[name])

    def project(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._float(name))

    def scale(self, x: Tensor, name: str) -> Tensor:
        return x * self._float(name)

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        weight, bias = self._float(f"{name}.weight"), self._float(f"{name}.bias")
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def rms_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self._float(f"{name}.weight"), eps)

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def softmax(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def split(self, x: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
        return torch.split(x, list(sizes), dim=-1)

    def concat(self, values: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(values), dim=-1)

    def split_heads(self, x: Tensor, heads: int) -> Tensor:
        return torch.unflatten(x, -1, (heads, -1))

    def merge_heads(self, x: Tensor) -> Tensor:
        return x.flatten(-2)

    def patches(self, pixels: Tensor) -> Tensor:
        at = "vision_encoder"
        weight, bias = (self._float(f"{at}.patch_embedding.{part}") for part in ("weight", "bias"))
        x = F.conv2d(pixels, weight, bias, stride=self.spec.config.vision.patch_size)
        x = x.flatten(2).transpose(1, 2)  # [T, P, C]
        first = self._float(f"{at}.class_embedding").expand(len(x), 1, -1)
        return torch.cat([first, x], dim=1) + self._float(self.spec.positions(pixels.shape[-1]))

    def full_attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

    def shuffle(self, x: Tensor) -> Tensor:
        return pixel_shuffle(x[:, 1:], math.isqrt(x.shape[1] - 1), self.spec.config.downsample)

    def embedding(self, ids: Tensor) -> Tensor:
        weight = self.weights["token_embedding.weight"]
        if not isinstance(weight, QuantizedTensor):
            return F.embedding(ids, weight).float()
        rows = weight.values[ids].float().unflatten(-1, (-1, weight.block))  # [B, S, C/block, block]
        return torch.flatten(rows * weight.scales[ids].unsqueeze(-1), -2)  # [B, S, C]

    def rope(self, x: Tensor) -> Tensor:
        return rotate(x, *self.tables)

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        keys, values = self._keys[layer], self._values[layer]
        if self.kv is not None:
            k, v = self.kv.round(layer, k, v)
        keys[:, self.start : self.end] = k.to(keys.dtype)
        values[:, self.start : self.end] = v.to(values.dtype)
        keys, values = keys[:, : self.end].to(q.dtype), values[:, : self.end].to(q.dtype)
        group = q.shape[2] // keys.shape[2]
        keys, values = (t.repeat_interleave(group, dim=2) for t in (keys, values))
        return causal_attention(q, keys, values, scale)

    def last(self, x: Tensor) -> Tensor:
        return x[:, -1:]
