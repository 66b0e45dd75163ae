"""Clients that go, queues that are full, processes that die or stall, and the server's own end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from api_server import HURRY, ApiServer, api_server, connected, until, user

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux: its /proc")
HELLO = user("Hello")
LONG = {"model": "endless", "messages": [HELLO], "max_tokens": 4000}
SHORT = {**LONG, "max_tokens": 1}


@pytest.fixture
def server(endless) -> Iterator[ApiServer]:
    """The endless model's, with one place in the queue, loaded."""
    with serving(endless) as running:
        yield running


@contextlib.contextmanager
def serving(model: Path, *options: str) -> Iterator[ApiServer]:
    with api_server("--model", str(model), "--queue", "1", *options) as running:
        # With a short --timeout the model may still be loading when the first answers are due.
        answers = (running.post({"messages": [HELLO], "max_tokens": 1}) for _ in range(60))
        assert any(answer.status_code == 200 for answer in answers)
        yield running


@contextlib.contextmanager
def stream(server: ApiServer, **fields) -> Iterator[Iterator[str]]:
    """The lines of a long answer, of which the first part has come."""
    body = json.dumps({**LONG, "stream": True, **fields}).encode()
    kind = {"Content-Type": "application/json"}
    url = f"{server.address}v1/chat/completions"
    with httpx.stream("POST", url, content=body, headers=kind, timeout=HURRY) as response:
        assert response.status_code == 200
        lines = (line for line in response.iter_lines() if line)
        for _ in range(3):
            assert json.loads(next(lines).removeprefix("data: "))["object"] == "chat.completion.chunk"
        yield lines


def waits(server: ApiServer, count: int) -> None:
    until(lambda: server.states()["endless"]["waiting"] == count, f"{count} requests wait")


# --- clients that go


@pytest.mark.parametrize("streams", [True, False])
def test_who_goes_is_no_longer_answered(server, streams):
    begin = time.monotonic()
    assert server.post(LONG).status_code == 200
    whole = time.monotonic() - begin
    if streams:
        with stream(server):
            pass
    else:
        body = json.dumps(LONG).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with connected(server) as client:
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            time.sleep(0.2)
    begin = time.monotonic()
    assert server.post(SHORT).status_code == 200
    assert time.monotonic() - begin < whole / 2
    loading, first, gone, last = server.chats(4)
    assert [chat.get("finish") for chat in (loading, first, gone, last)] == [
        "length",
        first["finish"],
        None,
        "length",
    ]
    assert gone["status"] == (200 if streams else 499)


def test_who_goes_while_waiting_leaves_the_queue(server):
    with stream(server), connected(server) as client:
        body = json.dumps(LONG).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        waits(server, 1)
        client.close()
        waits(server, 0)


def test_a_full_queue_says_when_to_come_again(server):
    with stream(server), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(server.post, SHORT)
        waits(server, 1)
        refused = server.post(SHORT)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        with pytest.raises(openai.RateLimitError):
            server.client().chat.completions.create(model="endless", messages=[HELLO])
    assert waiting.result().status_code == 200


# --- processes that die or stall


def test_a_killed_process_fails_its_answer_and_comes_back(server, endless):
    answers = server.client(max_retries=0).chat.completions
    expected = answers.create(**SHORT).choices[0].message.content
    parts = answers.create(**LONG, stream=True)
    assert [next(parts) for _ in range(3)]
    os.kill(server.pid(), signal.SIGKILL)
    with pytest.raises(openai.APIError) as caught:
        list(parts)
    assert caught.value.code == "model_crashed"
    assert "SIGKILL" in caught.value.message
    until(lambda: server.states()["endless"]["state"] == "loaded", "it is loaded again by itself")
    assert answers.create(**SHORT).choices[0].message.content == expected
    assert 'phantom_edge_restarts_total{model="endless"} 1.0' in server.get("metrics").text


def test_a_process_that_died_at_rest_is_started_again(server):
    os.kill(server.pid(), signal.SIGKILL)
    until(lambda: server.states()["endless"]["state"] == "unloaded", "its end is seen")
    assert server.post(SHORT).status_code == 200


def test_a_process_that_stalls_is_given_up(endless):
    with serving(endless, "--timeout", "2") as server:
        os.kill(server.pid(), signal.SIGSTOP)
        refused = server.post(SHORT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (504, "timeout")
        until(lambda: server.states()["endless"]["state"] == "loaded" and not stopped(server), "it is new")
        until(lambda: server.post(SHORT).status_code == 200, "it answers")


def stopped(server: ApiServer) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "--ppid", str(server.process.pid)], capture_output=True)
    return listed.stdout.startswith(b"T")


def test_an_answer_that_takes_too_long_ends_with_an_error(endless):
    with serving(endless, "--timeout", "1") as server, stream(server, max_tokens=4000) as lines:
        os.kill(server.pid(), signal.SIGSTOP)  # any machine is slow enough then
        *_, last = lines
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
        until(lambda: not stopped(server), "the process is another")


# --- the server's end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_finishes_what_is_being_answered(server, number):
    worker = server.pid()
    with ThreadPoolExecutor(1) as threads, stream(server) as lines:
        waiting = threads.submit(server.post, SHORT)
        waits(server, 1)
        server.process.send_signal(number)
        until(lambda: refuses(server), "no new connection is taken")
        assert list(lines)[-1] == "data: [DONE]"
        assert waiting.result().json()["error"]["code"] == "stopping"
    assert server.process.wait(HURRY) == 0
    until(lambda: not Path(f"/proc/{worker}").exists(), "its process is gone")
    assert all(line.startswith("{") for line in server.log), server.log


def refuses(server: ApiServer) -> bool:
    try:
        connected(server).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_end_does_not_wait_for_ever(endless):
    with serving(endless, "--grace", "0") as server, stream(server):
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(HURRY) == 0
        assert time.monotonic() - begin < 10


@needs_proc
def test_nothing_is_left_where_the_server_is_killed(endless, tmp_path):
    if not any((Path(folder) / "setpriv").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("needs setpriv")
    with serving(endless) as server:
        worker = server.pid()
        server.process.kill()
        until(lambda: not Path(f"/proc/{worker}").exists(), "its process is gone")


# --- several models


@needs_proc
def test_the_oldest_model_is_given_back_for_want_of_memory(nano, endless):
    models = ["--model", str(nano), "--model", f"b={endless}", "--model", f"c={endless}"]
    with api_server(*models, "--memory", "1") as server:
        assert {state["state"] for state in server.states().values()} == {"unloaded"}
        for name in ("b", "nano", "c", "b"):
            assert server.post({**SHORT, "model": name}).json()["model"] == name
            until(lambda name=name: loaded(server) == {name}, f"{name} alone is loaded")
    with api_server(*models) as server:
        for name in ("b", "nano", "c"):
            assert server.post({**SHORT, "model": name}).status_code == 200
        assert loaded(server) == {"b", "nano", "c"}


def loaded(server: ApiServer) -> set[str]:
    return {name for name, state in server.states().items() if state["state"] == "loaded"}


def test_a_model_that_is_gone_is_an_error_and_no_end(nano, endless, tmp_path):
    copy = Path(shutil.copytree(endless, tmp_path / "copy"))
    with api_server("--model", str(nano), "--model", str(copy)) as server:
        (copy / "tokenizer.json").write_text("{}")
        refused = server.post({**SHORT, "model": "copy"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_not_loaded")
        assert "SHA-256" in refused.json()["error"]["message"]
        assert server.post({**SHORT, "model": "nano"}).status_code == 200


# --- what it cannot begin with


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "nowhere"), "no such folder"),
        (("--model", "{folder}"), "neither a bundle nor a checkpoint"),
        (("--model", "a=phantom-nano", "--model", "a=phantom-nano"), "two models are called a"),
        (("--model", "a b=phantom-nano"), "no name for a model"),
        (("--api-key", "short"), "the API key is none"),
        (("--api-key", "long-enough", "--api-key-file", "{folder}/key"), "two API keys"),
        (("--api-key-file", "{folder}/none"), "not found"),
        (("--allow-private-url",), "goes with --allow-url"),
        (("--port", "{taken}"), "is in use"),
        (("--host", "198.51.100.1"), "cannot listen"),
        (("--cert", "{folder}/none.pem"), "give PEM files"),
        (("--queue", "-1"), "queue"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_it_cannot_begin_with_is_one_line(tmp_path, options, words):
    (tmp_path / "key").write_text("a-key-from-a-file")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fill = {"folder": tmp_path, "taken": taken.getsockname()[1]}
        given = [option.format(**fill) for option in options]
        free = [] if "--port" in given else ["--port", "0"]
        command = [sys.executable, "-m", "phantom_edge", "serve", *free, *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HURRY)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr) <= 301


def test_many_silent_clients_hold_up_nobody(server):
    with contextlib.ExitStack() as silent:
        for _ in range(600):
            silent.enter_context(connected(server))
        assert server.post(SHORT).status_code == 200
