"""Medians, quartiles and drift of samples. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

ENDS = 0.2  # of a soak: its first and its last fifth are compared


@dataclass(frozen=True)
class Summary:
    """The median of samples and their quartiles."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def summary(samples: Sequence[float]) -> Summary:
    """Median and quartiles (inclusive method: the quartiles of 1..5 are 2 and 4).

    Raises :class:`ValueError` without samples.

    >>> summary([3.0, 1.0, 2.0])
    Summary(median=2.0, low=1.5, high=2.5, count=3)
    """
    if not samples:
        raise ValueError("no samples")
    if len(samples) == 1:
        return Summary(samples[0], samples[0], samples[0], 1)
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Summary(median(samples), low, high, len(samples))


def drift(points: Sequence[tuple[float, float]]) -> float | None:
    """Change of a rate over time, as a share: the last fifth's median against that of the first.

    ``points`` are (seconds, rate) in order. None when either end holds no point.

    >>> round(drift([(0, 10.0), (1, 10.0), (2, 10.0), (3, 9.0), (4, 9.0)]), 3)
    -0.1
    """
    if len(points) < 2:
        return None
    start, end = points[0][0], points[-1][0]
    edge = (end - start) * ENDS
    first = [rate for at, rate in points if at <= start + edge]
    last = [rate for at, rate in points if at >= end - edge]
    if not first or not last or not median(first):
        return None
    return median(last) / median(first) - 1
