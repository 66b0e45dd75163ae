"""The Pareto front and the winner, on examples that were worked out by hand."""

from __future__ import annotations

import pytest

from phantom_edge.sweep.front import Measures, against, choose, front, most_right


def row(
    size: int, right: int, kl: float = 0.1, seconds: float | None = 1.0, questions: int = 100
) -> Measures:
    """The first ``right`` of 100 questions right, each about a picture of its own."""
    outcomes = {str(n): (n < right, f"picture {n}") for n in range(questions)}
    return Measures(size, outcomes, kl, seconds)


def test_what_another_one_beats_in_everything_is_not_on_the_front():
    rows = {"small": row(10, 80), "right": row(20, 90), "worse": row(20, 85), "large": row(30, 90)}
    assert front(rows) == ["small", "right"]


@pytest.mark.parametrize(
    ("better", "kept"),
    [
        (row(9, 80), ["other"]),  # smaller, the rest as good
        (row(10, 81), ["other"]),
        (row(10, 80, kl=0.05), ["other"]),
        (row(10, 80, seconds=0.5), ["other"]),
        (row(10, 80), ["one", "other"]),  # the same
        (row(9, 79), ["one", "other"]),  # better here, worse there
        (row(9, 90, seconds=2.0), ["one", "other"]),
    ],
)
def test_each_of_the_four_measures_decides(better, kept):
    assert front({"one": row(10, 80), "other": better}) == kept


def test_unknown_seconds_count_as_the_slowest():
    rows = {"timed": row(10, 80, seconds=9.0), "untimed": row(10, 80, seconds=None)}
    assert front(rows) == ["timed"]
    assert front({"untimed": row(10, 80, seconds=None)}) == ["untimed"]
    assert choose(rows, prefer="speed").winner == "timed"


def test_the_best_answers_are_the_most_right_ones_then_the_nearest():
    assert most_right({"a": row(1, 90), "b": row(2, 91)}) == "b"
    assert most_right({"a": row(1, 90, kl=0.2), "b": row(2, 90, kl=0.1)}) == "b"
    assert most_right({"a": row(2, 90), "b": row(1, 90)}) == "b"


def test_a_change_is_paired():
    """4 of 100 lost, none gained: -4 points, by hand with Bonett and Price's one more question each way.

    p = 1/102, q = 5/102, variance (p + q - (p - q)^2) / 102 = 5.6166e-4, 1.96 times its root 4.645 points.
    """
    lost = against(row(1, 90), row(1, 86))
    assert (lost.points, lost.lost, lost.gained) == (-4.0, 4, 0)
    assert lost.margin == pytest.approx(4.645, abs=2e-3)
    assert lost.high == pytest.approx(-100 * 4 / 102 + 4.645, abs=2e-3)


ROWS = {
    "tiny": row(10, 70, seconds=3.0),
    "middle": row(20, 86, seconds=1.0),
    "best": row(30, 90, seconds=2.0),
}


def test_the_smallest_that_is_not_significantly_worse_wins():
    choice = choose(ROWS)  # 4 lost of 100 are within the interval, 20 are not
    assert (choice.winner, choice.best, choice.good) == ("middle", "best", ("middle", "best"))


@pytest.mark.parametrize(
    ("within", "winner"), [(0.0, "best"), (3.9, "best"), (4.0, "middle"), (19.9, "middle"), (20.0, "tiny")]
)
def test_within_allows_so_many_points(within, winner):
    assert choose(ROWS, within=within).winner == winner


def test_a_limit_of_size_comes_first():
    """Then the best answers are those of what is small enough."""
    choice = choose(ROWS, max_bytes=20)
    assert (choice.winner, choice.best) == ("middle", "middle")
    assert choose(ROWS, max_bytes=10).winner == "tiny"
    assert choose(ROWS, max_bytes=9) is None
    assert choose({}) is None


def test_speed_can_be_preferred():
    rows = {"small": row(10, 90, seconds=2.0), "fast": row(20, 90, seconds=1.0)}
    assert choose(rows).winner == "small"
    assert choose(rows, prefer="speed").winner == "fast"


def test_of_equal_sizes_the_faster_wins():
    assert choose({"slow": row(10, 90, seconds=2.0), "fast": row(10, 90, seconds=1.0)}).winner == "fast"
