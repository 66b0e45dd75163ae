"""A server process of ``phantom-edge serve`` for the length of a block, and what a client sends."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2 as httpx
import openai
from PIL import Image

HURRY = 60.0  # seconds that a test waits for anything


@dataclass
class ApiServer:
    """A running process; ``log`` has the lines of its standard error."""

    process: subprocess.Popen[str]
    address: str
    log: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client; it does not try again by itself."""
        options = {"api_key": "none needed", "max_retries": 0, "timeout": HURRY, **options}
        return openai.OpenAI(base_url=f"{self.address}v1", **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", timeout=HURRY, **options)

    def post(self, body: Any, **options: Any) -> httpx.Response:
        """A chat request of a JSON value, or of bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        url = f"{self.address}v1/chat/completions"
        return httpx.post(url, content=data, headers=headers, timeout=HURRY, **options)

    def states(self) -> dict[str, dict[str, Any]]:
        return {model["id"]: model for model in self.get("health").json()["models"]}

    def pid(self, model: str = "") -> int:
        """Of the one worker's process."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        (pid,) = listed.stdout.split()
        return int(pid)

    def chats(self, count: int) -> list[dict[str, Any]]:
        """The log's lines about chat requests, once there are so many; a line may come after its answer."""
        until(lambda: len(self._chats()) >= count, f"{count} chats in the log")
        return self._chats()

    def _chats(self) -> list[dict[str, Any]]:
        read = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in read if line.get("route") == "/v1/chat/completions"]

    def logged(self, response: httpx.Response) -> dict[str, Any]:
        """The log's line about a chat request."""
        number = response.headers["x-request-id"]
        until(lambda: any(line["id"] == number for line in self._chats()), "the request is in the log")
        return next(line for line in self._chats() if line["id"] == number)


@contextlib.contextmanager
def api_server(*options: str, **variables: str) -> Iterator[ApiServer]:
    """``phantom-edge serve`` with ``options``, on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "phantom_edge", "serve", "--port", "0", "--json", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables},
        # A shell's background jobs ignore it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    server = ApiServer(process, "")
    reader = threading.Thread(target=lambda: server.log.extend(process.stderr), daemon=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        server.address = json.loads(line)["address"]
        reader.start()
        yield server
    finally:
        process.kill()
        process.wait()


def data_url(image: Image.Image, kind: str = "png") -> str:
    """A picture as clients send it."""
    file = io.BytesIO()
    image.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def user(text: str, *urls: str) -> dict[str, Any]:
    """A user's message, with pictures."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}] if urls else text}


def until(condition: Any, what: str, seconds: float = HURRY) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def connected(server: ApiServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=HURRY)
