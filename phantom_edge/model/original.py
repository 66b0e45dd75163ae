"""The original: the published computation in fp32, unfolded, with the first token's state of the run itself.

This is the oracle that everything else is compared with, so it follows the published code step by step
(``modeling_qwen2.py``, ``modeling_intern_vit.py``, ``utils.py`` of ByungKwanLee/Phantom) and shares nothing
with the fold: y is recomputed for the whole cache, heads are repeated before the softmax over heads, the gate
is two exponentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.images import normalize
from phantom_edge.model.rope import rotary_tables, rotate
from phantom_edge.model.spec import ETA

Tables = tuple[Tensor, Tensor]  # cos and sin
Heads = tuple[Tensor, Tensor, Tensor]  # q, k and v


@dataclass
class LayerState:
    """One layer's cache: k and v so far [1, N, Hkv, D], and the first token's, repeated [1, 1, H, D]."""

    k: Tensor
    v: Tensor
    first: Heads


@dataclass
class OriginalCache:
    """What the original remembers between calls."""

    length: int = 0
    layers: list[LayerState] = field(default_factory=list)


class PhantomModel:
    """The published model on a mapping of canonical names to tensors (a :class:`Checkpoint`, or a dict).

    ``phantom=False`` drops the phantom dimension everywhere; it exists so that checks can show that they
    would notice. ``keep=False`` reads a weight anew whenever it is used: for one pass over a model that would
    not fit in fp32.

    >>> nano = pe.Pretrained.open()
    >>> model = PhantomModel(nano.config, nano.checkpoint)
    >>> model.decode(model.embed(torch.tensor([[nano.first_id, 5]])), model.make_cache()).shape
    torch.Size([1, 1, 768])
    """

    def __init__(
        self, config: PhantomConfig, weights: Mapping[str, Tensor], *, phantom: bool = True, keep: bool = True
    ):
        self.config, self.phantom, self._keep = config, phantom, keep
        self._weights = weights
        self._loaded: dict[str, Tensor] = {}
        self._in_layer = False  # of several sequences, which share what is read

    def _w(self, name: str) -> Tensor:
        if name in self._loaded:
            return self._loaded[name]
        weight = self._weights[name].to(torch.float32)
        if self._keep or self._in_layer:
            self._loaded[name] = weight
        return weight

    def _linear(self, x: Tensor, name: str) -> Tensor:
        bias = f"{name}.bias"
        return F.linear(x, self._w(f"{name}.weight"), self._w(bias) if bias in self._weights else None)

    # --- vision ---------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden].

        At another S than the config's the position embeddings are interpolated, as InternVL does.
        """
        return torch.cat([self._encode_tile(tile[None]) for tile in pixels])

    def _encode_tile(self, pixels: Tensor) -> Tensor:
        v, at = self.config.vision, "vision_encoder"
        pixels = torch.from_numpy(normalize(pixels.numpy()))
        patch = f"{at}.patch_embedding"
        x = F.conv2d(pixels, self._w(f"{patch}.weight"), self._w(f"{patch}.bias"), stride=v.patch_size)
        x = x.flatten(2).transpose(1, 2)  # [T, P, C]
        x = torch.cat([self._w(f"{at}.class_embedding").expand(len(x), 1, -1), x], dim=1)
        x = x + self._positions(pixels.shape[-1] // v.patch_size)
        for n in range(v.layers):
            layer = f"{at}.layers.{n}"
            x = x + self._vision_attention(self._layer_norm(x, f"{layer}.norm1"), layer) * self._w(
                f"{layer}.scale1"
            )
            hidden = F.gelu(self._linear(self._layer_norm(x, f"{layer}.norm2"), f"{layer}.fc1"))
            x = x + self._linear(hidden, f"{layer}.fc2") * self._w(f"{layer}.scale2")
        x = pixel_shuffle(x[:, 1:], pixels.shape[-1] // v.patch_size, self.config.downsample)
        x = self._layer_norm(x, f"{at}.projector.norm", eps=1e-5)
        return self._linear(F.gelu(self._linear(x, f"{at}.projector.fc1")), f"{at}.projector.fc2")

    def _positions(self, grid: int) -> Tensor:
        """Position embeddings [1, 1 + P, C] of ``grid`` x ``grid`` patches, as of ``_get_pos_embed``."""
        table, trained = self._w("vision_encoder.position_embedding"), self.config.vision.grid
        first, patches = table.split([1, trained * trained], dim=1)
        square = patches.reshape(1, trained, trained, -1).permute(0, 3, 1, 2)  # [1, C, row, column]
        resized = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
        return torch.cat([first, resized.reshape(1, -1, grid * grid).permute(0, 2, 1)], dim=1)

    def _layer_norm(self, x: Tensor, name: str, eps: float | None = None) -> Tensor:
        eps = self.config.vision.layer_norm_eps if eps is None else eps
        return F.layer_norm(x, x.shape[-1:], self._w(f"{name}.weight"), self._w(f"{name}.bias"), eps)

    def _vision_attention(self, x: Tensor, layer: str) -> Tensor:
        v = self.config.vision
        qkv = self._linear(x, f"{layer}.qkv").unflatten(-1, (3, v.heads, v.head_dim))
        q, k, value = qkv.permute(2, 0, 3, 1, 4)  # each [T, H, N, D]
        weights = (q * v.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self._linear((weights @ value).transpose(1, 2).flatten(2), f"{layer}.proj")

    # --- decoder --------------------------------------------------------------------------------------------

    def make_cache(self, context: int | None = None) -> OriginalCache:
        """An empty cache; it grows as needed, so ``context``, which the folded model takes, has no effect."""
        return OriginalCache()

    def embed(self, ids: Tensor) -> Tensor:
        """Ids [1, S] to embeddings [1, S, hidden]."""
        # Only these rows become fp32: the table is the largest matrix of a small model.
        return F.embedding(ids, self._weights["token_embedding.weight"]).to(torch.float32)

    @torch.inference_mode()
    def decode(self, embeds: Tensor, cache: OriginalCache, *, all_positions: bool = False) -> Tensor:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits of the last position, or of all."""
        hidden = self.hidden(embeds, cache)
        return self.head(hidden if all_positions else hidden[:, -1:])

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [1, S, hidden] after the final norm to logits [1, S, vocab]."""
        return self._linear(hidden, "text_decoder.head")

    @torch.inference_mode()
    def hidden(self, x: Tensor, cache: OriginalCache) -> Tensor:
        """Hidden states [1, S, hidden] after the final norm; extends ``cache``."""
        (x,) = self.hidden_of_all([x], [cache])
        return x

    @torch.inference_mode()
    def hidden_of_all(self, embeds: list[Tensor], caches: list[OriginalCache]) -> list[Tensor]:
        """:meth:`hidden` of several sequences, one layer after the other for all of them.

        With ``keep=False`` one layer at a time is in memory, and read from the checkpoint's files once.
        """
        d, states = self.config.decoder, list(embeds)
        lengths = [cache.length + x.shape[1] for x, cache in zip(states, caches, strict=True)]
        tables = [
            rotary_tables(d.rope, d.head_dim, torch.arange(cache.length, end), end)
            for cache, end in zip(caches, lengths, strict=True)
        ]
        for n in range(d.layers):
            self._in_layer = True
            states = [self._layer(n, x, t, cache) for x, t, cache in zip(states, tables, caches, strict=True)]
            self._in_layer = False
            if not self._keep:
                self._loaded.clear()
        for cache, length in zip(caches, lengths, strict=True):
            cache.length = length
        return [self._rms_norm(x, "text_decoder.norm") for x in states]

    def _layer(self, n: int, x: Tensor, tables: Tables, cache: OriginalCache) -> Tensor:
        layer = f"text_decoder.layers.{n}"
        x = x + self._attention(self._rms_norm(x, f"{layer}.norm1"), layer, n, tables, cache)
        gate, up = self._linear(self._rms_norm(x, f"{layer}.norm2"), f"{layer}.gate_up").chunk(2, dim=-1)
        return x + self._linear(F.silu(gate) * up, f"{layer}.down")

    def _rms_norm(self, x: Tensor, name: str) -> Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        return self._w(f"{name}.weight") * (x * torch.rsqrt(variance + self.config.decoder.rms_norm_eps))

    def _attention(self, x: Tensor, layer: str, n: int, tables: Tables, cache: OriginalCache) -> Tensor:
        d = self.config.decoder
        qkv = self._linear(x, f"{layer}.qkv").unflatten(-1, (d.heads + 2 * d.kv_heads, d.head_dim))
        q, k, v = qkv.split([d.heads, d.kv_heads, d.kv_heads], dim=2)  # [1, S, H or Hkv, D]
        q, k = rotate(q, *tables), rotate(k, *tables)
        if n == len(cache.layers):
            first = (q[:, :1], self._repeat(k[:, :1]), self._repeat(v[:, :1]))
            cache.layers.append(LayerState(k, v, first))
        else:
            state = cache.layers[n]
            state.k, state.v = torch.cat([state.k, k], dim=1), torch.cat([state.v, v], dim=1)
        state = cache.layers[n]
        out = self._phantom_attention(q, self._repeat(state.k), self._repeat(state.v), state.first, layer)
        return self._linear(out.flatten(2), f"{layer}.o")

    def _repeat(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.config.decoder.heads // self.config.decoder.kv_heads, dim=2)

    def _phantom_attention(self, q: Tensor, k: Tensor, v: Tensor, first: Heads, layer: str) -> Tensor:
        scale = q.shape[-1] ** -0.5  # of the plain head dimension, also when it is doubled below
        if not self.phantom:
            return causal_attention(q, k, v, scale)
        q0, k0, v0 = first
        q2 = torch.cat([q, ETA * self._xattention(q, q0, f"{layer}.phantom.query")], dim=-1)
        k2 = torch.cat([k, ETA * self._xattention(k, k0, f"{layer}.phantom.key")], dim=-1)
        v2 = torch.cat([v, v + ETA * self._xattention(v, v0, f"{layer}.phantom.value")], dim=-1)
        o1, o2 = causal_attention(q2, k2, v2, scale).chunk(2, dim=-1)  # [1, S, H, D]
        w1, w2 = self._linear(o1, f"{layer}.gate1").exp(), self._linear(o2, f"{layer}.gate2").exp()
        share = w1 / (w1 + w2)
        return share * o1 + (1 - share) * o2

    def _xattention(self, x: Tensor, first: Tensor, name: str) -> Tensor:
        q = F.gelu(self._linear(x, f"{name}.q"))  # [1, N, H, D]
        k = F.gelu(self._linear(first, f"{name}.k"))  # [1, 1, H, D]
        v = F.gelu(self._linear(first, f"{name}.v"))
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)  # over the first token's heads
        return F.gelu(self._linear(weights @ v, f"{name}.o"))


def causal_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Softmax attention of the last S positions: q [B, S, H, D], k and v [B, N, H, D] to [B, S, H, D]."""
    whole, mask = q.shape[1] == k.shape[1], None
    if not whole:
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])  # [S, N]
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=whole, scale=scale)
    return out.transpose(1, 2)


def pixel_shuffle(x: Tensor, grid: int, factor: int) -> Tensor:
    """Gather blocks of factor x factor patches: [T, grid*grid, C] to [T, (grid/factor)^2, C*factor^2].

    The published function permutes twice; together that puts a block's channels in row-major order of the
    block with the column index fastest, and leaves the tokens in row-major order of the picture.
    """
    small = grid // factor
    x = x.unflatten(1, (small, factor, small, factor))  # [T, row, in-row, column, in-column, C]
    return x.permute(0, 1, 3, 2, 4, 5).reshape(len(x), small * small, -1)
