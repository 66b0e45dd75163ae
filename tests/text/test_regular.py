"""The regular expressions of answers: what is taken, and what is refused and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phantom_edge.text.regular import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_SIZE,
    CharSet,
    PatternError,
    Repeat,
    may_be_empty,
    may_begin_with,
    parse,
)

VECTORS = json.loads((Path(__file__).parents[1] / "support" / "form_vectors.json").read_text("utf-8"))
A = CharSet(((97, 97),))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["pattern"][:30])
def test_patterns_of_the_dialect_are_read(case):
    tree = parse(case["pattern"])
    assert may_be_empty(tree) == ("" in case["matches"])
    firsts = {text[:1] for text in [*case["matches"], *case["open"]] if text}
    assert all(may_begin_with(tree, ord(first)) for first in firsts)
    assert not any(
        may_begin_with(tree, ord(text))
        for text in case["dead"]
        if len(text) == 1 and text not in firsts and not _deeper(case, text)
    )


def _deeper(case, text: str) -> bool:
    """A single character may be dead though a text begins with it: then another one shows it."""
    return any(other.startswith(text) for other in [*case["matches"], *case["open"]])


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["pattern"][:30])
def test_what_is_refused_is_one_line_that_says_why(case):
    with pytest.raises(PatternError) as caught:
        parse(case["pattern"])
    line = str(caught.value)
    assert caught.value.kind == case["kind"]
    assert len(line) < 300
    assert line.isprintable()


def test_the_bounds_are_those_of_the_vectors():
    assert VECTORS["bounds"] == {
        "characters": MAX_LENGTH,
        "count": 1000,
        "size": MAX_SIZE,
        "depth": MAX_DEPTH,
    }


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        ("(a{2,3}){4,5}", 8, 15),
        ("(a{0,100}){100}", 0, 10000),
        ("((a?){3}){2}", 0, 6),
        ("(a+)*", 0, None),
        ("(a*){3}", 0, None),
        ("(a{2}){3}", 6, 6),
        ("(a{3,}){2,4}", 6, None),
    ],
)
def test_counts_of_counts_become_one(pattern, least, most):
    assert parse(pattern) == Repeat(A, least, most)


@pytest.mark.parametrize(
    "pattern", ["(a{2})*", "(a{2}){1,2}", "(a{3,4}){1,2}", "(a{2,}){0,3}", "(a{2,3}){0,3}"]
)
def test_counts_that_leave_numbers_out_stay_as_they_are(pattern):
    tree = parse(pattern)
    assert isinstance(tree, Repeat)
    assert isinstance(tree.part, Repeat)


def test_classes_hold_no_surrogates():
    tree = parse("[^a]")
    assert isinstance(tree, CharSet)
    assert tree.ranges == ((0, 96), (98, 0xD7FF), (0xE000, 0x10FFFF))
    assert parse("[\ud7ff-\ue000]") == CharSet(((0xD7FF, 0xD7FF), (0xE000, 0xE000)))
