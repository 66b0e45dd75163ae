"""Intervals of one model's accuracy, and of the change between two on the same questions.

Questions on one picture are not independent of each other: a model that misreads it fails them together. So
both intervals count pictures as clusters, through the design effect (Kish, Survey Sampling, 1965), as is done
for language models by Miller, Adding Error Bars to Evals (arXiv 2411.00640). One question per picture gives
the plain intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Clusters = Sequence[Hashable]
Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """``right`` of ``questions``, with the 95 % interval from ``low`` to ``high`` in percent."""

    right: int
    questions: int
    low: float
    high: float

    @property
    def percent(self) -> float:
        return 100 * self.right / self.questions

    def to_dict(self) -> dict[str, float]:
        return {**vars(self), "percent": self.percent}


@dataclass(frozen=True)
class Change:
    """``points`` (percent) won since another model, their 95 % interval, and McNemar's counts.

    ``lost`` questions were right before and are wrong now, ``gained`` ones the reverse. ``margin`` is half
    the width of the interval from ``low`` to ``high``.
    """

    points: float
    margin: float
    low: float
    high: float
    lost: int
    gained: int
    questions: int

    def to_dict(self) -> dict[str, float]:
        return dict(vars(self))

    def __str__(self) -> str:
        return f"{self.points:+.1f} ± {self.margin:.1f}"


def wilson(right: float, questions: float, z: float = Z95) -> tuple[float, float]:
    """The score interval of a proportion (E. B. Wilson, J. Am. Stat. Assoc. 22, 209, 1927), in 0..1.

    It stays inside 0..1 and holds its coverage for few questions and for shares near 0 or 1.

    >>> [round(x, 4) for x in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    share, shrink = right / questions, 1 + z * z / questions
    centre = (share + z * z / (2 * questions)) / shrink
    half = z * math.sqrt(share * (1 - share) / questions + (z / (2 * questions)) ** 2) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy(outcomes: Sequence[bool], clusters: Clusters) -> Accuracy:
    """Wilson's interval on the effective number of questions; both sequences have one entry for each."""
    effect = design_effect([float(o) for o in outcomes], clusters)
    right, questions = sum(outcomes), len(outcomes)
    low, high = wilson(right / effect, questions / effect)
    return Accuracy(right, questions, 100 * low, 100 * high)


def change(before: Sequence[bool], after: Sequence[bool], clusters: Clusters, z: float = Z95) -> Change:
    """The paired difference ``after`` minus ``before``, question by question.

    The interval is that of Bonett and Price (J. Educ. Behav. Stat. 37, 479, 2012): Wald's, after one question
    is added to the lost and one to the gained, so that it does not vanish when no answer changed.
    """
    steps = [float(b) - float(a) for a, b in zip(before, after, strict=True)]
    questions, lost, gained = len(steps), steps.count(-1.0), steps.count(1.0)
    p, q = (gained + 1) / (questions + 2), (lost + 1) / (questions + 2)
    variance = (p + q - (p - q) ** 2) / (questions + 2)
    margin = 100 * z * math.sqrt(variance * design_effect(steps, clusters))
    centre, points = 100 * (p - q), 100 * (gained - lost) / questions
    return Change(points, margin, centre - margin, centre + margin, lost, gained, questions)


def design_effect(values: Sequence[float], clusters: Clusters) -> float:
    """How many times the variance of the mean is larger than if values were independent; at least 1.

    The clustered variance is the usual linearised one: each cluster's sum of deviations, squared.
    """
    sums: dict[Hashable, float] = defaultdict(float)
    mean = sum(values) / len(values)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    independent = sum((value - mean) ** 2 for value in values)
    if len(sums) < 2 or not independent:
        return 1.0
    clustered = len(sums) / (len(sums) - 1) * sum(s * s for s in sums.values())
    return max(1.0, clustered / (independent * len(values) / max(1, len(values) - 1)))
