"""The small set of operations that the folded graphs are written in, and their torch form.

``graphs.py`` says once what a Phantom computes; each format says here-like what an operation is: torch
tensors in :class:`TorchOps`, ONNX nodes, MIL operations. A value is whatever the implementation makes of it;
only the last axis and the meaning of an operation are fixed. Layouts: activations [B, S, C], heads [B, S, H,
D].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from phantom_edge.model import linear_by_rows
from phantom_edge.model.original import causal_attention, pixel_shuffle
from phantom_edge.model.rope import rotary_tables, rotate
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor

Value = Any
Weights = Mapping[str, "torch.Tensor | QuantizedTensor"]


class Ops(Protocol):
    """What a format must provide. Weights are named; ``name`` without ``.weight`` is the recipe's module
    name.
    """

    # --- arithmetic shared by both graphs
    def linear(self, x: Value, name: str) -> Value:
        """``x @ W.T + b`` with ``{name}.weight``, which may be quantised, and ``{name}.bias`` if there is
        one.
        """

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
        """Append k, v [B, S, Hkv, W] to the cache of ``layer``; one causal grouped-query attention op: [B, S,
        H, W].
        """

    def last(self, x: Value) -> Value:
        """[B, S, C] to [B, 1, C], the last position."""


class KVCache:
    """Keys and values of every layer, [1, context, Hkv, head_dim + phantom_dim], and how many positions are
    filled.
    """

    def __init__(self, spec: FoldedSpec, context: int, dtype: torch.dtype = torch.float32):
        d = spec.config.decoder
        shapes = [(1, context, d.kv_heads, spec.width(n)) for n in range(d.layers)]
        self.keys = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.values = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.context, self.length = context, 0


def _rows(weight: torch.Tensor | QuantizedTensor, start: int, stop: int) -> torch.Tensor:
    return (
        weight.dequantize_rows(start, stop)
        if isinstance(weight, QuantizedTensor)
        else weight[start:stop].float()
    )


class CacheScales(Protocol):
    """The int8 grid of a KV cache: ``keys`` and ``values`` hold, per layer, scales [Hkv, W]."""

    keys: Sequence[torch.Tensor]
    values: Sequence[torch.Tensor]

    def round(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [B, S, Hkv, W] as the cache gives them back."""


class TorchOps:
    """The reference: fp32 torch, quantised weights dequantised, activations put on a runtime's own grid if
    asked.

    ``activation`` says on which grid a runtime holds the input of a matmul with such a weight; see
    :mod:`phantom_edge.numbers.activations`, ``kv`` on which grid the cache holds keys and values. ``cache``
    and ``steps`` (tokens of this call) serve the decoder only.
    """

    def __init__(
        self,
        spec: FoldedSpec,
        weights: Weights,
        *,
        activation: Callable[[QuantizedTensor], ActivationGrid] | None = None,
        kv: CacheScales | None = None,
        cache: KVCache | None = None,
        steps: int = 0,
    ):
        self.spec, self.weights, self.activation, self.kv = spec, weights, activation, kv
        self.cache = cache
        if cache is not None:
            d = spec.config.decoder
            self.start, self.end = cache.length, cache.length + steps
            self.tables = rotary_tables(d.rope, d.head_dim, torch.arange(self.start, self.end), self.end)

    def linear(self, x, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if isinstance(weight, QuantizedTensor) and self.activation is not None:
            x = self.on_grid(x, self.activation(weight), weight.group)
        return self.product(x, name, weight, None if bias is None else bias.float())

    def product(
        self, x: torch.Tensor, name: str, weight: torch.Tensor | QuantizedTensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """``x @ W.T + b`` of module ``name`` in fp32; a large matrix that is stored otherwise, piece by
        piece.
        """
        whole = isinstance(weight, torch.Tensor) and weight.dtype == torch.float32
        if whole or math.prod(weight.shape) <= linear_by_rows.PIECE:
            return F.linear(x, self.dense(name, weight), bias)
        return linear_by_rows.linear(x, weight.shape, lambda start, end: _rows(weight, start, end), bias)

    def on_grid(self, x: torch.Tensor, grid: ActivationGrid, group: int | None) -> torch.Tensor:
        """The input of one integer matmul as the runtime holds it."""
        return fake_quantize(x, grid, group)

    def dense(self, name: str, weight: torch.Tensor | QuantizedTensor) -> torch.Tensor:
        """The fp32 matrix that module ``name`` multiplies with."""
        return weight.dequantize() if isinstance(weight, QuantizedTensor) else weight.float()

    def project(self, x, name):
        return F.linear(x, self.weights[name].float())

    def scale(self, x, name):
        return x * self.weights[name].float()

    def layer_norm(self, x, name, eps):
        weight, bias = self.weights[f"{name}.weight"].float(), self.weights[f"{name}.bias"].float()
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def rms_norm(self, x, name, eps):
        return F.rms_norm(x, x.shape[-1:], self.weights[f"{name}.weight"].float(), eps)

    def gelu(self, x):
        return F.gelu(x)

    def silu(self, x):
        return F.silu(x)

    def sigmoid(self, x):
        return torch.sigmoid(x)

    def softmax(self, x):
        return x.softmax(-1)

    def add(self, a, b):
        return a + b

    def mul(self, a, b):
        return a * b

    def split(self, x, sizes):
        return x.split(list(sizes), dim=-1)

    def concat(self, values):
        return torch.cat(list(values), dim=-1)

    def split_heads(self, x, heads):
        return x.unflatten(-1, (heads, -1))

    def merge_heads(self, x):
        return x.flatten(-2)

    def patches(self, pixels):
        at = "vision_encoder"
        weight, bias = (self.weights[f"{at}.patch_embedding.{part}"].float() for part in ("weight", "bias"))
        x = F.conv2d(pixels, weight, bias, stride=self.spec.config.vision.patch_size)
        x = x.flatten(2).transpose(1, 2)  # [T, P, C]
        first = self.weights[f"{at}.class_embedding"].float().expand(len(x), 1, -1)
        return torch.cat([first, x], dim=1) + self.weights[f"{at}.position_embedding"].float()

    def full_attention(self, q, k, v):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

    def shuffle(self, x):
        return pixel_shuffle(x[:, 1:], self.spec.config.vision.grid, self.spec.config.downsample)

    def embedding(self, ids):
        weight = self.weights["token_embedding.weight"]
        if not isinstance(weight, QuantizedTensor):
            return F.embedding(ids, weight).float()
        rows = weight.values[ids].float().unflatten(-1, (-1, weight.block))  # [B, S, C/block, block]
        return (rows * weight.scales[ids].unsqueeze(-1)).flatten(-2)  # [B, S, C]

    def rope(self, x):
        return rotate(x, *self.tables)

    def cached_attention(self, q, k, v, layer, scale):
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        if self.kv is not None:
            k, v = self.kv.round(layer, k, v)
        keys[:, self.start : self.end], values[:, self.start : self.end] = (
            k.to(keys.dtype),
            v.to(values.dtype),
        )
        keys, values = keys[:, : self.end].to(q.dtype), values[:, : self.end].to(q.dtype)
        group = q.shape[2] // keys.shape[2]
        keys, values = (t.repeat_interleave(group, dim=2) for t in (keys, values))
        return causal_attention(q, keys, values, scale)

    def last(self, x):
        return x[:, -1:]
