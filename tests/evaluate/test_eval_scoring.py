"""The published scoring rules on replies worked through by hand."""

from __future__ import annotations

import pytest

from phantom_edge.evaluate import scoring


@pytest.mark.parametrize(
    ("reply", "choices", "index"),
    [
        ("A", 2, 0),
        ("E", 5, 4),
        ("C", 2, -1),  # not among two choices
        ("B. the second", 3, 1),
        ("B) the second.", 3, 1),  # the rule asks for a full stop anywhere
        ("B) the second", 3, -1),
        ("b", 3, -1),
        ("The answer is D.", 4, 3),
        ("I think: The answer is C because", 4, 2),
        ("The answer is A. The answer is B.", 4, -1),  # twice is no answer
        ("F", 5, -1),
        ("", 4, -1),
        ("?", 4, -1),
    ],
)
def test_scienceqa(reply, choices, index):
    assert scoring.choice(reply, choices) == index


@pytest.mark.parametrize(
    ("reply", "letter"), [("B. leaf", "B"), ("the answer: C", "C"), ("The answer", "T"), ("b", "")]
)
def test_ai2d(reply, letter):
    assert scoring.first_capital(reply) == letter


def test_mmbench():
    assert [scoring.first_character(reply) for reply in ("C. dog", "c", "", "(C)")] == ["C", "c", "", "("]


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("B", True),
        ("b", True),
        ("(B) blue", True),
        ("Option B", True),
        ("The answer is B.", True),
        ("Blue", True),  # the rule reads one letter
        ("It is B", False),
        ("A", False),
        ("(A) not B", False),
        ("", False),
    ],
)
def test_mmstar(reply, right):
    assert scoring.mmstar("B", reply) is right


@pytest.mark.parametrize(
    ("reply", "yes"),
    [
        ("Yes", True),
        ("no", False),
        ("No, there is not.", False),
        ("There is no cat", False),
        ("Yes. But no dog.", True),  # only the first sentence counts
        ("Nothing", True),  # neither "no" nor "not" is a word of it
        ("", True),
    ],
)
def test_pope(reply, yes):
    assert scoring.says_yes(reply) is yes


@pytest.mark.parametrize(
    ("label", "reply", "right"),
    [
        ("14", "14", True),
        ("100", "95", True),  # 5 % of the label, exactly
        ("100", "105", True),
        ("100", "94.9", False),
        ("100", "105.1", False),
        ("-2", "-2.05", True),
        ("-2", "2", False),
        ("2013", "2013 was the year", True),  # the first word of a reply with digits
        ("25", "25%", True),
        ("25%", "0.25", False),
        ("0", "0", True),
        ("0", "0.01", False),  # nothing lies within 5 % of nothing: compared as texts
        ("Yes", "yes", True),
        ("Germany", "France", False),
        ("[10, 20]", "10", False),
        ("1,200", "1200", False),
        ("12", "nan", False),
    ],
)
def test_chartqa(label, reply, right):
    assert scoring.relaxed(label, reply) is right


def test_pope_measures():
    """3 hits, 1 false alarm, 2 misses, 4 rightly refused."""
    pairs = [(True, True)] * 3 + [(False, True)] + [(True, False)] * 2 + [(False, False)] * 4
    measures = scoring.yes_no_measures(pairs)
    assert measures == pytest.approx({"precision": 75.0, "recall": 60.0, "F1": 200 / 3, "yes ratio": 40.0})
    assert scoring.yes_no_measures([(True, False)])["F1"] == 0
