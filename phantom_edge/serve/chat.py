"""A chat completion, from the request to the last byte of the answer, for as long as the client is there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from phantom_edge.errors import InputError
from phantom_edge.runtime.sampling import LEAST_TEMPERATURE
from phantom_edge.serve import request as api
from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.completion import Completion, event
from phantom_edge.serve.conversation import conversation
from phantom_edge.serve.data_url import picture_of, refused
from phantom_edge.serve.fetch import Fetcher
from phantom_edge.serve.gate import Bodies, note
from phantom_edge.serve.lane import Lane
from phantom_edge.serve.metrics import Metrics
from phantom_edge.serve.pool import Pool
from phantom_edge.serve.question import End, Part, Question
from phantom_edge.system.reading import parse_json

FETCHES: Final = 4  # pictures that are fetched at once
_STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


@dataclass
class Chats:
    """Answers chat requests, each within ``seconds``, its wait included; ``fetcher`` gets pictures."""

    pool: Pool
    metrics: Metrics
    bodies: Bodies
    seconds: float
    fetcher: Fetcher | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(FETCHES), init=False)

    async def respond(self, request: Request) -> Response:
        """What answers a request: nothing of it is computed before the response is sent."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page of another site can send anything else without being asked
            raise ApiError(415, "the body's Content-Type is not application/json", code="invalid_json")
        return _Response(self, request)

    async def question(self, request: Request) -> tuple[api.ChatRequest, Lane, Question]:
        """What is asked, and of which model. Raises :class:`ApiError`."""
        body = await self.bodies.read(request)
        try:
            try:
                parsed = api.parse(parse_json(bytes(body), "the body"))
            except InputError as error:
                raise ApiError(400, str(error), code="invalid_json") from None
            lane = self.pool.lane(parsed.model)
            note(request, model=lane.name, stream=bool(parsed.stream))
            said = conversation(parsed.messages)
            picture = await self._picture(said.picture)
        finally:
            self.bodies.free(len(body))
        cold = parsed.top_p == 0 or (parsed.temperature or 0) < LEAST_TEMPERATURE
        question = Question(
            text=said.question,
            history=said.history,
            picture=picture,
            max_tokens=parsed.most_tokens,
            stop=parsed.stops,
            temperature=0.0 if cold else parsed.temperature or 0.0,
            top_p=parsed.top_p or 1.0,
            seed=None if parsed.seed is None else parsed.seed % api.MAX_SEED,
            top_logprobs=parsed.probabilities,
            form=parsed.form,
        )
        return parsed, lane, question

    async def _picture(self, url: str) -> bytes:
        if not url:
            return b""
        if url[:5].lower() == "data:":
            return picture_of(url)
        if url[:7].lower() != "http://" and url[:8].lower() != "https://":
            raise refused("the picture's URL is neither a data URL nor one of http or https")
        if self.fetcher is None:
            what = "this server fetches no pictures (--allow-url lets it); send a data URL in base64"
            raise ApiError(400, what, param="messages", code="image_url_not_allowed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.fetcher.get, url)


class _Response(Response):
    """The answer, which is given up when the client goes or the time is over."""

    def __init__(self, chats: Chats, request: Request):
        super().__init__()
        self.chats, self.request = chats, request
        self.begin = time.monotonic()
        self.begun = False  # whether the head of a stream is sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            try:
                async with asyncio.timeout(self.chats.seconds):
                    parts = await self.chats.question(self.request)
                    await _while_connected(receive, self._answer(*parts, scope, receive, send))
            except TimeoutError:
                what = f"no whole answer in {self.chats.seconds:g} s (--timeout); ask for fewer tokens"
                raise ApiError(504, what, code="timeout") from None
        except ClientDisconnect:
            return
        except ApiError as error:
            note(self.request, error=error.code)
            if not self.begun:
                raise
            await _send(send, event(error.body), more=False)

    async def _answer(
        self,
        parsed: api.ChatRequest,
        lane: Lane,
        question: Question,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        completion = Completion(lane.name, parsed.probabilities is not None)
        parts: list[Part] = []
        async with contextlib.aclosing(lane.answer(question)) as answer:
            async for events in answer:
                new = [event for event in events if isinstance(event, Part)]
                if new and not parts:
                    self._note_first(lane)
                parts += new
                end = events[-1] if isinstance(events[-1], End) else None
                if end is not None:
                    self._count(lane, end)
                if parsed.stream:
                    await self._stream(send, completion, new, end, with_usage=parsed.usage_streams)
                elif end is not None:
                    await JSONResponse(completion.whole(parts, end))(scope, receive, send)

    async def _stream(
        self, send: Send, completion: Completion, parts: list[Part], end: End | None, *, with_usage: bool
    ) -> None:
        """Send parts as chunks, all in one go."""
        body = b"".join(completion.next(part) for part in parts if part.text or part.logprobs)
        if not self.begun:
            headers = [(name.lower().encode(), value.encode()) for name, value in _STREAM.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            self.begun, body = True, completion.first() + body
        if end is not None:
            body += completion.last(end, with_usage=with_usage)
        if body:
            await _send(send, body, more=end is None)

    def _note_first(self, lane: Lane) -> None:
        self.chats.metrics.first.labels(lane.name).observe(self._seconds())
        note(self.request, first_ms=round(self._seconds() * 1000, 1))

    def _count(self, lane: Lane, end: End) -> None:
        metrics, name = self.chats.metrics, lane.name
        metrics.seconds.labels(name).observe(self._seconds())
        text_tokens = end.prompt_tokens - end.image_tokens
        for kind, count in (("text", text_tokens), ("image", end.image_tokens), ("new", end.new_tokens)):
            metrics.tokens.labels(name, kind).inc(count)
        if end.image_tokens:
            metrics.pictures.labels(name, end.picture or "computed").inc()
        note(
            self.request,
            prompt_tokens=end.prompt_tokens,
            image_tokens=end.image_tokens,
            picture=end.picture,
            new_tokens=end.new_tokens,
            finish=end.stop,
            vision_ms=round(end.vision * 1000, 1),
            prefill_ms=round(end.prefill * 1000, 1),
            decode_ms=round(end.decode * 1000, 1),
        )

    def _seconds(self) -> float:
        return time.monotonic() - self.begin


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work``, or give it up and raise :class:`ClientDisconnect` when the client goes."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
