"""Answers with a form, and pictures that are known again: through the API as in a session."""

from __future__ import annotations

import json
import re

import openai
import pytest
from api_server import api_server, data_url, user

import phantom_edge as pe

QUESTION = "What colour is the largest object?"
COLOURS = ["red", "green", "blue", "yellow", "orange"]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": COLOURS}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return server.client()


def answer(client: openai.OpenAI, picture, form: dict, **options) -> str:
    messages = [user(QUESTION, data_url(picture))]
    extra = {"response_format": form}
    whole = client.chat.completions.create(model="nano", messages=messages, extra_body=extra, **options)
    parts = client.chat.completions.create(
        model="nano", messages=messages, extra_body=extra, stream=True, **options
    )
    text = whole.choices[0].message.content
    assert "".join(part.choices[0].delta.content or "" for part in parts) == text
    return text


@pytest.mark.parametrize(
    ("form_field", "form"),
    [
        ({"type": "choices", "choices": COLOURS}, {"choices": COLOURS}),
        ({"type": "regex", "regex": "(It is )?[a-z]{3,8}[.]"}, {"regex": "(It is )?[a-z]{3,8}[.]"}),
        ({"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA}}, {"schema": SCHEMA}),
    ],
    ids=["choices", "regex", "schema"],
)
def test_an_answer_has_its_form_and_is_the_sessions(client, session, pictures, form_field, form):
    for picture in pictures:
        expected = "".join(session.generate(QUESTION, picture, form=pe.Form(**form)))
        assert answer(client, picture, form_field) == expected
        if "schema" in form:
            seen = json.loads(expected)
            assert seen["colour"] in COLOURS
            assert 0 <= seen["count"] <= 9
        if "regex" in form:
            assert re.fullmatch(form["regex"], expected)


def test_any_json_object(client, session, pictures):
    expected = "".join(session.generate(QUESTION, pictures[0], form=pe.Form(schema=True), max_tokens=40))
    assert answer(client, pictures[0], {"type": "json_object"}, max_tokens=40) == expected
    assert expected.startswith("{")


@pytest.mark.parametrize(
    "form",
    [
        {"type": "choices", "choices": []},
        {"type": "choices", "choices": ["a", "a"]},
        {"type": "choices", "choices": [f"choice {n}" for n in range(2000)]},
        {"type": "regex", "regex": "("},
        {"type": "regex", "regex": "(?=a)"},
        {"type": "regex", "regex": "((a{1000}){1000}){1000}"},
        {"type": "regex", "regex": "a" * 5000},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "nothing"}}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": []}}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"$ref": "https://example.org"}}},
    ],
    ids=lambda form: str(form)[:60],
)
def test_forms_that_are_none(server, form):
    refused = server.post({"messages": [user(QUESTION)], "response_format": form})
    assert refused.status_code == 400, refused.text
    error = refused.json()["error"]
    assert (error["param"], error["code"]) == ("response_format", "invalid_value")
    assert len(error["message"]) <= 300
    assert server.post({"messages": [user(QUESTION)], "max_tokens": 1}).status_code == 200


def test_a_picture_is_known_again_also_after_a_restart(nano, pictures, tmp_path):
    folder = tmp_path / "seen"
    message = {"messages": [user(QUESTION, data_url(pictures[0]))]}
    texts, cached = [], []

    def ask(server) -> None:
        body = server.post(message).json()
        texts.append(body["choices"][0]["message"]["content"])
        cached.append(body["usage"]["prompt_tokens_details"]["cached_tokens"])

    with api_server("--model", str(nano), "--cache-dir", str(folder)) as server:
        ask(server)
        ask(server)
        assert 'phantom_edge_pictures_total{model="nano",source="memory"} 1.0' in server.get("metrics").text
    with api_server("--model", str(nano), "--cache-dir", str(folder)) as server:
        ask(server)
        assert server.chats(1)[0]["picture"] == "disk"
    with api_server("--model", str(nano), "--cache", "0") as server:
        ask(server)
        ask(server)
    assert len(set(texts)) == 1
    assert [count > 0 for count in cached] == [False, True, True, False, False]
