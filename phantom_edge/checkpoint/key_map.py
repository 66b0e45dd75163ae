"""The published key names of each decoder family, and how they become canonical tensors.

A canonical tensor is assembled from one or more stored ones: Qwen2's separate q, k, v are stacked,
InternLM2's ``wqkv`` rows (per kv head: its group of queries, k, v) are put in order, as Phi-3's are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from phantom_edge.checkpoint.config import DecoderConfig, PhantomConfig, VisionConfig

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorSource:
    """Stored keys with their shapes, what makes one canonical tensor of them, and its inverse."""

    parts: tuple[tuple[str, Shape], ...]
    assemble: Callable[[list[torch.Tensor]], torch.Tensor]
    reorder_back: Callable[[torch.Tensor], torch.Tensor] | None = None

    def take_apart(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The stored tensors, in the order of ``parts``, that `assemble` would make this one of."""
        if self.reorder_back is not None:
            tensor = self.reorder_back(tensor)
        return list(tensor.split([shape[0] for _, shape in self.parts], dim=0))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key for key, _ in self.parts)

    def shapes(self) -> dict[str, Shape]:
        return dict(self.parts)


@dataclass(frozen=True)
class FamilyKeys:
    """Key names of one decoder family below ``language_model.model.layers.N``."""

    embedding: str
    head: str
    attention: str
    qkv: tuple[str, ...]
    out: str
    gate_up: tuple[str, ...]
    down: str
    norm1: str
    norm2: str
    per_kv_head: bool = False


_QWEN2 = FamilyKeys(
    embedding="embed_tokens",
    head="lm_head",
    attention="self_attn",
    qkv=("q_proj", "k_proj", "v_proj"),
    out="o_proj",
    gate_up=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
    norm1="input_layernorm",
    norm2="post_attention_layernorm",
)
FAMILIES: dict[str, FamilyKeys] = {
    "qwen2": _QWEN2,
    "phi3": replace(_QWEN2, qkv=("qkv_proj",), gate_up=("mlp.gate_up_proj",)),
    "internlm2": FamilyKeys(
        embedding="tok_embeddings",
        head="output",
        attention="attention",
        qkv=("wqkv",),
        out="wo",
        gate_up=("feed_forward.w1", "feed_forward.w3"),
        down="feed_forward.w2",
        norm1="attention_norm",
        norm2="ffn_norm",
        per_kv_head=True,
    ),
}
# Buffers that some library versions stored beside the weights; they are recomputed from the config.
BUFFERS = ("*.rotary_emb.inv_freq", "*.rotary_emb.cos_cached", "*.rotary_emb.sin_cached")


def is_buffer(key: str) -> bool:
    """Whether a stored key is a buffer that is computed anew from the config."""
    return any(fnmatchcase(key, pattern) for pattern in BUFFERS)


def head_key(decoder: DecoderConfig) -> str:
    """The published name of the head's weight, which a checkpoint with a tied head need not store."""
    return f"language_model.{FAMILIES[decoder.type].head}.weight"


def tensor_sources(config: PhantomConfig) -> dict[str, TensorSource]:
    """Canonical name to stored tensors, for every tensor a checkpoint of this config must hold."""
    return {**_vision(config.vision), **_projector(config), **_decoder(config.decoder)}


def _stack(parts: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(parts, dim=0)


def _one(key: str, *shape: int) -> TensorSource:
    return TensorSource(((key, shape),), lambda parts: parts[0])


def _affine(name: str, key: str, *shape: int) -> dict[str, TensorSource]:
    """A weight of ``shape`` with its bias of ``shape[0]``."""
    return {f"{name}.weight": _one(f"{key}.weight", *shape), f"{name}.bias": _one(f"{key}.bias", shape[0])}


def _vision(v: VisionConfig) -> dict[str, TensorSource]:
    width, ffn = v.hidden_size, v.intermediate_size
    at, old, patch = "vision_encoder", "vision_model.embeddings", (v.patch_size, v.patch_size)
    out = {
        f"{at}.class_embedding": _one(f"{old}.class_embedding", 1, 1, width),
        f"{at}.position_embedding": _one(f"{old}.position_embedding", 1, v.tokens, width),
        **_affine(f"{at}.patch_embedding", f"{old}.patch_embedding", width, 3, *patch),
    }
    for n in range(v.layers):
        new, old = f"vision_encoder.layers.{n}", f"vision_model.encoder.layers.{n}"
        qkv = _affine(f"{new}.qkv", f"{old}.attn.qkv", 3 * width, width)
        if not v.qkv_bias:
            del qkv[f"{new}.qkv.bias"]
        out |= qkv
        out |= _affine(f"{new}.proj", f"{old}.attn.proj", width, width)
        out |= _affine(f"{new}.fc1", f"{old}.mlp.fc1", ffn, width)
        out |= _affine(f"{new}.fc2", f"{old}.mlp.fc2", width, ffn)
        for i in (1, 2):
            out |= _affine(f"{new}.norm{i}", f"{old}.norm{i}", width)
            out[f"{new}.scale{i}"] = _one(f"{old}.ls{i}", width)
    return out


def _projector(config: PhantomConfig) -> dict[str, TensorSource]:
    wide, hidden = config.projector_width, config.decoder.hidden_size
    return {
        **_affine("vision_encoder.projector.norm", "vision_proj.0", wide),
        **_affine("vision_encoder.projector.fc1", "vision_proj.1", hidden, wide),
        **_affine("vision_encoder.projector.fc2", "vision_proj.3", hidden, hidden),
    }


def _decoder(d: DecoderConfig) -> dict[str, TensorSource]:
    keys = FAMILIES[d.type]
    top = "language_model"
    out = {
        "token_embedding.weight": _one(f"{top}.model.{keys.embedding}.weight", d.vocab_size, d.hidden_size),
        "text_decoder.norm.weight": _one(f"{top}.model.norm.weight", d.hidden_size),
    }
    if d.tied_head:
        out["text_decoder.head.weight"] = out["token_embedding.weight"]
    else:
        out["text_decoder.head.weight"] = _one(head_key(d), d.vocab_size, d.hidden_size)
    for n in range(d.layers):
        out |= _decoder_layer(d, keys, f"text_decoder.layers.{n}", f"{top}.model.layers.{n}")
    return out


def _decoder_layer(d: DecoderConfig, keys: FamilyKeys, new: str, old: str) -> dict[str, TensorSource]:
    attention = f"{old}.{keys.attention}"
    out = _qkv(d, keys, new, attention)
    out[f"{new}.o.weight"] = _one(f"{attention}.{keys.out}.weight", d.hidden_size, d.heads * d.head_dim)
    rows = 2 * d.intermediate_size // len(keys.gate_up)
    gate_up = tuple((f"{old}.{key}.weight", (rows, d.hidden_size)) for key in keys.gate_up)
    out[f"{new}.gate_up.weight"] = TensorSource(gate_up, _stack)
    out[f"{new}.down.weight"] = _one(f"{old}.{keys.down}.weight", d.hidden_size, d.intermediate_size)
    out[f"{new}.norm1.weight"] = _one(f"{old}.{keys.norm1}.weight", d.hidden_size)
    out[f"{new}.norm2.weight"] = _one(f"{old}.{keys.norm2}.weight", d.hidden_size)
    for kind in ("query", "key", "value"):
        for part in "qkvo":
            key = f"{attention}.xattn_{kind}_phantom.linear_{part}.weight"
            out[f"{new}.phantom.{kind}.{part}.weight"] = _one(key, d.head_dim, d.head_dim)
    for i in (1, 2):
        out |= _affine(f"{new}.gate{i}", f"{attention}.gating_phantom_{i}", 1, d.head_dim)
    return out


def _qkv(d: DecoderConfig, keys: FamilyKeys, new: str, attention: str) -> dict[str, TensorSource]:
    wide, narrow = d.heads * d.head_dim, d.kv_heads * d.head_dim
    rows = (wide, narrow, narrow) if len(keys.qkv) == 3 else (wide + 2 * narrow,)
    parts = list(zip(keys.qkv, rows, strict=True))
    weight = tuple((f"{attention}.{key}.weight", (n, d.hidden_size)) for key, n in parts)
    order, back = (_per_kv_head(d), _to_kv_heads(d)) if keys.per_kv_head else (_stack, None)
    out = {f"{new}.qkv.weight": TensorSource(weight, order, back)}
    if d.qkv_bias:
        bias = tuple((f"{attention}.{key}.bias", (n,)) for key, n in parts)
        out[f"{new}.qkv.bias"] = TensorSource(bias, order, back)
    return out


def _per_kv_head(d: DecoderConfig) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    """InternLM2's row order (``modeling_internlm2.py``: ``(h gs d)``, gs = queries + 2) to q, k, v."""
    group = d.heads // d.kv_heads

    def reorder(parts: list[torch.Tensor]) -> torch.Tensor:
        import torch

        rows = parts[0].unflatten(0, (d.kv_heads, group + 2, d.head_dim))  # [Hkv, g+2, D, ...]
        q, k, v = rows[:, :group], rows[:, group], rows[:, group + 1]
        return torch.cat([q.flatten(0, 2), k.flatten(0, 1), v.flatten(0, 1)], dim=0)

    return reorder


def _to_kv_heads(d: DecoderConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """q, k, v back to InternLM2's row order."""
    group = d.heads // d.kv_heads

    def reorder(tensor: torch.Tensor) -> torch.Tensor:
        import torch

        rows = tensor.unflatten(0, (-1, d.head_dim))  # [H + 2 Hkv, D, ...]
        q, k, v = rows.split([d.heads, d.kv_heads, d.kv_heads])
        q = q.unflatten(0, (d.kv_heads, group))  # [Hkv, g, D, ...]
        return torch.cat([q, k[:, None], v[:, None]], dim=1).flatten(0, 2)

    return reorder
