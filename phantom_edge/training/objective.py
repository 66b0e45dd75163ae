"""Phantom Optimization's loss (arXiv 2409.14713, section 3.3): supervised plus preference.

    L_PO = L_SFT - E log sigmoid( beta/|y+| log pi(y+|x) - beta/|y-| log pi(y-|x) - gamma )

The preference term is SimPO's (arXiv 2405.14734, equation 6): log-probabilities are averaged over an answer's
tokens, so no reference model is needed and length is not rewarded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BETA, GAMMA = 2.0, 0.5  # the published values


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability [N] of each target [N] under logits [N, vocab], in fp32."""
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def mean_by_answer(log_probs: Tensor, answers: Tensor, count: int) -> Tensor:
    """Mean log-probability [count] over each answer's tokens; ``answers`` [N] gives each token's answer."""
    totals = torch.zeros(count).index_add(0, answers, log_probs)
    lengths = torch.zeros(count).index_add(0, answers, torch.ones_like(log_probs))
    return totals / lengths


def sft_loss(log_probs: Tensor) -> Tensor:
    """Cross-entropy: the mean over the answers' tokens, log_probs [N]."""
    return -log_probs.mean()


def preference_loss(chosen: Tensor, rejected: Tensor, *, beta: float = BETA, gamma: float = GAMMA) -> Tensor:
    """The preference term for mean log-probabilities of right answers [P] and of wrong ones [P].

    >>> round(float(preference_loss(torch.tensor([-0.5]), torch.tensor([-0.75]))), 4)  # margin 2 * 0.25 - 0.5
    0.6931
    """
    return -F.logsigmoid(beta * chosen - beta * rejected - gamma).mean()


@dataclass(frozen=True)
class Losses:
    """Both terms and how often the right answer was preferred; ``preference`` is None where only SFT ran."""

    sft: Tensor
    preference: Tensor | None = None
    preferred: float | None = None

    @property
    def total(self) -> Tensor:
        return self.sft if self.preference is None else self.sft + self.preference
