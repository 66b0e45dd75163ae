"""Answers with a form, in sessions: within it however chosen, and likelihoods as brute force has them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.runtime.form import Form
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import default_images
from phantom_edge.text.prompt_ids import PromptEncoder

QUESTION = "What colour is it?"
CHOICES = ("red", "reddish", "green", "red and green", "größe 3", "no")


@pytest.fixture(scope="module", params=["qwen2", "internlm2", "phi3"])
def source(request, tiny_dirs):
    return Pretrained.open(tiny_dirs[request.param])


def folded(source, context=512, **spec) -> Session:
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    facts = {**vars(PromptSpec.of_source(source, folded=True, max_tiles=4)), **spec}
    return Session(TorchBackend(model, context, 64), source.tokenizer, PromptSpec(**facts))


@pytest.fixture(scope="module")
def picture(source):
    return default_images(source.config.tile_size)["wide"]


def choice_ids(session, choices=CHOICES) -> list[list[int]]:
    prompts = PromptEncoder(session.spec.template, session.tokenizer)
    return [prompts.begun(choice) for choice in choices]


def log_p(logits) -> np.ndarray:
    wide = np.asarray(logits, np.float64)
    return wide - np.logaddexp.reduce(wide)


def brute_force(session, prompt, image, choices=CHOICES) -> dict[str, float]:
    """Each choice by a prefill of its own for every token of it."""
    tokens = None if image is None else session.encode_image(image)
    scores = []
    for ids in choice_ids(session, choices):
        score = 0.0
        for n in range(len(ids) + 1):
            p = log_p(session.prefill([*prompt, *ids[:n]], session.backend.make_cache(), tokens))
            ends = list(session.spec.end_ids)
            score += p[ids[n]] if n < len(ids) else np.logaddexp.reduce(p[ends])
        scores.append(score)
    shares = np.exp(np.array(scores) - np.logaddexp.reduce(scores))
    return dict(zip(choices, shares, strict=True))


def first_prompt(session, image, question=QUESTION, history=()):
    prompts = PromptEncoder(session.spec.template, session.tokenizer)
    rows = None if image is None else session.image_tokens(image)
    return prompts.conversation([*history, (question, None)], rows)


def test_likelihoods_are_those_of_brute_force(source, picture):
    session = folded(source)
    ranked = session.chat(picture).rank(QUESTION, CHOICES)
    expected = brute_force(session, first_prompt(session, picture), picture)
    assert {one.text: one.probability for one in ranked} == pytest.approx(expected, abs=1e-6, rel=1e-4)
    assert sum(one.probability for one in ranked) == pytest.approx(1)
    assert [one.text for one in ranked] == sorted(expected, key=expected.__getitem__, reverse=True)


def test_several_end_ids_add_up(source):
    ends = (source.config.end_ids[0], 7, 9)
    session = folded(source, end_ids=ends)
    ranked = session.chat().rank(QUESTION, CHOICES)
    expected = brute_force(session, first_prompt(session, None), None)
    assert {one.text: one.probability for one in ranked} == pytest.approx(expected, abs=1e-6, rel=1e-4)


def test_a_rank_leaves_the_chat_as_it_was(source, picture):
    session = folded(source)
    asked = session.chat(picture)
    asked.rewind()
    first, second = ("".join(asked.ask(q, max_tokens=6)) for q in (QUESTION, "And how many?"))
    chat = session.chat(picture)
    before = chat.rank(QUESTION, CHOICES)
    assert (chat.timing.stop, chat.timing.vision > 0, chat.timing.decode > 0) == ("end", True, True)
    assert "".join(chat.ask(QUESTION, max_tokens=6)) == first
    assert chat.timing.vision == 0  # the picture is encoded once
    ids, pending = list(chat.ids), list(chat._pending)
    inside = chat.rank("And how many?", CHOICES)
    assert (chat.ids, chat._pending) == (ids, pending)
    assert "".join(chat.ask("And how many?", max_tokens=6)) == second
    chat.rewind()
    assert chat.rank(QUESTION, CHOICES) == before
    prompts = PromptEncoder(session.spec.template, session.tokenizer)
    prompt = [*ids, *pending, *prompts.next("And how many?")]
    expected = brute_force(session, prompt, picture)
    assert {one.text: one.probability for one in inside} == pytest.approx(expected, abs=1e-6, rel=1e-4)


def test_greedy_choice_is_brute_force_step_by_step(source, picture):
    session = folded(source)
    ids, ends = [*map(tuple, choice_ids(session))], set(session.spec.end_ids)
    prompt, tokens = first_prompt(session, picture), session.encode_image(picture)
    answer: tuple[int, ...] = ()
    while True:
        logits = session.prefill([*prompt, *answer], session.backend.make_cache(), tokens)
        allowed = {one[len(answer)] for one in ids if one[: len(answer)] == answer and len(one) > len(answer)}
        best = max(allowed | (ends if answer in ids else set()), key=lambda token: logits[token])
        if best in ends:
            break
        answer = (*answer, best)
    chat = session.chat(picture)
    assert "".join(chat.ask(QUESTION, form=Form(choices=CHOICES))) == CHOICES[ids.index(answer)]
    assert chat.timing.stop == "end"
    assert chat.timing.new_tokens == len(answer)


@pytest.mark.parametrize("sampling", [None, Sampling(1.0, seed=4), Sampling(2.0, 0.9, seed=5)])
def test_answers_meet_their_form_however_they_are_chosen(source, sampling):
    session = folded(source)
    chat = session.chat()
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "maximum": 99}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    for form, check in (
        (Form(choices=CHOICES), lambda text: text in CHOICES),
        (Form(regex=r"(\d{1,3}|a(b|é)+c{2}) ?!"), lambda t: re.fullmatch(r"(\d{1,3}|a(b|é)+c{2}) ?!", t)),
        (Form(schema=schema), lambda text: set(json.loads(text)) == {"colour", "count"}),
    ):
        chat.rewind()
        text = "".join(chat.ask(QUESTION, sampling=sampling, form=form, max_tokens=300))
        if chat.timing.stop == "end":
            assert check(text), text
        else:
            assert chat.timing.stop == "length"


def test_pieces_carry_the_models_own_logits(source):
    session = folded(source)
    pieces = list(session.chat().pieces(QUESTION, form=Form(choices=["green"])))
    tokens = [choice for piece in pieces for choice in piece.tokens]
    assert [choice.token for choice in tokens] == choice_ids(session, ["green"])[0]
    assert all(np.isfinite(choice.logits).all() for choice in tokens)


def test_an_answer_that_is_cut_says_so(source):
    session = folded(source)
    chat = session.chat()
    assert len("".join(chat.ask(QUESTION, form=Form(regex="x{30}y"), max_tokens=3)))
    assert chat.timing.stop == "length"
    prompt = len(first_prompt(session, None))
    narrow = folded(source, context=prompt + 2).chat()
    list(narrow.ask(QUESTION, form=Form(regex="x{40}y")))
    assert narrow.timing.stop == "context"
    whole = folded(source).chat()
    list(whole.ask(QUESTION, form=Form(choices=["no"]), max_tokens=len(choice_ids(session, ["no"])[0])))
    assert whole.timing.stop == "end"


def test_a_complete_answer_needs_no_step_for_its_end(source):
    session = folded(source)
    calls: list[int] = []
    compute = session.backend.decode
    session.backend.decode = lambda embeds, cache: (calls.append(embeds.shape[1]), compute(embeds, cache))[1]
    chat = session.chat()
    text = "".join(chat.ask(QUESTION, form=Form(choices=["green"])))
    assert text == "green"
    assert calls.count(1) == chat.timing.new_tokens - 1
    second = "".join(chat.ask("And?", form=Form(choices=["red", "no"])))
    fresh = session.chat(history=[(QUESTION, "green")])
    assert second == "".join(fresh.ask("And?", form=Form(choices=["red", "no"])))


def test_bad_forms_and_ranks_are_refused_before_any_work(source, monkeypatch):
    session = folded(source, context=40)
    monkeypatch.setattr(session.backend, "decode", lambda *_: pytest.fail("something was computed"))
    chat = session.chat()
    with pytest.raises(InputError, match="the choice holds"):
        chat.ask(QUESTION, form=Form(choices=[session.spec.template.image_end]))
    with pytest.raises(InputError, match="the context holds 40"):
        chat.rank("a?", ["x" * 150])
    for choices, message in (([], "0 choices"), (["a", "a"], "twice")):
        with pytest.raises(InputError, match=message):
            chat.rank("a?", choices)
    assert chat.ids == []


def test_a_rank_that_fails_leaves_the_chat_usable(source):
    session = folded(source)
    chat = session.chat()
    text = "".join(chat.ask(QUESTION, max_tokens=3))
    ids, pending = list(chat.ids), list(chat._pending)
    compute, calls = session.backend.decode, []

    def overflowing(embeds, cache):
        calls.append(1)
        return compute(embeds, cache) * (np.float32("nan") if len(calls) == 3 else 1)

    session.backend.decode = overflowing
    with pytest.raises(CheckError, match="not finite"):
        chat.rank("And?", CHOICES)
    assert (chat.ids, chat._pending, text != "") == (ids, pending, True)
    session.backend.decode = compute
    again = session.chat()
    assert "".join(again.ask(QUESTION, max_tokens=3)) == text
    assert "".join(chat.ask("And?", max_tokens=4)) == "".join(again.ask("And?", max_tokens=4))
