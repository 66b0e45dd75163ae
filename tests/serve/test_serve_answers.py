"""A real server process, asked by OpenAI's own client: every answer is what a session gives."""

from __future__ import annotations

import json

import numpy as np
import openai
import pytest
from api_server import data_url, user

import phantom_edge as pe

QUESTIONS = ("How many objects are there?", "What colour is the largest object?")
MODEL = "nano"


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return server.client()


def ask(client: openai.OpenAI, *messages: dict, **options):
    return client.chat.completions.create(model=MODEL, messages=list(messages), **options)


def streamed(client: openai.OpenAI, *messages: dict, **options) -> list:
    return list(ask(client, *messages, stream=True, **options))


def said(chunks: list) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_about_a_picture_is_the_sessions(client, session, pictures, question):
    for picture in pictures:
        expected = "".join(session.generate(question, picture))
        message = user(question, data_url(picture))
        answer = ask(client, message)
        assert answer.choices[0].message.content == expected
        assert answer.choices[0].finish_reason == "stop"
        assert said(streamed(client, message)) == expected


def test_usage_counts_the_pictures_tokens(client, session, pictures):
    message = user(QUESTIONS[0], data_url(pictures[0]))
    chat = session.chat(pictures[0])
    list(chat.ask(QUESTIONS[0]))
    usage = ask(client, message).usage
    assert usage.prompt_tokens == chat.timing.prompt_tokens
    assert usage.completion_tokens == chat.timing.new_tokens
    assert usage.prompt_tokens_details.image_tokens == session.image_tokens(pictures[0]) > 0
    *chunks, last = streamed(client, message, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == usage
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_several_turns_and_the_picture_again_with_each(client, session, pictures):
    url, history = data_url(pictures[1]), []
    messages = []
    for question in QUESTIONS:
        expected = "".join(session.chat(pictures[1], history=history).ask(question))
        messages.append(user(question, url))
        assert ask(client, *messages).choices[0].message.content == expected
        messages.append({"role": "assistant", "content": expected})
        history.append((question, expected))


def test_what_a_system_says_stands_before_the_first_question(client, session, pictures):
    expected = "".join(session.generate(f"Be brief.\n\nIn a word.\n\n{QUESTIONS[1]}", pictures[0]))
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "In a word."}]
    answer = ask(client, *system, user(QUESTIONS[1], data_url(pictures[0])))
    assert answer.choices[0].message.content == expected


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_kinds_of_pictures(client, pictures, kind):
    answer = ask(client, user(QUESTIONS[0], data_url(pictures[0], kind)))
    assert answer.choices[0].message.content


def test_logprobs_are_the_models_own(client, session, pictures):
    pieces = list(session.chat(pictures[0]).pieces(QUESTIONS[1]))
    choices = [choice for piece in pieces for choice in piece.tokens]
    message = user(QUESTIONS[1], data_url(pictures[0]))
    whole = ask(client, message, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    chunks = streamed(client, message, logprobs=True, top_logprobs=3)
    parts = [entry for chunk in chunks for entry in getattr(chunk.choices[0].logprobs, "content", [])]
    assert [entry.model_dump() for entry in whole] == [entry.model_dump() for entry in parts]
    assert b"".join(bytes(entry.bytes) for entry in whole).decode() == said(chunks)
    assert len(whole) == len(choices)
    for entry, choice in zip(whole, choices, strict=True):
        logits = choice.logits.astype(np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert np.exp(entry.logprob) == pytest.approx(probabilities[choice.token], rel=1e-9)
        best = np.sort(probabilities)[::-1][:3]
        assert np.exp([top.logprob for top in entry.top_logprobs]) == pytest.approx(best, rel=1e-9)
        assert entry.top_logprobs[0].token == entry.token  # greedy
    assert ask(client, message).choices[0].logprobs is None


def test_stop_length_and_their_reasons(client, session, pictures):
    message = user("Describe the image.", data_url(pictures[0]))
    expected = "".join(session.generate("Describe the image.", pictures[0]))
    assert " " in expected
    first = expected.split(" ")[0]
    for stop in (" ", [" ", "never"]):
        choice = ask(client, message, stop=stop).choices[0]
        assert (choice.message.content, choice.finish_reason) == (first, "stop")
    for name in ("max_tokens", "max_completion_tokens"):
        answer = ask(client, message, **{name: 1})
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 1


def test_sampling_is_the_sessions_and_a_seed_repeats_it(client, session, pictures):
    message = user("Describe the image.", data_url(pictures[2]))
    texts = set()
    for seed in (1, 2, 3):
        sampling = pe.Sampling(1.5, 0.9, seed)
        expected = "".join(session.generate("Describe the image.", pictures[2], sampling=sampling))
        options = {"temperature": 1.5, "top_p": 0.9, "seed": seed}
        assert ask(client, message, **options).choices[0].message.content == expected
        assert said(streamed(client, message, **options)) == expected
        texts.add(expected)
    assert len(texts) > 1
    greedy = "".join(session.generate("Describe the image.", pictures[2]))
    assert ask(client, message, temperature=1e-9).choices[0].message.content == greedy
    assert ask(client, message, temperature=1, top_p=0).choices[0].message.content == greedy
    assert ask(client, message, temperature=1, seed=-5).choices[0].message.content


def test_what_concerns_openai_alone_is_ignored(client):
    options = {"user": "me", "store": False, "metadata": {"a": "b"}, "parallel_tool_calls": False, "n": 1}
    neutral = {"frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}, "tool_choice": "none"}
    extra = {"extra_body": {"top_k": -1, "something": 1}, "response_format": {"type": "text"}}
    assert ask(client, user("Is it red?"), **options, **neutral, **extra).choices[0].message.content


def test_models(client, server):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "phantom-edge"
    assert server.get(f"v1/models/{MODEL}").json().get("knows") == pe.Pretrained.open().knows
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")
    no_model = server.post({"messages": [user("Is it red?")], "max_tokens": 1})
    assert no_model.json()["model"] == MODEL


def test_the_page_of_the_api_loads_nothing(server):
    page = server.get("docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "max_completion_tokens" in page.text
    assert "http" not in page.text.replace(server.address, "").replace("http and https", "")
    schema = server.get("openapi.json").json()
    assert "/v1/chat/completions" in schema["paths"]


def test_counts_and_the_log_have_numbers_and_no_words(server, pictures):
    secret = "Where is my marmalade?"
    answer = server.post({"messages": [user(secret, data_url(pictures[0]))]})
    log = server.logged(answer)
    assert log["prompt_tokens"] == answer.json()["usage"]["prompt_tokens"]
    assert (log["route"], log["status"], log["model"]) == ("/v1/chat/completions", 200, MODEL)
    assert server.get("marmalade").status_code == 404
    numbers = server.get("metrics").text
    assert 'phantom_edge_tokens_total{kind="image",model="nano"}' in numbers
    assert 'phantom_edge_requests_total{route="other",status="404"}' in numbers
    assert "marmalade" not in numbers + "".join(server.log)
    assert all(json.loads(line) for line in server.log)
