"""The probability of a free answer: as the formula has it, in sessions as brute force has it, and cheap."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.runtime.confidence import MOST_TOKENS, Confidence
from phantom_edge.runtime.form import Form
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session
from phantom_edge.text.prompt_ids import PromptEncoder

CASES = json.loads((Path(__file__).parents[1] / "support" / "confidence_vectors.json").read_text())
QUESTION = "What colour is it?"


def probability(row: list[float], ids: list[int]) -> float:
    """The softmax, the long way."""
    weights = [math.exp(logit - max(row)) for logit in row]
    return math.fsum(weights[n] for n in ids) / math.fsum(weights)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vectors(case):
    tokens, rows = case["tokens"], [np.array(row, np.float32) for row in case["rows"]]
    confidence = Confidence(case["ends"])
    for token, row in zip(tokens, rows, strict=False):
        confidence.add(row, token)
    value = confidence.ended(rows[-1] if len(rows) > len(tokens) else None)
    if len(tokens) > MOST_TOKENS:
        assert value is None
        assert case["confidence"] is None
        return
    steps = [probability(row, [token]) for row, token in zip(case["rows"], tokens, strict=False)]
    end = [probability(case["rows"][-1], case["ends"])] if len(rows) > len(tokens) else []
    assert value == pytest.approx(math.prod([*steps, *end]), rel=2e-5, abs=1e-12)
    assert value == pytest.approx(case["confidence"], rel=2e-5, abs=1e-12)
    assert 0 <= value <= 1


@pytest.fixture(scope="module", params=["qwen2", "phi3"])
def session(request, tiny_dirs) -> Session:
    return Session.of_source(Pretrained.open(tiny_dirs[request.param]))


def tokens_of(session: Session, question: str, count: int, sampling: Sampling | None) -> list[int]:
    pieces = session.chat().pieces(question, max_tokens=count, sampling=sampling)
    return [choice.token for piece in pieces for choice in piece.tokens]


@pytest.fixture
def spec(session):
    """The session's own, which a test may change and which is there again afterwards."""
    own = session.spec
    session.spec = replace(own, end_ids=())
    yield session.spec
    session.spec = own


SAMPLED = Sampling(3.0, seed=2)


@pytest.mark.parametrize(("count", "sampling"), [(0, None), (1, None), (1, SAMPLED), (3, SAMPLED)])
def test_of_a_chat_is_that_of_brute_force(session, spec, count, sampling):
    """Each token by a prefill of its own, under the model's own softmax however it was chosen."""
    for question in (QUESTION, "How many?", "Where is it?", "Is it red?", "What is the name of it, and why?"):
        tokens = tokens_of(session, question, count + 1, sampling)
        if tokens[count] not in tokens[:count]:
            break
    session.spec = replace(spec, end_ids=(tokens[count],))  # so the answer ends there, and not before
    chat = session.chat()
    pieces = list(chat.pieces(question, sampling=sampling))
    assert [choice.token for piece in pieces for choice in piece.tokens] == tokens[:count]
    prompts = PromptEncoder(session.spec.template, session.tokenizer)
    prompt = prompts.conversation([(question, None)], None)
    steps = []
    for n, token in enumerate(tokens):
        row = session.prefill([*prompt, *tokens[:n]], session.backend.make_cache())
        steps.append(probability([float(logit) for logit in row], [token]))
    assert chat.timing.stop == "end"
    assert chat.timing.confidence == pytest.approx(math.prod(steps), rel=1e-3)


def test_none_for_what_was_cut_or_is_long_and_a_new_one_for_each_answer(session):
    chat = session.chat()
    list(chat.ask(QUESTION, max_tokens=1))
    assert (chat.timing.stop, chat.timing.confidence) == ("length", None)
    chat.rewind()
    form = Form(choices=["green"])
    assert "".join(chat.ask(QUESTION, form=form)) == "green"
    assert 0 < chat.timing.confidence < 0.5  # among all texts: `rank` has it among the choices
    chat.rewind()
    assert "".join(chat.ask(QUESTION, form=form, stop=("een",))) == "gr"
    assert (chat.timing.stop, chat.timing.confidence) == ("stop", None)
    chat.rewind()
    assert "".join(chat.ask(QUESTION, form=Form(regex="a{200}"), max_tokens=400))
    assert chat.timing.new_tokens > MOST_TOKENS
    assert (chat.timing.stop, chat.timing.confidence) == ("end", None)
