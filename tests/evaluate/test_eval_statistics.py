"""Intervals against published numbers, numbers worked out by hand, and their coverage."""

from __future__ import annotations

import random

import pytest

from phantom_edge.evaluate.statistics import accuracy, change, design_effect, wilson


@pytest.mark.parametrize(
    ("right", "questions", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17, 857 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(right, questions, low, high):
    assert wilson(right, questions) == pytest.approx((low, high), abs=6e-5)
    assert wilson(questions - right, questions) == pytest.approx((1 - high, 1 - low), abs=6e-5)


def test_accuracy_is_in_percent():
    outcomes = [True] * 81 + [False] * 182
    share = accuracy(outcomes, range(263))
    assert (share.right, share.questions) == (81, 263)
    assert (share.percent, share.low, share.high) == pytest.approx((30.798, 25.53, 36.62), abs=5e-3)


def test_a_change_worked_out_by_hand():
    """21 pairs, 7 lost and 1 gained: (1+1)/23 - (7+1)/23, and the square root of (10/23 - (6/23)²)/23 times
    1.96.
    """
    before = [True] * 7 + [False] * 1 + [True] * 1 + [False] * 12
    after = [False] * 7 + [True] * 1 + [True] * 1 + [False] * 12
    difference = change(before, after, range(21))
    assert (difference.lost, difference.gained, difference.questions) == (7, 1, 21)
    assert difference.points == pytest.approx(-100 * 6 / 21)
    assert (difference.low, difference.high) == pytest.approx((-50.83, -1.34), abs=0.01)
    assert difference.margin == pytest.approx((difference.high - difference.low) / 2)
    assert str(difference) == "-28.6 ± 24.7"


def test_no_change_still_has_a_margin():
    difference = change([True] * 100, [True] * 100, range(100))
    assert difference.points == 0
    assert 1 < difference.margin < 4


def test_a_change_the_other_way_has_the_other_sign():
    rng = random.Random(4)
    one, two = ([rng.random() < 0.5 for _ in range(60)] for _ in range(2))
    ahead, back = change(one, two, range(60)), change(two, one, range(60))
    assert (ahead.points, ahead.low, ahead.high) == pytest.approx((-back.points, -back.high, -back.low))
    assert (ahead.lost, ahead.gained) == (back.gained, back.lost)


def covered(rng: random.Random, questions: int, lose: float, gain: float) -> bool:
    """Whether the interval of one drawn comparison holds the true change."""
    draws = [rng.random() for _ in range(questions)]
    before = [u < lose or u >= lose + gain for u in draws]
    after = [u >= lose for u in draws]
    difference = change(before, after, range(questions))
    return difference.low <= 100 * (gain - lose) <= difference.high


@pytest.mark.parametrize(("lose", "gain"), [(0.03, 0.02), (0.10, 0.10), (0.005, 0.0)])
def test_the_interval_of_a_change_holds_the_truth_in_95_of_100(lose, gain):
    rng = random.Random(11)
    share = sum(covered(rng, 200, lose, gain) for _ in range(2000)) / 2000
    assert share >= 0.94


def test_questions_repeated_on_one_picture_count_once():
    """Each answer given five times, under one picture: the intervals are those of the pictures."""
    rng = random.Random(5)
    before, after = ([rng.random() < share for _ in range(120)] for share in (0.8, 0.7))
    five = [n for n in range(120) for _ in range(5)]

    def times(values):
        return [value for value in values for _ in range(5)]

    assert design_effect([float(v) for v in times(before)], five) == pytest.approx(5, rel=0.02)
    single, many = accuracy(before, range(120)), accuracy(times(before), five)
    assert (many.low, many.high) == pytest.approx((single.low, single.high), abs=0.15)
    narrow = accuracy(times(before), range(600))
    assert narrow.high - narrow.low < 0.6 * (many.high - many.low)
    single, many = change(before, after, range(120)), change(times(before), times(after), five)
    assert many.margin == pytest.approx(single.margin, rel=0.04)
    assert many.points == pytest.approx(single.points)


def test_one_question_per_picture_has_no_design_effect():
    rng = random.Random(6)
    assert design_effect([rng.random() for _ in range(50)], range(50)) == pytest.approx(1)
    assert design_effect([1.0, 1.0], ["a", "b"]) == 1
    assert design_effect([1.0, 0.0], ["a", "a"]) == 1
