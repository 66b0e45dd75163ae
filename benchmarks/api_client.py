"""A small client of the server's streams, which takes less of the machine than what it measures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

HEAD: Final = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)
EVENT: Final = b"data: "


@dataclass
class Outcome:
    """What became of one request; ``failure`` is the API's code where it is no whole answer."""

    status: int
    text: str = ""
    parts: int = 0
    seconds: float = 0.0
    first: float = 0.0
    failure: str = ""
    retry_after: float = 0.0


@dataclass
class ApiClient:
    """One connection that is kept, as clients keep it."""

    port: int
    begun: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set at the first text of an answer."""
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, init=False)

    async def ask(self, body: bytes) -> Outcome:
        """Send a request of a stream and read all of its answer."""
        begin = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write(HEAD.format(length=len(body)).encode() + body)
            outcome = await self._answer(reader, begin)
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return Outcome(0, failure="connection", seconds=time.perf_counter() - begin)
        outcome.seconds = time.perf_counter() - begin
        return outcome

    async def close(self) -> None:
        """Close the connection."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, begin: float) -> Outcome:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        outcome = Outcome(int(head.split()[1]))
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if "content-length" in fields:
            body = json.loads(await reader.readexactly(int(fields["content-length"])))
            outcome.failure = body["error"]["code"]
            outcome.retry_after = float(fields.get("retry-after", "0"))
            return outcome
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunk = await reader.readexactly(size + 2)
            for line in chunk.split(b"\n"):
                if line.startswith(EVENT) and line != b"data: [DONE]":
                    self._take(outcome, json.loads(line[len(EVENT) :]), begin)
        await reader.readuntil(b"\r\n")
        return outcome

    def _take(self, outcome: Outcome, event: dict[str, Any], begin: float) -> None:
        if "error" in event:
            outcome.failure = event["error"]["code"]
        elif event["choices"]:
            text = event["choices"][0]["delta"].get("content")
            if text:
                outcome.first = outcome.first or time.perf_counter() - begin
                self.begun.set()
                outcome.parts += 1
                outcome.text += text
