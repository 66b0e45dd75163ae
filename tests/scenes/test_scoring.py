"""When a reply counts as right: tables written by hand."""

import pytest

from phantom_edge.errors import InputError
from phantom_edge.scenes import correct

RIGHT = [
    ("colour", "red", "Red."),
    ("position", "centre", "center"),
    ("relation", "the red star", "  The  red star! "),
    ("count", "3", "3"),
    ("sign", "ABC", "abc"),
    ("sign", "ABC", '"ABC".'),
    ("digits", "407", "407"),
    ("gauge", "42", "42"),
    ("gauge", "42", "47 %"),
    ("gauge", "42", "37 percent."),
    ("gauge", "42", "40.5"),
    ("arrow", "up left", "Up left"),
    (
        "caption",
        "a red star, a blue ring and a sign that says ABC",
        "A blue ring, a red star, and a sign that says ABC.",
    ),
    ("caption", "a gauge that shows 42 and a red star", "a red star and a gauge that shows 45"),
]
WRONG = [
    ("colour", "red", "blue"),
    ("colour", "red", "red or blue"),
    ("yesno", "yes", ""),
    ("count", "3", "13"),
    ("sign", "ABC", "AB C"),
    ("sign", "ABC", "ABCD"),
    ("digits", "407", "0407"),
    ("gauge", "42", "48"),
    ("gauge", "42", "36"),
    ("gauge", "42", "42 48"),
    ("gauge", "42", "-42"),
    ("gauge", "42", "about 42"),
    ("gauge", "42", "4" * 5000),
    ("gauge", "42", ""),
    ("arrow", "up left", "left up"),
    ("caption", "a red star and a red star", "a red star"),
    ("caption", "a red star and a blue ring", "a blue star and a red ring"),
    ("caption", "a gauge that shows 42", "a gauge that shows 50"),
    ("caption", "a display that shows 42", "a display that shows 43"),
    ("caption", "a red star", ""),
]


@pytest.mark.parametrize(("task", "answer", "reply"), RIGHT)
def test_right(task, answer, reply):
    assert correct(task, answer, reply)


@pytest.mark.parametrize(("task", "answer", "reply"), WRONG)
def test_wrong(task, answer, reply):
    assert not correct(task, answer, reply)


def test_an_unknown_task_is_refused():
    with pytest.raises(InputError, match="no task 'depth'"):
        correct("depth", "1", "1")
