"""What a fold changes: per layer, a bound from the constants and the measured change of the logits.

y is g(M p) with p on the simplex over the first token's heads, so how far y can lie from a basis is a property of the
constants alone. With two heads the simplex is a line: an even grid and the Lipschitz constant of GELU *prove* the
bound. With more heads the largest value over samples is stated as what it is, sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch

from phantom_edge.config import PhantomConfig
from phantom_edge.model.fold import (
    Bases,
    Fold,
    PhantomConstants,
    bases_of,
    distance,
    first_token_states,
    phantom_constants,
    simplex_samples,
)
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.spec import ETA, FoldedSpec
from phantom_edge.model.weights import LazyWeights, view

GELU_LIPSCHITZ = 1.13  # the largest slope of GELU is 1.1290, at x = sqrt(2)
PROBE_TOKENS = 48


@dataclass(frozen=True)
class LayerCertificate:
    """One layer. Bounds are on absolute changes: of an attention score, and of one value of a head's output.

    ``proved`` is False where the residual is the largest of many samples instead of a bound.
    """

    layer: int
    phantom_dim: int
    score_bound: float
    output_bound: float
    proved: bool
    logit_change: float


@dataclass(frozen=True)
class FoldCertificate:
    """A fold with its layers; ``logit_change`` is the largest change of any logit against the original, in fp32."""

    fold: str
    layers: tuple[LayerCertificate, ...]
    logit_change: float
    probe_tokens: int

    def to_dict(self) -> dict:
        return asdict(self)


def certify(
    config: PhantomConfig, weights: Mapping[str, torch.Tensor], model: FoldedModel, exact: FoldedModel | None = None
) -> FoldCertificate:
    """Bound and measure what ``model``'s fold changes. ``exact`` is the exact fold of the same weights, if at hand."""
    ids = probe_ids(config, model.first_id)
    original = PhantomModel(config, weights, keep=False)
    logits = original.decode(original.embed(ids), original.make_cache(), all_positions=True)
    change = (probe_logits(model, ids) - logits).abs().max().item()
    if model.fold.kind == "exact":
        layers = [LayerCertificate(n, dim, 0.0, 0.0, True, 0.0) for n, dim in enumerate(model.spec.phantom_dims)]
        return FoldCertificate(str(model.fold), tuple(layers), change, PROBE_TOKENS)
    exact = exact or FoldedModel.of(config, weights, Fold(), model.first_id)
    reference = probe_logits(exact, ids)
    layers = []
    for n, first in enumerate(first_token_states(config, weights, model.first_id)):
        dim = model.spec.phantom_dims[n]
        constants = phantom_constants(weights, f"text_decoder.layers.{n}", first)
        if dim == config.decoder.head_dim:
            layers.append(LayerCertificate(n, dim, 0.0, 0.0, True, 0.0))
            continue
        bases = bases_of(constants, dim) if dim else None
        score, output, proved = _bounds(constants, bases)
        moved = (probe_logits(with_layer(exact, model, n), ids) - reference).abs().max().item()
        layers.append(LayerCertificate(n, dim, score, output, proved, moved))
    return FoldCertificate(str(model.fold), tuple(layers), change, PROBE_TOKENS)


def contributions(config: PhantomConfig, weights: Mapping[str, torch.Tensor], first_id: int) -> list[float]:
    """Per layer, the largest change of any probe logit when that layer's phantom dimension is switched off."""
    exact, off = (FoldedModel.of(config, weights, Fold(kind), first_id) for kind in ("exact", "off"))
    ids = probe_ids(config, first_id)
    reference = probe_logits(exact, ids)
    layers = range(config.decoder.layers)
    return [(probe_logits(with_layer(exact, off, n), ids) - reference).abs().max().item() for n in layers]


def probe_ids(config: PhantomConfig, first_id: int) -> torch.Tensor:
    """A fixed pseudo-random prompt [1, 48] that begins with the folded token."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.decoder.vocab_size, (1, PROBE_TOKENS), generator=generator)
    ids[0, 0] = first_id
    return ids


def probe_logits(model: FoldedModel, ids: torch.Tensor) -> torch.Tensor:
    """Logits [1, S, vocab] of every position of ``ids`` [1, S]."""
    return model.decode(model.embed(ids), model.make_cache(ids.shape[1]), all_positions=True)


def with_layer(base: FoldedModel, other: FoldedModel, layer: int) -> FoldedModel:
    """``base`` with the phantom constants of one layer taken from ``other``, a fold of the same weights."""
    prefixes = tuple(f"text_decoder.layers.{layer}.{part}." for part in ("phantom", "gate"))
    makers = view(base.weights, lambda name: not name.startswith(prefixes))
    makers |= view(other.weights, lambda name: name.startswith(prefixes))
    dims = list(base.spec.phantom_dims)
    dims[layer] = other.spec.phantom_dims[layer]
    return replace(base, spec=FoldedSpec(base.spec.config, tuple(dims)), weights=LazyWeights(makers))


def _bounds(constants: dict[str, PhantomConstants], bases: Bases | None) -> tuple[float, float, bool]:
    key, key_proved = _residual(constants["key"], bases and bases.key)
    value, value_proved = _residual(constants["value"], bases and bases.value)
    # |g(u)| <= |u|, and M p is a convex combination of M's columns: this bounds y_q whatever its heads are.
    query = constants["query"].mix.norm(dim=0).max().item()
    head_dim = constants["query"].inner.shape[0]
    return ETA**2 * query * key / head_dim**0.5, ETA * value, key_proved and value_proved


def _residual(c: PhantomConstants, basis: torch.Tensor | None) -> tuple[float, bool]:
    """The largest distance of y from the basis' span, and whether it is proved."""
    heads = c.heads.shape[0]
    samples = simplex_samples(heads)
    y = c.of_weights(samples)
    largest = y.norm(dim=-1).max().item() if basis is None else distance(y, basis)
    if heads == 1:
        return largest, True
    if heads > 2:
        return largest, False
    half_step = 0.5 / (len(samples) - 1)
    return largest + GELU_LIPSCHITZ * half_step * (c.mix[:, 0] - c.mix[:, 1]).norm().item(), True
