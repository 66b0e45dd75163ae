"""Who is best: the Pareto front over four measures, and the rule that picks one. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phantom_edge.evaluate.statistics import Change, change

Outcomes = Mapping[str, tuple[bool, str]]
"""Of each question by its id: whether the reply was right, and the picture that it was about."""


@dataclass(frozen=True)
class Measures:
    """What one combination costs: ``bytes`` on disk, ``right`` answers of ``outcomes``, KL in nats, seconds.

    ``seconds`` is None where it could not be had, which counts as slower than any that could.
    """

    bytes: int
    outcomes: Outcomes
    kl: float
    seconds: float | None

    @property
    def right(self) -> int:
        return sum(correct for correct, _ in self.outcomes.values())

    @property
    def costs(self) -> tuple[float, ...]:
        """The four, less being better."""
        return self.bytes, -self.right, self.kl, math.inf if self.seconds is None else self.seconds


def front(rows: Mapping[str, Measures]) -> list[str]:
    """Names of those that no other one beats: none is as good in all four measures and better in one.

    >>> small = Measures(10, {"q": (False, "p")}, 0.2, 1.0)
    >>> right = Measures(20, {"q": (True, "p")}, 0.1, 1.0)
    >>> worse = Measures(30, {"q": (True, "p")}, 0.1, 2.0)
    >>> front({"small": small, "right": right, "worse": worse})
    ['small', 'right']
    """
    costs = {name: row.costs for name, row in rows.items()}
    return [name for name, own in costs.items() if not any(_beats(other, own) for other in costs.values())]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def most_right(rows: Mapping[str, Measures]) -> str:
    """The name with the most right answers; of equal ones the lower KL, then the smaller."""
    return min(rows, key=lambda name: (-rows[name].right, rows[name].kl, rows[name].bytes))


def against(best: Measures, other: Measures) -> Change:
    """The paired change of the answers from ``best`` to ``other``, in percentage points."""
    names = list(best.outcomes)
    before, after = ([row.outcomes[name][0] for name in names] for row in (best, other))
    return change(before, after, [best.outcomes[name][1] for name in names])


@dataclass(frozen=True)
class Choice:
    """The ``winner``, the ``best`` answers that it was held to, and all whose answers are as ``good``."""

    winner: str
    best: str
    good: tuple[str, ...]


def choose(
    rows: Mapping[str, Measures],
    *,
    within: float | None = None,
    max_bytes: float | None = None,
    prefer: str = "size",
) -> Choice | None:
    """The smallest, or with ``prefer`` ``speed`` the fastest, of those whose answers are good enough.

    Of those of at most ``max_bytes``, the one with the most right answers is the best. Good enough are those
    that lose at most ``within`` points to it; without ``within``, those whose 95 % interval of the paired
    change reaches up to no loss. None where none is small enough.
    """
    fitting = {name: row for name, row in rows.items() if max_bytes is None or row.bytes <= max_bytes}
    if not fitting:
        return None
    best = most_right(fitting)
    good = tuple(name for name, row in fitting.items() if name == best or _good(fitting[best], row, within))
    return Choice(min(good, key=lambda name: _order(fitting[name], prefer)), best, good)


def _good(best: Measures, other: Measures, within: float | None) -> bool:
    lost = against(best, other)
    return lost.high >= 0 if within is None else -lost.points <= within


def _order(row: Measures, prefer: str) -> tuple[float, ...]:
    size, answers, kl, seconds = row.costs
    return (seconds, size, kl, answers) if prefer == "speed" else (size, seconds, kl, answers)
