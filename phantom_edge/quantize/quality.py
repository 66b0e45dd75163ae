"""How far a model's next tokens lie from the original's: KL divergence and top-1 agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Quality:
    """Over all compared positions: mean, largest KL(original || model) in nats, and the share of equal top
    tokens.
    """

    kl: float
    largest: float
    agreement: float
    positions: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def divergence(truth: Sequence[Tensor], found: Sequence[Tensor]) -> Tensor:
    """KL(truth || found) in nats per position, fp64, from logits [N, vocab] of each sample."""
    parts = []
    for a, b in zip(truth, found, strict=True):
        p, q = (t.double().log_softmax(-1) for t in (a, b))
        parts.append((p.exp() * (p - q)).sum(-1))
    return torch.cat(parts)


def quality(truth: Sequence[Tensor], found: Sequence[Tensor]) -> Quality:
    """Compare logits [N, vocab] of each sample."""
    kl = divergence(truth, found)
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(truth, found, strict=True)])
    return Quality(float(kl.mean()), float(kl.max()), float(same.double().mean()), len(kl))
