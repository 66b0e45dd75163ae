"""Every question has one right answer, no answer can be guessed, and the wrong ones are wrong."""

import random
import re
from collections import Counter, defaultdict

import pytest

from phantom_edge.scenes import TASKS, Part, correct, make_scene
from phantom_edge.scenes.parts import COLOURS, DIRECTIONS, POSITIONS, SHAPES
from phantom_edge.scenes.questions import ask, caption


@pytest.fixture(scope="module")
def rows():
    """(scene, triple) of 4000 scenes."""
    scenes = [make_scene("train", index, seed=11) for index in range(4000)]
    return [(scene, triple) for scene in scenes for triple in scene.triples()]


def _shares(rows, task, pattern=""):
    answers = Counter(t.answer for _, t in rows if t.task == task and re.search(pattern, t.question))
    return {answer: number / answers.total() for answer, number in answers.items()}


def test_a_wrong_answer_never_counts_as_right(rows):
    for _, triple in rows:
        assert triple.wrong != triple.answer
        assert not correct(triple.task, triple.answer, triple.wrong)
        assert correct(triple.task, triple.answer, triple.answer)


def test_every_task_is_asked_and_no_question_has_two_answers(rows):
    assert {triple.task for _, triple in rows} == set(TASKS)
    answers = defaultdict(set)
    for scene, triple in rows:
        answers[scene.index, triple.question].add(triple.answer)
    assert all(len(given) == 1 for given in answers.values())


def test_yes_comes_as_often_as_no(rows):
    for pattern in (
        "^(Is there|Can you see) an? (sign|display|gauge|arrow)",
        "^(Is there|Can you see)",
        "^Is (the|it)",
    ):
        assert _shares(rows, "yesno", pattern)["yes"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("task", "values"),
    [("colour", COLOURS), ("shape", SHAPES), ("arrow", DIRECTIONS), ("position", POSITIONS)],
)
def test_answers_are_about_equally_frequent(rows, task, values):
    shares = _shares(rows, task)
    assert set(shares) == set(values)
    assert max(shares.values()) < 1.4 / len(values)
    assert min(shares.values()) > 0.6 / len(values)


def test_counts_and_sides_are_not_lopsided(rows):
    counts = _shares(rows, "count")
    assert set(counts) == set("0123456")
    assert max(counts.values()) < 0.24
    totals = _shares(rows, "count", r"(many|the) objects")
    assert set(totals) == set("123456")
    assert max(totals.values()) < 0.2
    sides = _shares(rows, "relation", "left or right|to the left or")
    assert sides["left"] == pytest.approx(0.5, abs=0.04)
    heights = _shares(rows, "relation", "above or below")
    assert heights["above"] == pytest.approx(0.5, abs=0.04)


def test_the_first_of_two_is_the_larger_half_of_the_time(rows):
    first = [t.question.index(t.answer) < t.question.index(" or ") for _, t in rows if t.task == "size"]
    assert sum(first) / len(first) == pytest.approx(0.5, abs=0.05)


def test_answers_follow_from_the_ground_truth(rows):
    """The questions are parsed and answered again from the parts alone."""
    count = Counter()
    for scene, triple in rows:
        objects = [p for p in scene.parts if p.kind == "object"]
        names = [f"{p.colour} {p.label}" for p in objects]
        if match := re.fullmatch(
            r"(?:How many|Count the) (\w+)( objects)?(?: are there)?[?.]", triple.question
        ):
            word = match[1]
            number = sum(
                word in (p.colour, "objects") or word in (p.label + "s", p.label + "es") for p in objects
            )
            assert triple.answer == str(number)
        elif match := re.fullmatch(r"(?:Is there|Can you see) an? (.+)\?", triple.question):
            there = match[1] in names or match[1] in [p.kind for p in scene.parts]
            assert triple.answer == ("yes" if there else "no")
        elif match := re.fullmatch(r"Where is the (\w+ \w+)\?", triple.question):
            assert names.count(match[1]) == 1
            part = objects[names.index(match[1])]
            assert triple.answer == POSITIONS[3 * int(part.y * 3) + int(part.x * 3)]
        elif match := re.fullmatch(r"What (?:colour|color|shape) is the (\w+)( object)?\?", triple.question):
            same = [p for p in objects if match[1] in (p.label, p.colour)]
            if match[1] != "arrow" and match[1] not in ("largest", "smallest"):
                assert [p.colour if triple.task == "colour" else p.label for p in same] == [triple.answer]
        elif match := re.fullmatch(
            r"Is the (\w+ \w+) (left|right|above|below).* the (\w+ \w+)\?", triple.question
        ):
            a, b = (objects[names.index(match[n])] for n in (1, 3))
            truth = {"left": a.x < b.x, "right": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}
            if triple.task == "yesno":
                assert triple.answer == ("yes" if truth[match[2]] else "no")
            else:
                assert truth[triple.answer]
        else:
            continue
        count[triple.task] += 1
    assert all(count[task] > 300 for task in ("count", "yesno", "position", "colour", "shape", "relation"))


def _object(label, colour, x, y, radius=0.1):
    return Part("object", label, colour, x, y, radius)


def _answers(*parts, kind="objects"):
    """All questions that come up on the parts, over many draws."""
    return {t.question: t.answer for seed in range(60) for t in ask(kind, parts, random.Random(seed))}


def test_the_largest_is_asked_only_when_it_is_clearly_so():
    clear = _answers(_object("star", "red", 0.2, 0.2, 0.126), _object("ring", "blue", 0.8, 0.8, 0.1))
    assert clear["What colour is the largest object?"] == "red"
    close = _answers(_object("star", "red", 0.2, 0.2, 0.12), _object("ring", "blue", 0.8, 0.8, 0.1))
    assert not [question for question in close if "largest" in question or "larger" in question]


def test_borderline_places_and_sides_are_not_asked():
    near = _answers(_object("star", "red", 0.34, 0.5), _object("ring", "blue", 0.4, 0.62))
    assert not [question for question in near if question.startswith("Where is the red star")]
    assert not [question for question in near if "left or right" in question or "above or below" in question]


def test_doubles_are_not_named():
    twice = _answers(
        _object("star", "red", 0.2, 0.2), _object("star", "red", 0.8, 0.8), _object("ring", "blue", 0.2, 0.8)
    )
    assert not [q for q in twice if re.search("the (star|red object|red star)[ ?.]", q)]
    assert twice["What colour is the ring?"] == "blue"
    assert twice["How many red objects are there?"] == "2"


def test_an_arrow_is_no_object():
    arrow = Part("arrow", "up left", "red", 0.75, 0.75, 0.2)
    answers = _answers(arrow, _object("star", "blue", 0.2, 0.2), kind="arrow")
    assert answers["Which way does the arrow point?"] == "up left"
    assert answers["What colour is the arrow?"] == "red"
    assert answers["Where is the arrow?"] == "bottom right"
    assert not [q for q in answers if "objects" in q or "red object" in q]


def test_a_caption_reads_from_left_to_right():
    parts = [
        Part("sign", "ABC", "", 0.7, 0.2, 0.2),
        _object("ring", "orange", 0.5, 0.8),
        _object("star", "red", 0.2, 0.2),
    ]
    assert caption(parts) == "a red star, an orange ring and a sign that says ABC"
    assert caption(parts[:2]) == "an orange ring and a sign that says ABC"
    assert caption([Part("arrow", "up", "orange", 0.5, 0.5, 0.2)]) == "an orange arrow that points up"
    assert "Describe the image." not in _answers(
        *(_object("star", "red", 0.1 + 0.2 * n, 0.5, 0.06) for n in range(5))
    )


def test_wrong_signs_differ_in_one_letter(rows):
    wrongs = [(t.answer, t.wrong) for _, t in rows if t.task in ("sign", "digits") and t.wrong[-1].isupper()]
    assert len(wrongs) > 300
    assert all(sum(a != b for a, b in zip(*pair, strict=True)) == 1 for pair in wrongs)
    gauges = [abs(int(t.answer) - int(t.wrong)) for _, t in rows if t.task == "gauge" and t.wrong.isdigit()]
    assert min(gauges) >= 15
    assert max(gauges) <= 30
