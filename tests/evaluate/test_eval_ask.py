"""Replies are judged in the order of the items, and one that fails does not spoil the others."""

from __future__ import annotations

import pytest
from PIL import Image

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.evaluate.ask import evaluate
from phantom_edge.evaluate.items import Item, Picture
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import default_images

pytestmark = pytest.mark.slow

QUESTIONS = ("What colour is it?", "How many are there, all in all?", "Where?")
TOKENS = 10


@pytest.fixture(scope="module")
def source(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module")
def session(source) -> Session:
    return Session.of_source(source)


@pytest.fixture(scope="module")
def pictures(source) -> dict[str, Image.Image]:
    return default_images(source.config.tile_size)


def items_of(session, pictures) -> list[Item]:
    """Interleaved pictures; the answer is what another path to the same model says, spoiled for every
    third.
    """
    items = []
    for n, question in enumerate(QUESTIONS):
        for name, image in pictures.items():
            said = "".join(session.generate(question, image, max_tokens=TOKENS)).strip()
            answer = said if n else f"not {said}"
            picture = Picture(name, lambda size, image=image: image)
            items.append(Item(f"{n}{name}", f"task {n}", question, answer, answer.__eq__, picture, TOKENS))
    said = "".join(session.generate("Hello?", max_tokens=TOKENS)).strip()
    return [*items, Item("text", "text", "Hello?", said, said.__eq__, None, TOKENS)]


def test_right_and_wrong_in_the_order_of_the_items(session, pictures):
    items, progress = items_of(session, pictures), []
    result = evaluate(session, items, lambda *values: progress.append(values))
    assert [record.id for record in result.records] == [item.id for item in items]
    assert [record.correct for record in result.records] == [False, False, True, True, True, True, True]
    assert (result.overall.right, result.overall.questions, result.pictures) == (5, 7, 2)
    assert {name: task.percent for name, task in result.tasks.items()} == {
        "task 0": 0,
        "task 1": 100,
        "task 2": 100,
        "text": 100,
    }
    assert result.mean_of_tasks == 75
    assert [done for done, _, _ in progress] == list(range(1, 8))
    assert progress[-1] == (7, 7, 5)
    assert all(0 < record.tokens <= TOKENS for record in result.records)


def test_what_cannot_be_asked_is_wrong_and_said(session, pictures):
    items = items_of(session, pictures)
    odd = Item("odd", "text", "What is <image>?", "x", bool)
    result = evaluate(session, [*items, odd])
    assert [record.id for record in result.unanswered] == ["odd"]
    assert "<image>" in result.unanswered[0].error
    assert (result.overall.right, result.overall.questions) == (5, 8)
    with pytest.raises(InputError, match="no question could be asked: the question holds <image>"):
        evaluate(session, [odd])


def test_after_a_picture_that_failed_half_way_the_next_question_begins_anew(session, pictures, monkeypatch):
    prefill, calls = session.prefill, []

    def once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise InputError("the runtime gave up")
        return prefill(*arguments)

    items = [item for item in items_of(session, pictures) if item.id.endswith("wide")]
    monkeypatch.setattr(session, "prefill", once)
    result = evaluate(session, items)
    assert [record.error for record in result.records] == ["the runtime gave up", "", ""]
    assert [record.correct for record in result.records] == [False, True, True]


def test_drawn_pictures_get_the_models_tile_size(session, source):
    sizes = []

    def draw(size):
        sizes.append(size)
        return Image.new("RGB", (size, size), "red")

    evaluate(session, [Item(str(n), "t", "What?", "x", bool, Picture("p", draw), 2) for n in range(3)])
    assert sizes == [source.config.tile_size]


def test_constrained_replies_are_the_likeliest_of_the_choices(session, pictures):
    """Those of items that have choices; the others are asked as ever."""
    items, expected = [], {}
    for n, (name, image) in enumerate(pictures.items()):
        picture, choices = Picture(name, lambda size, image=image: image), ("red", "blue", "no")
        items.append(Item(f"c{n}", "closed", QUESTIONS[0], "red", "red".__eq__, picture, TOKENS, choices))
        items.append(Item(f"o{n}", "open", QUESTIONS[0], "x", bool, picture, TOKENS))
        expected[f"c{n}"] = session.chat(image).rank(QUESTIONS[0], choices)[0]
    result = evaluate(session, items, constrain=True)
    closed = [record for record in result.records if record.task == "closed"]
    assert [(r.reply, r.confidence) for r in closed] == [
        (expected[r.id].text, pytest.approx(expected[r.id].probability, rel=1e-4)) for r in closed
    ]
    assert all(record.stop == "end" and record.tokens > 0 for record in closed)
    assert result.confidences == [record.confidence for record in closed]
    plain = evaluate(session, items)
    assert plain.confidences == []
    cut = [record for record in plain.records if record.stop == "length"]
    assert all(record.confidence is None for record in cut)
    others = [record for record in result.records if record.task == "open"]
    assert others == [record for record in plain.records if record.task == "open"]
