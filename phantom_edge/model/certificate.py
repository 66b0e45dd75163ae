"""What a fold changes: per layer, a bound from the constants and the measured change of the logits.

y is g(M p) with p on the simplex over the first token's heads, so how far y can lie from a basis is a
property of the constants alone. With two heads the simplex is a line: an even grid and the Lipschitz constant
of GELU *prove* the bound. With more heads the largest value over samples is stated as what it is, sampled.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.model.bounds import FoldCertificate, LayerCertificate
from phantom_edge.model.fold import (
    Bases,
    Fold,
    PhantomConstants,
    bases_of,
    distance,
    phantom_constants,
    simplex_samples,
)
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import decoder_blocks, head, load
from phantom_edge.model.original_run import PROBE_TOKENS, OriginalRun, probe_ids
from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.model.spec import ETA

GELU_LIPSCHITZ = 1.13  # the largest slope of GELU is 1.1290, at x = sqrt(2)


def certify(
    config: PhantomConfig,
    weights: Mapping[str, Tensor],
    model: FoldedModel,
    exact: FoldedModel | None = None,
    original: OriginalRun | None = None,
) -> FoldCertificate:
    """Bound and measure what ``model``'s fold changes.

    ``exact`` is the exact fold of the same weights and ``original`` their run, if they are at hand.
    """
    original = original or OriginalRun.of(config, weights, model.first_id)
    ids, logits = probe_ids(config, model.first_id), original.probe_logits
    if model.fold.kind == "exact":
        change = (probe_logits(model, ids) - logits).abs().max().item()
        dims = enumerate(model.spec.phantom_dims)
        layers = [LayerCertificate(n, dim, 0.0, 0.0, True, 0.0) for n, dim in dims]
        return FoldCertificate(str(model.fold), tuple(layers), change, PROBE_TOKENS)
    exact = exact or FoldedModel.of(config, weights, Fold(), model.first_id, original=original)
    moved, folded = layer_changes(exact, model, ids)
    change = (folded - logits).abs().max().item()
    layers = []
    for n, first in enumerate(original.firsts):
        dim = model.spec.phantom_dims[n]
        if dim == config.decoder.head_dim:
            layers.append(LayerCertificate(n, dim, 0.0, 0.0, True, 0.0))
            continue
        constants = phantom_constants(weights, f"text_decoder.layers.{n}", first)
        score, output, proved = _bounds(constants, bases_of(constants, dim) if dim else None)
        layers.append(LayerCertificate(n, dim, score, output, proved, moved[n]))
    return FoldCertificate(str(model.fold), tuple(layers), change, PROBE_TOKENS)


def contributions(config: PhantomConfig, weights: Mapping[str, Tensor], first_id: int) -> list[float]:
    """Per layer, the largest change of any logit when its phantom dimension is switched off."""
    exact, off = (FoldedModel.of(config, weights, Fold(kind), first_id) for kind in ("exact", "off"))
    moved, _ = layer_changes(exact, off, probe_ids(config, first_id))
    return [moved[n] for n in range(config.decoder.layers)]


@torch.inference_mode()
def layer_changes(base: FoldedModel, other: FoldedModel, ids: Tensor) -> tuple[dict[int, float], Tensor]:
    """What each layer of ``other``, alone within ``base``, does to the logits; ``other``'s own [1, S, vocab].

    Both are folds of the same weights. The first is the largest change of any logit, by layer, where the
    folds differ at all. A model that has one layer of ``other`` is ``base`` up to there, so that one pass
    over the weights does: each layer takes the states of all models that have branched off, as a batch.
    """
    prompt = ModelInput(name="the probe prompt", ids=ids, sources=torch.arange(ids.shape[1]))
    branches: list[int] = []
    plain = whole = base.embed(ids)  # [1, S, hidden]
    states = plain[:0]  # [branches, S, hidden]
    for n, block in enumerate(decoder_blocks(base.config)):
        layer, other_layer = load(block, [base, other])
        differs = base.spec.phantom_dims[n] != other.spec.phantom_dims[n]
        branch = [other_layer(plain, prompt)] if differs else []
        whole = other_layer(whole, prompt)
        plain, states = layer(torch.cat([plain, states]), prompt).split([1, len(branches)])
        states, branches = torch.cat([states, *branch]), [*branches, *[n] * differs]
    ((reference, *rows),) = head([base], [prompt] * (1 + len(branches)), [[plain, *states[:, None]]])
    ((logits,),) = head([other], [prompt], [[whole]])
    changes = [(row - reference).abs().max().item() for row in rows]
    return dict(zip(branches, changes, strict=True)), logits


def probe_logits(model: FoldedModel, ids: Tensor) -> Tensor:
    """Logits [1, S, vocab] of every position of ``ids`` [1, S]."""
    return model.decode(model.embed(ids), model.make_cache(ids.shape[1]), all_positions=True)


def _bounds(constants: dict[str, PhantomConstants], bases: Bases | None) -> tuple[float, float, bool]:
    key, key_proved = _residual(constants["key"], bases.key if bases else None)
    value, value_proved = _residual(constants["value"], bases.value if bases else None)
    # |g(u)| <= |u|, and M p is a convex combination of M's columns: this bounds y_q whatever its heads are.
    query = constants["query"].mix.norm(dim=0).max().item()
    head_dim = constants["query"].inner.shape[0]
    return ETA**2 * query * key / head_dim**0.5, ETA * value, key_proved and value_proved


def _residual(c: PhantomConstants, basis: Tensor | None) -> tuple[float, bool]:
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
