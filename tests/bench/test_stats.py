"""Medians, quartiles and drift, on numbers whose answers are known."""

from __future__ import annotations

import pytest

from phantom_edge.bench.stats import drift, summary


def test_quartiles_by_the_inclusive_method():
    found = summary([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.median, found.low, found.high, found.count) == (3, 2, 4, 5)
    assert found.spread == pytest.approx(1 / 3)
    assert summary([7.0]).spread == 0
    with pytest.raises(ValueError, match="no samples"):
        summary([])


def test_an_outlier_moves_neither_median_nor_spread_much():
    assert summary([10.0] * 9 + [1000.0]) == summary([10.0] * 10)


def test_drift_compares_the_ends():
    falling = [(float(t), 50 - t * 0.1) for t in range(101)]
    assert drift(falling) == pytest.approx((50 - 9) / (50 - 1) - 1)
    assert drift([(0.0, 10.0), (60.0, 10.0)]) == 0
    assert drift([(0.0, 10.0)]) is None
    assert drift([]) is None
    assert drift([(0.0, 0.0), (1.0, 5.0)]) is None
