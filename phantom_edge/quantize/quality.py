"""How far a model's next tokens lie from the original's: KL divergence and top-1 agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Quality:
    """Over all compared positions: mean and largest KL(original || model) in nats, and top-1 agreement."""

    kl: float
    largest: float
    agreement: float
    positions: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def divergence(reference: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """KL(reference || model) in nats per position, fp64, from logits [N, vocab] of each sample."""
    parts = []
    for a, b in zip(reference, logits, strict=True):
        p, q = (t.double().log_softmax(-1) for t in (a, b))
        parts.append((p.exp() * (p - q)).sum(-1))
    return torch.cat(parts)


def quality(reference: Sequence[Tensor], logits: Sequence[Tensor]) -> Quality:
    """Compare logits [N, vocab] of each sample."""
    kl = divergence(reference, logits)
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(reference, logits, strict=True)])
    return Quality(float(kl.mean()), float(kl.max()), float(same.double().mean()), len(kl))
