"""Which questions of an evaluation a page shows, under which names, and when there are too few."""

from __future__ import annotations

from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.evaluate.examples import FEW, examples, names_of
from phantom_edge.evaluate.items import Item, Picture, Record, Suite
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.evaluate.summary import report
from phantom_edge.report.examples import MOST


def gone(size: int) -> Image.Image:
    raise InputError("no such picture")


def suite(per_task: int, load=lambda size: Image.new("RGB", (size, size), "red")) -> Suite:
    items = [
        Item(f"{task}{n}", task, f"{task} {n}?", "red", "red".__eq__, Picture(f"{task}{n}", load))
        for task in ("colour", "count", "shape")
        for n in range(per_task)
    ]
    return Suite("drawn", tuple(items), "equal")


def result(name: str, of: Suite, wrong: set[str]) -> EvalResult:
    records = [
        Record(
            i.id,
            i.task,
            i.picture.key,
            i.question,
            i.answer,
            "blue" if i.id in wrong else "red",
            i.id not in wrong,
        )
        for i in of.items
    ]
    return EvalResult(name, records, facts={"sha256": f"{name}'s digest"})


def test_changed_answers_come_first_then_wrong_ones_and_every_task_is_there():
    questions = suite(40)
    both = {"shape7"}
    shown = examples(
        questions.items,
        [result("artifact", questions, both | {"count3", "count4"}), result("original", questions, both)],
    )
    assert len(shown) == MOST
    assert [example.question for example in shown[:3]] == ["count 3?", "count 4?", "shape 7?"]
    assert {example.task for example in shown} == {"colour", "count", "shape"}
    assert len({example.question for example in shown}) == MOST
    assert [(reply.by, reply.text, reply.right) for reply in shown[0].replies] == [
        ("original", "red", True),
        ("artifact", "blue", False),
    ]
    assert shown[0].picture.startswith("data:image/jpeg")
    assert shown[0].expected == "red"


def test_a_picture_that_has_gone_costs_no_result():
    questions = suite(2, gone)
    assert [example.picture for example in examples(questions.items, [result("a", questions, set())])] == [
        ""
    ] * 6


def test_few_questions_are_said_to_be_few():
    few, enough = suite(6), suite(FEW)
    (caution,) = report(few, [result("a", few, set())]).cautions
    assert caution.startswith("6 questions per task are too few")
    assert report(enough, [result("a", enough, set())]).cautions == []


def test_the_conclusion_says_whether_a_change_is_more_than_chance():
    questions = suite(40)
    same = report(questions, [result("a", questions, {"count1"}), result("b", questions, set())])
    assert same.verdict.startswith("a: 99.2 % (95.4 to 99.9), 119 of 120 right; no difference from b shows")
    worse = report(
        questions,
        [result("a", questions, {i.id for i in questions.items[:60]}), result("b", questions, set())],
    )
    assert "; worse than b (-50.0 ± " in worse.verdict
    assert worse.provenance == {"a, SHA-256": "a's digest", "b, SHA-256": "b's digest"}
    assert [plot.end for plot in worse.plots] == [100.0, 100.0]
    assert worse.plots[0].intervals[0] != (0.0, 0.0)


def test_models_are_called_by_name_not_by_a_digest():
    questions = suite(1)
    paths = (
        "/c/bundles/phantom-nano-web-0123456789abcdef",
        "/c/models--BK-Lee--Phantom-0.5B/snapshots/0123456789abcdef0123456789abcdef01234567",
        "phantom-nano",
    )
    results = [result(path, questions, set()) for path in paths]
    assert names_of(results) == ["phantom-nano-web", "BK-Lee/Phantom-0.5B", "phantom-nano"]
    assert "0123456789abcdef" not in "".join(report(questions, results).facts)
    twice = [result("/a/tiny", questions, set()), result("/b/tiny", questions, set())]
    assert names_of(twice) == ["/a/tiny", "/b/tiny"]
