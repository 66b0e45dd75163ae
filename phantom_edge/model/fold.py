"""The fold: the phantom dimension as per-layer constants beside one widened attention op.

With x0 the first token's q, k or v after RoPE, which are constants because attention is causal and every
prompt begins with the same token,

    A = g(Wk x0) / sqrt(d)  [heads, d]      M = Wo g(Wv x0)^T  [d, heads]      y(x) = g(M softmax(A g(Wq x)))

and eta stays out of the cache, so that low precision does not round y away:

    K = [k | a y_k]   Q = [q | (eta^2 / a) y_q]   V = [v | c y_v]        out = o1 + sigmoid(gate([o1 | z]))
    (eta / c) z

a and c are powers of two that bring y_k and y_v near 1, which changes nothing in fp32 and keeps fp16 in its
range. ``rank:R`` writes y_k and y_v in a basis of R directions; see ``certificate.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.errors import InputError
from phantom_edge.images import IMAGENET_MEAN, IMAGENET_STD
from phantom_edge.model.original_run import FirstStates, first_token_states
from phantom_edge.model.spec import ETA, FoldedSpec
from phantom_edge.model.weights import LazyWeights, Maker, shape_of
from phantom_edge.progress import Track, no_track

Tensors = Mapping[str, Tensor]
Makers = Iterator[tuple[str, Maker[Tensor]]]
AUTO_TOLERANCE = 1e-3  # of y's size: about what fp16 keeps
RANK_STEP = 8  # head sizes that onnxruntime's GroupQueryAttention takes are multiples of 8
KINDS = ("query", "key", "value")
MAX_EXPONENT = 14  # of the powers of two a and c: what fp16 holds as a normal number


@dataclass(frozen=True)
class Fold:
    """How the phantom dimension is folded: ``exact``, ``rank:R``, ``auto``, or ``off``, for checks.

    R is a multiple of 8; ``auto`` takes, per layer, the smallest that keeps y_k and y_v to ``tolerance`` of
    their size.

    >>> Fold.parse("rank:8")
    Fold(kind='rank', rank=8, tolerance=None)
    """

    kind: str = "exact"
    rank: int | None = None
    tolerance: float | None = None

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Parse ``exact``, ``rank:R``, ``auto``, ``auto:TOLERANCE`` or ``off``; else :class:`InputError`."""
        if text in ("exact", "off"):
            return cls(text)
        if match := re.fullmatch(r"auto(?::(\d*\.?\d+(?:e-?\d+)?))?", text):
            tolerance = float(match[1] or AUTO_TOLERANCE)
            if 0 < tolerance < 1:
                return cls("auto", tolerance=tolerance)
        match = re.fullmatch(r"rank:(\d{1,4})", text)
        if not match or int(match[1]) % RANK_STEP or not int(match[1]):
            raise InputError(
                f"unknown fold {text!r}: use 'exact', 'auto', 'auto:TOLERANCE' (between 0 and 1), or "
                f"'rank:R' with R a multiple of {RANK_STEP}"
            )
        return cls("rank", int(match[1]))

    def __str__(self) -> str:
        if self.kind == "auto":
            return f"auto:{self.tolerance:g}"
        return f"rank:{self.rank}" if self.kind == "rank" else self.kind

    def phantom_dims(self, config: PhantomConfig) -> tuple[int, ...]:
        """Most directions per layer. Raises :class:`InputError` for a rank above the head dimension."""
        full = config.decoder.head_dim
        rank = full if self.rank is None else self.rank
        if rank > full:
            raise InputError(f"fold {self}: the head dimension is {full}; use 'exact' or a smaller rank")
        return (0 if self.kind == "off" else rank,) * config.decoder.layers


@dataclass(frozen=True)
class PhantomConstants:
    """One y(x) as constants: ``inner`` W [d, d], ``heads`` A [heads, d], ``mix`` M [d, heads]."""

    inner: Tensor
    heads: Tensor
    mix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """y of head vectors [..., d]."""
        return self.of_weights(F.linear(F.gelu(F.linear(x, self.inner)), self.heads).softmax(-1))

    def of_weights(self, weights: Tensor) -> Tensor:
        """y of softmax weights [..., heads]: the only values that y can take."""
        return F.gelu(F.linear(weights, self.mix))


def phantom_constants(weights: Tensors, layer: str, first: Tensors) -> dict[str, PhantomConstants]:
    """``query``, ``key`` and ``value`` of one layer, from its matrices and the first token's state."""
    constants = {}
    for kind in KINDS:
        w = {part: weights[f"{layer}.phantom.{kind}.{part}.weight"].float() for part in "qkvo"}
        x0 = first[kind]
        heads = F.gelu(F.linear(x0, w["k"])) * x0.shape[-1] ** -0.5
        mix = w["o"] @ F.gelu(F.linear(x0, w["v"])).T
        constants[kind] = PhantomConstants(w["q"], heads, mix)
    return constants


def fold_layer(
    weights: Tensors, layer: str, constants: dict[str, PhantomConstants], bases: Bases | None
) -> Iterator[tuple[str, Tensor]]:
    """The folded constants of one layer by name; ``bases`` is None for the exact fold."""
    key_scale, value_scale = (_power_of_two(constants[kind]) for kind in ("key", "value"))
    scales = {"query": ETA**2 / key_scale, "key": key_scale, "value": value_scale}
    for kind, c in constants.items():
        at = f"{layer}.phantom.{kind}"
        yield from ((f"{at}.in", c.inner), (f"{at}.heads", c.heads), (f"{at}.mix", c.mix))
        if bases is None:
            yield f"{at}.scale", torch.tensor([scales[kind]])
        else:
            yield f"{at}.basis", scales[kind] * (bases.value if kind == "value" else bases.key)
    f1, f2 = (weights[f"{layer}.gate{i}.weight"].float() for i in (1, 2))
    b1, b2 = (weights[f"{layer}.gate{i}.bias"].float() for i in (1, 2))
    back = ETA / value_scale
    expand = torch.eye(f1.shape[-1]) if bases is None else bases.value.T  # [d, r]
    yield f"{layer}.gate.weight", torch.cat([f2 - f1, back * f2 @ expand], dim=-1)  # [1, d + r]
    yield f"{layer}.gate.bias", b2 - b1
    if bases is None:
        yield f"{layer}.gate.scale", torch.tensor([back])
    else:
        yield f"{layer}.gate.basis", (back * expand).contiguous()


@dataclass(frozen=True)
class Bases:
    """Orthonormal rows [r, d] that carry y_k and y_v of one layer."""

    key: Tensor
    value: Tensor


def bases_of(constants: dict[str, PhantomConstants], rank: int) -> Bases:
    """The ``rank`` leading right singular vectors of the values that y_k and y_v can take."""
    rows = {}
    for kind in ("key", "value"):
        y = constants[kind].of_weights(simplex_samples(constants[kind].heads.shape[0])).double()
        rows[kind] = torch.linalg.svd(y, full_matrices=False).Vh[:rank].float()
    return Bases(rows["key"], rows["value"])


def smallest_rank(constants: dict[str, PhantomConstants], tolerance: float) -> int:
    """The smallest rank that keeps y_k and y_v to ``tolerance`` of their largest norm, or head_dim."""
    full = constants["key"].inner.shape[0]
    samples = {kind: c.of_weights(simplex_samples(c.heads.shape[0])) for kind, c in constants.items()}
    for rank in range(RANK_STEP, full, RANK_STEP):
        bases = bases_of(constants, rank)
        pairs = ((samples["key"], bases.key), (samples["value"], bases.value))
        if all(distance(y, basis) <= tolerance * y.norm(dim=-1).max() for y, basis in pairs):
            return rank
    return full


def distance(y: Tensor, basis: Tensor) -> float:
    """The largest distance of rows y [n, d] from the span of orthonormal rows ``basis`` [r, d]."""
    y, basis = y.double(), basis.double()
    return float((y - (y @ basis.T) @ basis).norm(dim=-1).max())


def simplex_samples(heads: int, count: int = 4096) -> Tensor:
    """Softmax weights [count, heads] that cover the simplex; for two heads an even grid with both ends."""
    if heads == 1:
        return torch.ones(1, 1)
    if heads == 2:
        t = torch.linspace(0, 1, count)
        return torch.stack([t, 1 - t], dim=-1)
    generator = torch.Generator().manual_seed(heads)
    # Exponentials to a random power, normalised: low powers lie near the middle, high ones near the corners.
    power = torch.rand(count, 1, generator=generator) * 8
    raw = torch.empty(count, heads).exponential_(generator=generator).clamp_min(1e-6) ** power
    samples = raw / raw.sum(-1, keepdim=True)
    return torch.cat([torch.eye(heads), samples])


def _power_of_two(c: PhantomConstants) -> float:
    """2^-e that brings the root mean square of y near 1."""
    y = c.of_weights(simplex_samples(c.heads.shape[0], 256))
    size = y.square().mean().sqrt().item()
    if not size or not math.isfinite(size):
        return 1.0
    return 2.0 ** -max(-MAX_EXPONENT, min(MAX_EXPONENT, round(math.log2(size))))


def fold_vision(config: PhantomConfig, weights: Tensors) -> Makers:
    """The vision encoder: normalisation goes into the patch embedding, layer scale into the projections."""
    at, patch = "vision_encoder", "vision_encoder.patch_embedding"
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)

    def scaled_patch() -> Tensor:
        return weights[f"{patch}.weight"].float() / std[:, None, None]  # [C, 3, P, P]

    def shifted_bias() -> Tensor:
        return weights[f"{patch}.bias"].float() - (scaled_patch().sum((2, 3)) @ mean)

    yield f"{patch}.weight", Maker(shape_of(weights, f"{patch}.weight"), scaled_patch)
    yield f"{patch}.bias", Maker(shape_of(weights, f"{patch}.bias"), shifted_bias)
    yield from _in_fp32(weights, [f"{at}.class_embedding", f"{at}.position_embedding"])
    scaled = {"proj": "scale1", "fc2": "scale2"}
    for n in range(config.vision.layers):
        layer = f"{at}.layers.{n}"
        for name in ("norm1", "qkv", "proj", "norm2", "fc1", "fc2"):
            keys = [f"{layer}.{name}.{part}" for part in ("weight", "bias")]
            yield from _in_fp32(weights, keys, f"{layer}.{scaled[name]}" if name in scaled else None)
    for name in ("norm", "fc1", "fc2"):
        yield from _in_fp32(weights, [f"{at}.projector.{name}.{part}" for part in ("weight", "bias")])


def _in_fp32(weights: Tensors, names: Iterable[str], factor: str | None = None) -> Makers:
    """The weights [out, in] or [out] of these names that there are, their rows times a ``factor`` [out]."""

    def make(name: str) -> Tensor:
        tensor = weights[name].float()
        if factor is None:
            return tensor
        by = weights[factor].float()
        return tensor * (by[:, None] if tensor.ndim == 2 else by)

    yield from ((n, Maker(shape_of(weights, n), partial(make, n))) for n in names if n in weights)


UNCHANGED = [f"{part}.weight" for part in ("norm1", "qkv", "o", "norm2", "gate_up", "down")] + ["qkv.bias"]


def fold_weights(
    config: PhantomConfig,
    weights: Tensors,
    fold: Fold,
    first_id: int,
    progress: Track = no_track,
    firsts: FirstStates | None = None,
) -> tuple[FoldedSpec, LazyWeights[Tensor]]:
    """The folded model's spec and its named tensors in fp32.

    The phantom constants are computed here, from one read of every decoder layer; all else is read on access.
    """
    dims = list(fold.phantom_dims(config))
    makers = dict(fold_vision(config, weights))
    makers |= dict(_in_fp32(weights, ["token_embedding.weight"]))
    if firsts is None and any(dims):
        firsts = first_token_states(config, weights, first_id)
    for n in progress(range(config.decoder.layers), "folding"):
        layer = f"text_decoder.layers.{n}"
        makers |= dict(_in_fp32(weights, [f"{layer}.{part}" for part in UNCHANGED]))
        if firsts is not None and any(dims):
            constants = phantom_constants(weights, layer, firsts[n])
            if fold.tolerance is not None:
                dims[n] = smallest_rank(constants, fold.tolerance)
            bases = bases_of(constants, dims[n]) if dims[n] < config.decoder.head_dim else None
            makers |= {k: _constant(t) for k, t in fold_layer(weights, layer, constants, bases)}
    makers |= dict(_in_fp32(weights, ["text_decoder.norm.weight", "text_decoder.head.weight"]))
    return FoldedSpec(config, tuple(dims)), LazyWeights(makers)


def _constant(tensor: Tensor) -> Maker[Tensor]:
    return Maker(tuple(tensor.shape), lambda: tensor)
