"""Medians, spreads and the ratios of interleaved measurements. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One measurement of one round; ``noisy`` when others used the machine meanwhile."""

    value: float
    round: int
    noisy: bool = False
    setting: str = ""


@dataclass(frozen=True)
class Summary:
    """The median of the quiet samples, or of all when none was quiet, and their range."""

    median: float
    low: float
    high: float
    count: int
    noisy: bool
    setting: str = ""

    @property
    def spread(self) -> float:
        """Half the range, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def summary(samples: Sequence[Sample], *, higher_is_better: bool) -> Summary:
    """Sum up samples; where they come from several settings, those of the setting with the best median count.

    Raises :class:`ValueError` without samples.

    >>> summary([Sample(3.0, 0), Sample(1.0, 1), Sample(2.0, 2)], higher_is_better=True).median
    2.0
    """
    if not samples:
        raise ValueError("no samples")
    by_setting = {
        setting: [s for s in samples if s.setting == setting] for setting in {s.setting for s in samples}
    }
    summaries = [_summary(setting, group) for setting, group in sorted(by_setting.items())]
    return (max if higher_is_better else min)(summaries, key=lambda s: s.median)


def _summary(setting: str, samples: Sequence[Sample]) -> Summary:
    quiet = [s.value for s in samples if not s.noisy]
    values = quiet or [s.value for s in samples]
    return Summary(median(values), min(values), max(values), len(values), not quiet, setting)


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float | None:
    """The median over rounds of ours / theirs, both of the same round, which a slow drift of the machine
    leaves alone.

    Rounds in which both were quiet count, or all when there is none. None when no round has both.
    """
    by_round = {s.round: s for s in theirs}
    pairs = [(s, by_round[s.round]) for s in ours if s.round in by_round]
    quiet = [pair for pair in pairs if not (pair[0].noisy or pair[1].noisy)]
    return median(a.value / b.value for a, b in quiet or pairs) if pairs else None


def decode_bound(bandwidth: float, weight_bytes: float, cache_bytes_per_token: float, cached: int) -> float:
    """Tokens per second when every weight and every cached token is read once per token at ``bandwidth``
    bytes/s.
    """
    return bandwidth / (weight_bytes + cache_bytes_per_token * cached)
