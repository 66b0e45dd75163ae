"""The three graphs of a folded Phantom, written once over :class:`~phantom_edge.model.ops.Ops`.

Per layer the phantom dimension costs the small matmuls of :func:`phantom` and widens one attention op;
nothing else knows of it. The derivation of the fold is in ``fold.py``.
"""

from __future__ import annotations

from phantom_edge.model.ops import Ops, Value
from phantom_edge.model.spec import FoldedSpec

PROJECTOR_EPS = 1e-5  # torch's LayerNorm default, which the published projector uses


def vision_encoder(ops: Ops, spec: FoldedSpec, pixels: Value) -> Value:
    """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, tokens, hidden]."""
    x = ops.patches(pixels)
    for n in range(spec.config.vision.layers):
        x = vision_layer(ops, spec, n, x)
    return projector(ops, x)


def vision_layer(ops: Ops, spec: FoldedSpec, n: int, x: Value) -> Value:
    """One block of the vision encoder [T, 1 + patches, C]: attention, then the MLP; both residual."""
    v, layer = spec.config.vision, f"vision_encoder.layers.{n}"
    qkv = ops.linear(ops.layer_norm(x, f"{layer}.norm1", v.layer_norm_eps), f"{layer}.qkv")
    q, k, value = (ops.split_heads(part, v.heads) for part in ops.split(qkv, [v.hidden_size] * 3))
    mixed = ops.merge_heads(ops.full_attention(q, k, value))
    x = ops.add(x, ops.linear(mixed, f"{layer}.proj"))
    hidden = ops.gelu(ops.linear(ops.layer_norm(x, f"{layer}.norm2", v.layer_norm_eps), f"{layer}.fc1"))
    return ops.add(x, ops.linear(hidden, f"{layer}.fc2"))


def projector(ops: Ops, x: Value) -> Value:
    """The vision encoder's last states [T, 1 + patches, C] to image tokens [T, tokens, hidden]."""
    at = "vision_encoder.projector"
    x = ops.layer_norm(ops.shuffle(x), f"{at}.norm", PROJECTOR_EPS)
    return ops.linear(ops.gelu(ops.linear(x, f"{at}.fc1")), f"{at}.fc2")


def token_embedding(ops: Ops, ids: Value) -> Value:
    """Ids [1, S] to embeddings [1, S, hidden]."""
    return ops.embedding(ids)


def text_decoder(ops: Ops, spec: FoldedSpec, x: Value, *, all_positions: bool = False) -> Value:
    """Embeddings [1, S, hidden] to logits of the last position or of all; extends the cache."""
    return ops.linear(hidden_states(ops, spec, x, all_positions=all_positions), "text_decoder.head")


def hidden_states(ops: Ops, spec: FoldedSpec, x: Value, *, all_positions: bool = False) -> Value:
    """What the head reads: the last position after the final norm [1, 1, hidden], or all [1, S, hidden]."""
    for n in range(spec.config.decoder.layers):
        x = decoder_layer(ops, spec, n, x)
    if not all_positions:
        x = ops.last(x)
    return ops.rms_norm(x, "text_decoder.norm", spec.config.decoder.rms_norm_eps)


def decoder_layer(ops: Ops, spec: FoldedSpec, n: int, x: Value) -> Value:
    """One decoder block: attention with the folded phantom dimension, then the gated MLP; both residual."""
    d, layer = spec.config.decoder, f"text_decoder.layers.{n}"
    x = ops.add(x, ops.linear(_attention(ops, spec, n, x), f"{layer}.o"))
    gate_up = ops.linear(ops.rms_norm(x, f"{layer}.norm2", d.rms_norm_eps), f"{layer}.gate_up")
    gate, up = ops.split(gate_up, [d.intermediate_size] * 2)
    return ops.add(x, ops.linear(ops.mul(ops.silu(gate), up), f"{layer}.down"))


def _attention(ops: Ops, spec: FoldedSpec, n: int, x: Value) -> Value:
    d, layer = spec.config.decoder, f"text_decoder.layers.{n}"
    sizes = [d.heads * d.head_dim, d.kv_heads * d.head_dim, d.kv_heads * d.head_dim]
    q, k, v = ops.split(ops.linear(ops.rms_norm(x, f"{layer}.norm1", d.rms_norm_eps), f"{layer}.qkv"), sizes)
    q, k = ops.rope(ops.split_heads(q, d.heads)), ops.rope(ops.split_heads(k, d.kv_heads))
    v = ops.split_heads(v, d.kv_heads)
    scale = d.head_dim**-0.5  # of the plain head dimension; the published attention keeps it when widening
    if not spec.phantom_dims[n]:
        return ops.merge_heads(ops.cached_attention(q, k, v, n, scale))
    q, k, v = (
        ops.concat([value, phantom(ops, value, f"{layer}.phantom.{kind}", compressed=spec.compressed(n))])
        for kind, value in (("query", q), ("key", k), ("value", v))
    )
    o1, z = ops.split(ops.cached_attention(q, k, v, n, scale), [d.head_dim, spec.phantom_dims[n]])
    return ops.merge_heads(gate(ops, o1, z, layer, compressed=spec.compressed(n)))


def phantom(ops: Ops, x: Value, name: str, *, compressed: bool) -> Value:
    """The phantom half of one head vector: y(x) = g(M softmax(A g(W x))), scaled, or in the layer's basis."""
    weights = ops.softmax(
        ops.project(ops.gelu(ops.project(x, f"{name}.in")), f"{name}.heads")
    )  # [B, S, H, heads]
    y = ops.gelu(ops.project(weights, f"{name}.mix"))  # [B, S, H, D]
    return ops.project(y, f"{name}.basis") if compressed else ops.scale(y, f"{name}.scale")


def gate(ops: Ops, o1: Value, z: Value, layer: str, *, compressed: bool) -> Value:
    """Blend both outputs per head: o1 + (1 - s) eta z, with 1 - s a sigmoid over one matmul of [o1 | z]."""
    rest = ops.sigmoid(ops.linear(ops.concat([o1, z]), f"{layer}.gate"))  # [B, S, H, 1]
    z = ops.project(z, f"{layer}.gate.basis") if compressed else ops.scale(z, f"{layer}.gate.scale")
    return ops.add(o1, ops.mul(z, rest))
