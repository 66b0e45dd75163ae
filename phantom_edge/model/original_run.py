"""What a fold and its certificate need of the original, in one pass over its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.model.original import OriginalCache, PhantomModel

PROBE_TOKENS = 48
FirstStates = list[dict[str, Tensor]]
"""Per layer, the first token's ``query`` [H, d], ``key`` and ``value`` [Hkv, d] after RoPE, in fp32."""


@dataclass(frozen=True)
class OriginalRun:
    """States of the first token, which every prompt has, and logits [1, S, vocab] of a probe prompt."""

    firsts: FirstStates
    probe_logits: Tensor

    @classmethod
    def of(cls, config: PhantomConfig, weights: Mapping[str, Tensor], first_id: int) -> OriginalRun:
        """Run both, each as if alone, layer by layer."""
        model = PhantomModel(config, weights, keep=False)
        first, probe = model.make_cache(), model.make_cache()
        embeds = [model.embed(ids) for ids in (torch.tensor([[first_id]]), probe_ids(config, first_id))]
        _, hidden = model.hidden_of_all(embeds, [first, probe])
        with torch.inference_mode():
            return cls(_first_states(config, first), model.head(hidden))


def first_token_states(config: PhantomConfig, weights: Mapping[str, Tensor], first_id: int) -> FirstStates:
    """The first token's states alone.

    The original itself runs the one token, so nothing about the layers is written a second time.
    """
    model = PhantomModel(config, weights, keep=False)
    cache = model.make_cache()
    model.hidden(model.embed(torch.tensor([[first_id]])), cache)
    return _first_states(config, cache)


def probe_ids(config: PhantomConfig, first_id: int) -> Tensor:
    """A fixed pseudo-random prompt [1, 48] that begins with the folded token."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.decoder.vocab_size, (1, PROBE_TOKENS), generator=generator)
    ids[0, 0] = first_id
    return ids


def _first_states(config: PhantomConfig, cache: OriginalCache) -> FirstStates:
    # A softmax over duplicated heads equals the softmax over the unique ones, so one of each group is kept.
    group, states = config.decoder.heads // config.decoder.kv_heads, []
    for layer in cache.layers:
        q, k, v = (t[0, 0] for t in layer.first)  # repeated to [H, d]
        states.append({"query": q, "key": k[::group], "value": v[::group]})
    return states
