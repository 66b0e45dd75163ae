"""Choosing the next token from logits: greedy, or temperature with nucleus (top-p) sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from phantom_edge.errors import InputError

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.001, 100
"""Below, the likeliest token has all the weight, and logits over the temperature leave the floats' range."""
Floats = NDArray[np.float32]
REFUSED: Final = np.float32(-1e38)
"""Instead of a logit: such a token has no probability beside any other."""
Choose = Callable[[NDArray[np.floating]], int]
"""From logits [vocab] to a token id."""


def greedy(logits: NDArray[np.floating]) -> int:
    """The most probable token."""
    return int(logits.argmax())


@dataclass(frozen=True)
class Sampling:
    """``temperature`` 0 is greedy; ``top_p`` keeps the smallest set of tokens with at least that probability.

    Nucleus sampling: Holtzman et al., The Curious Case of Neural Text Degeneration (arXiv 1904.09751).

    >>> Sampling().chooser()(np.array([0.0, 2.0, 1.0]))
    1
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature != 0 and not LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE:
            bounds = f"{LEAST_TEMPERATURE} to {MOST_TEMPERATURE}"
            raise InputError(f"temperature is {self.temperature}; use 0 (greedy), or {bounds}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p is {self.top_p}; use more than 0 and at most 1")
        if self.seed is not None and not 0 <= self.seed < 1 << 63:
            raise InputError(f"seed is {self.seed}; use 0 to 2^63 - 1")

    def chooser(self) -> Choose:
        """Chooses by these rules; the same seed gives the same choices."""
        if self.temperature == 0:
            return greedy
        random = np.random.default_rng(self.seed)

        def choose(logits: NDArray[np.floating]) -> int:
            scaled = logits.astype(np.float64) / self.temperature
            weights = np.exp(scaled - scaled.max())
            order = np.argsort(-weights, kind="stable")
            cumulative = np.cumsum(weights[order]) / weights.sum()
            kept = order[: int(np.searchsorted(cumulative, self.top_p)) + 1]
            return int(random.choice(kept, p=weights[kept] / weights[kept].sum()))

        return choose
