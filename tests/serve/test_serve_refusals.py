"""What is wrong with a request ends as the API's error object, in one line, and the server lives."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import openai
import pytest
from api_server import ApiServer, connected, data_url, user
from PIL import Image

PNG = "data:image/png;base64,"
SQUARE = data_url(Image.new("RGB", (32, 32), "red"))
OTHER = data_url(Image.new("RGB", (32, 32), "blue"))


def checked(response, status: int, code: str | None) -> dict:
    """The error object of a response."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    message = error["message"]
    assert 0 < len(message) <= 300
    assert message.isprintable()
    return error


@pytest.fixture(autouse=True)
def alive(server):
    """After every request the server still answers."""
    yield
    assert server.get("health").json()["status"] == "ok"
    assert server.post({"messages": [user("Is it red?")], "max_tokens": 1}).status_code == 200


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 40,000 x 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def encoded(data: bytes) -> str:
    return PNG + base64.b64encode(data).decode()


def truncated() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "png")
    return file.getvalue()[:-500]


# --- what is no request


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nothing", b"\xff\xfe", b"[]", b"1", b'"text"', b"null", b"[" * 100_000,
        b'{"messages": NaN}',
        b'{"messages": [], "seed": ' + b"1" * 5000 + b"}", b'{"messages": "\\ud800"}', b'{"a":' * 5000,
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_is_no_json_object(server, body):
    checked(server.post(body), 400, "invalid_json")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_foreign_page_may_send_unasked(server, kind):
    checked(server.post({"messages": [user("?")]}, headers={"Content-Type": kind}), 415, "invalid_json")


HELLO = user("Hello")
FAULTS = [
    ({}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": "Hello"}, "messages", "invalid_value"),
    ({"messages": [HELLO] * 1001}, "messages", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]", ...),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
     "messages[0].content[0].image_url", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}]},
     "messages[0].content[0].image_url.url", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "a.png"}]}]},
     "messages[0].content[0].image_url", "invalid_value"),
    ({"temperature": 2.5}, "temperature", "invalid_value"),
    ({"temperature": -1}, "temperature", "invalid_value"),
    ({"temperature": "warm"}, "temperature", "invalid_value"),
    ({"top_p": 1.5}, "top_p", "invalid_value"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": 1 << 40}, "max_tokens", "invalid_value"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_value"),
    ({"seed": 1 << 70}, "seed", "invalid_value"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": list("abcde")}, "stop", "invalid_value"),
    ({"n": 2}, "n", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", ...),
    ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
    ({"logit_bias": {"1": 2}}, "logit_bias", "unsupported_parameter"),
    ({"top_k": 40}, "top_k", "unsupported_parameter"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "code"), FAULTS, ids=lambda value: json.dumps(str(value))[:60])
def test_fields_that_are_refused(server, fields, param, code):
    body = fields if "messages" in fields or not fields else {"messages": [HELLO], **fields}
    response = server.post(body)
    error = checked(response, 400, response.json()["error"]["code"] if code is ... else code)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "system", "content": "Be brief."}], "does not begin with a message of the user"),
        ([{"role": "assistant", "content": "Hi"}, HELLO], "does not begin with a message of the user"),
        ([HELLO, {"role": "assistant", "content": "Hi"}], "end with a message of the user"),
        ([user("?", SQUARE, OTHER)], "2 pictures, and the model looks at one"),
        ([user("?", SQUARE), {"role": "assistant", "content": "x"}, user("?", OTHER)], "2 pictures"),
        ([HELLO, {"role": "assistant", "content": "x"}, user("?", SQUARE)], "move it into the first user"),
        ([user("<|im_end|>")], "reserved for the prompt"),
        ([HELLO, {"role": "assistant", "content": "</img>"}, HELLO], "reserved for the prompt"),
    ],
)
def test_conversations_that_no_prompt_is_made_of(server, messages, words):
    assert words in checked_any(server.post({"messages": messages}))


def checked_any(response) -> str:
    message: str = checked(response, 400, response.json()["error"]["code"])["message"]
    return message


def test_an_unknown_model(server):
    error = checked(server.post({"model": "gpt-4o", "messages": [HELLO]}), 404, "model_not_found")
    assert error["param"] == "model"
    long = checked(server.post({"model": "x" * 10_000, "messages": [HELLO]}), 404, "model_not_found")
    assert "/v1/models" in long["message"]


def test_a_context_that_does_not_fit_comes_with_the_number(server, session):
    error = checked(server.post({"messages": [user("red " * 5000)]}), 400, "context_length_exceeded")
    assert f"the context holds {session.backend.context}" in error["message"]
    assert "needs 50" in error["message"] or "needs 100" in error["message"]
    error = checked(server.post({"messages": [user("r" * (1 << 20) + "ed")]}), 400, "context_length_exceeded")
    assert "1048578 characters" in error["message"]
    client = server.client()
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="nano", messages=[user("red " * 5000)], stream=True)
    assert caught.value.code == "context_length_exceeded"


# --- pictures


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("photo.jpg", "invalid_image_url", "neither a data URL nor one of http"),
        ("file:///etc/passwd", "invalid_image_url", "neither a data URL nor one of http"),
        ("https://example.org/a.png", "image_url_not_allowed", "--allow-url"),
        ("data:image/png,abc", "invalid_image_url", "not in base64"),
        ("data:image/png;base64", "invalid_image_url", "not in base64"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "invalid_image_url", "no known type"),
        ("data:text/html;base64,PGI+", "invalid_image_url", "no known type"),
        (PNG, "invalid_image_url", "is empty"),
        (f"{PNG}!!!!", "invalid_image_url", "no base64"),
        (f"{PNG}abcde", "invalid_image_url", "no base64"),
        (encoded(b"no picture at all"), "invalid_image", "not a picture in a known format"),
        (encoded(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "invalid_image", "known format"),
        (encoded(truncated()), "invalid_image", "damaged"),
        (encoded(bomb()), "invalid_image", "megapixels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_pictures_that_are_none(server, url, code, words):
    error = checked(server.post({"messages": [user("What is it?", url)]}), 400, code)
    assert words in error["message"]
    assert error["param"] == "messages"


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(server):
    large = b'{"messages": "' + b"x" * (3 << 20) + b'"}'  # --max-body 2
    checked(server.post(large), 413, "request_too_large")

    def parts():
        for _ in range(3):
            yield b"x" * (1 << 20)

    chunked = server.client()._client.post(  # without a length
        f"{server.address}v1/chat/completions", content=parts(), headers={"Content-Type": "application/json"}
    )
    checked(chunked, 413, "request_too_large")


# --- addresses and methods


@pytest.mark.parametrize("path", ["", "v1", "v1/completions", "v1/embeddings", "docs/x", "%00", "x" * 5000])
def test_addresses_that_are_not_there(server, path):
    checked(server.get(path), 404, "unknown_url")


def test_methods_that_are_not_taken(server):
    response = server.get("v1/chat/completions")
    checked(response, 405, "method_not_supported")
    assert response.headers["allow"] == "POST"


def test_a_foreign_name_is_not_answered(server: ApiServer):
    checked(server.get("v1/models", headers={"Host": "rebound.example"}), 421, "unknown_host")
    assert server.get("v1/models", headers={"Host": "127.0.0.1"}).status_code == 200


# --- clients that do nothing, or half


def test_clients_that_send_nothing_or_half_hold_up_nobody(server: ApiServer):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    begun = [b"", head, head + b"Content-Length: 100\r\n\r\n", head + b"Content-Length: 100\r\n\r\n{"]
    clients = [connected(server) for _ in range(40)]
    for n, client in enumerate(clients):
        client.sendall(begun[n % len(begun)])
    assert server.post({"messages": [HELLO], "max_tokens": 1}).status_code == 200
    for client in clients:
        client.close()


@pytest.mark.parametrize("sent", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(60), b"A" * 60_000])
def test_what_is_no_http(server: ApiServer, sent):
    with connected(server) as client:
        client.sendall(sent)
        assert client.recv(12) == b"HTTP/1.1 400"
