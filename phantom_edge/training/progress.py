"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is in what it does now; losses, rate and time left come with training only."""

    stage: str
    done: int = 0
    of: int = 0
    losses: Mapping[str, float | None] | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None

    def __str__(self) -> str:
        """One line for a person.

        >>> losses = {"sft": 1.5, "preference": 0.7, "preferred": 0.5}
        >>> print(TrainingProgress("step 1", 3, 9, losses, 1234.0, 90.0))
        step 1: 3 of 9, sft 1.5000, preference 0.7000, right preferred 50 %, 1,234 tokens/s, 1 min 30 s left
        """
        words = [f"{self.done:,} of {self.of:,}"] if self.of else []
        words += loss_words(self.losses or {})
        if self.tokens_per_second is not None:
            words.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.seconds_left is not None:
            words.append(f"{_duration(self.seconds_left)} left")
        return f"{self.stage}: {', '.join(words)}" if words else self.stage


OnProgress = Callable[[TrainingProgress], None]


def loss_words(losses: Mapping[str, float | None]) -> list[str]:
    """The terms of a loss and how often the right answer is preferred, those that there are."""
    terms = {name: value for name, value in losses.items() if value is not None}
    preferred = terms.pop("preferred", None)
    words = [f"{name} {value:.4f}" for name, value in terms.items()]
    return words if preferred is None else [*words, f"right preferred {100 * preferred:.0f} %"]


def _duration(seconds: float) -> str:
    """
    >>> _duration(59.6), _duration(7300)
    ('1 min 0 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
