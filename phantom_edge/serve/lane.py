"""One model's lane: a bounded queue before one process, which is loaded, restarted and given back."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from phantom_edge.errors import PhantomEdgeError
from phantom_edge.serve.api_error import ApiError, busy
from phantom_edge.serve.logs import log
from phantom_edge.serve.metrics import Metrics
from phantom_edge.serve.process import Answer, ModelProcess
from phantom_edge.serve.question import CRASHED, End, Failed, Part, Question
from phantom_edge.system.resident import resident

FIRST_GUESS: Final = 1.0  # seconds of an answer, before there was one
MOST_WAIT: Final = 60  # seconds that a client is told to wait


@dataclass
class Lane:
    """A model's name, what its process is told, and how many requests may wait for it.

    A cancelled answer must end within ``patience`` seconds, else the process is killed and started again.
    ``room`` is awaited before the model is loaded, and after each answer: it may give other models back.
    """

    name: str
    facts: dict[str, Any]
    bound: int
    patience: float
    metrics: Metrics
    room: Callable[[Lane], Awaitable[None]]
    ending: bool = False
    used: float = 0.0
    """When it was last asked; a lane's age."""
    size: int = 0
    """Bytes that its process may be expected to take: those of its files, or the most that it had."""
    context: int | None = None
    knows: str | None = None
    """What the model says of itself."""
    process: ModelProcess | None = None
    _waiting: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self._waiting

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or waits."""
        return self._turn.locked() or self._waiting > 0

    @property
    def state(self) -> str:
        """``unloaded``, ``loading`` or ``loaded``."""
        if self.process is None or not self.process.usable:
            return "unloaded"
        return "loaded" if self.process.ready.done() else "loading"

    @property
    def resident(self) -> int:
        """Bytes that its process has in memory."""
        pid = None if self.process is None else self.process.pid
        return (resident(pid) or 0) if pid else 0

    async def answer(self, question: Question) -> AsyncGenerator[list[Part | End]]:
        """The answer's events as they come, of which the last is its :class:`End`.

        Raises :class:`ApiError`: the queue is full, the model cannot be loaded, or the answer failed.
        """
        await self._take_turn()
        begin, answer, process = time.monotonic(), None, None
        try:
            process = await self._loaded()
            answer = process.ask(question)
            while not answer.over.is_set() or answer.waiting:
                events = await answer.next()
                if said := [event for event in events if not isinstance(event, Failed)]:
                    yield said
                if isinstance(events[-1], Failed):
                    raise refusal(events[-1])
        finally:
            self._background(self._finish(process, answer, begin))

    async def unload(self) -> None:
        """Give the model's memory back; the next request loads it again."""
        process, self.process = self.process, None
        if process is not None:
            log("model", model=self.name, state="unloaded")
            await process.end()

    # --- turns ----------------------------------------------------------------------------------------------

    async def _take_turn(self) -> None:
        if self.busy and self._waiting >= self.bound:
            mean = sum(self._seconds) / len(self._seconds) if self._seconds else FIRST_GUESS
            seconds = min(MOST_WAIT, max(1, math.ceil(mean * (self._waiting + 1))))
            what = f"{self._waiting} requests wait for {self.name}, and no more may"
            raise busy(seconds, f"{what}; ask again in {seconds} s")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        if self.ending:
            self._turn.release()
            raise ApiError(503, "the server is being stopped; ask again when it is back", code="stopping")

    async def _finish(self, process: ModelProcess | None, answer: Answer | None, begin: float) -> None:
        """Let the next request have its turn, once nothing of the last is being computed."""
        try:
            if process is not None and answer is not None and not answer.over.is_set():
                await process.cancel(answer, self.patience)
            self.used = time.monotonic()
            self._seconds.append(self.used - begin)
            if process is not None and process is self.process and not process.usable:
                self._restart()
            await self.room(self)
        finally:
            self._turn.release()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    # --- the process ----------------------------------------------------------------------------------------

    async def _loaded(self) -> ModelProcess:
        """The process, loaded. Raises :class:`ApiError`."""
        if self.process is None or not self.process.usable:
            await self.room(self)
            self._start("loading")
        assert self.process is not None
        process = self.process
        try:
            self.context = (await asyncio.shield(process.ready))["context"]
        except (PhantomEdgeError, OSError) as error:
            self.process = None
            log("model", model=self.name, state="refused")
            what = f"{self.name} cannot be loaded: {error}"
            raise ApiError(503, what, code="model_not_loaded") from None
        return process

    def _restart(self) -> None:
        """Load the model again that was loaded before its process ended."""
        self.metrics.restarts.labels(self.name).inc()
        if not self.ending:
            self._start("restarting")

    def _start(self, state: str) -> None:
        log("model", model=self.name, state=state)
        self.process = ModelProcess(self.name, self.facts)


def refusal(failed: Failed) -> ApiError:
    """What the API says of a failure."""
    match failed.kind:
        case "context":
            return ApiError(400, failed.message, param="messages", code="context_length_exceeded")
        case "picture":
            return ApiError(400, failed.message, param="messages", code="invalid_image")
        case "form":
            return ApiError(400, failed.message, param="response_format", code="invalid_value")
        case "input":
            return ApiError(400, failed.message, param="messages", code="invalid_value")
        case _:
            crashed = failed.kind == CRASHED
            return ApiError(500, failed.message, code="model_crashed" if crashed else "model_failed")
