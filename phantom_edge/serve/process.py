"""A model's process as the event loop sees it: loaded, asked one question at a time, cancelled, ended.

A thread of its own speaks with the process, so that nothing that the process does can hold up the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from phantom_edge.errors import PhantomEdgeError
from phantom_edge.runtime.worker_process import EndedError, WorkerProcess, worker_process
from phantom_edge.serve.question import CRASHED, Event, Failed, Part, Question, of_message
from phantom_edge.system.partials import temporary_folder

COMMAND: Final = (sys.executable, "-P", "-m", "phantom_edge.serve.worker")
KEY_VARIABLE: Final = "PHANTOM_EDGE_API_KEY"


@dataclass
class Answer:
    """What comes of one question; the last event is an :class:`End` or :class:`Failed`."""

    number: int
    question: Question
    _events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: Event) -> None:
        """Add an event; called in the event loop."""
        self._events.put_nowait(event)
        if not isinstance(event, Part):
            self.over.set()

    @property
    def waiting(self) -> bool:
        """Whether something has come that was not taken."""
        return not self._events.empty()

    async def next(self) -> list[Event]:
        """What has come since, at least one event: a server that is behind catches up."""
        events = [await self._events.get()]
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return events


class ModelProcess:
    """A running worker. Made in an event loop, whose coroutines alone may use it.

    ``ready`` has the facts that the worker gives when it is loaded, or the error that it could not be.
    """

    def __init__(self, name: str, facts: dict[str, Any]):
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(lambda done: done.cancelled() or done.exception())  # else it is logged
        self.gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._name, self._facts = name, facts
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._last = Answer(0, Question(""))
        self._last.over.set()
        self._process: WorkerProcess | None = None
        self._sent = -1  # the last question that is on its way in full
        self._cancelled = -1
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name=f"model {name}", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of its process, once there is one."""
        return None if self._process is None else self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it is loaded or loading, and may be asked."""
        return not self.gone.is_set() and (self._process is None or self._process.alive)

    def ask(self, question: Question) -> Answer:
        """Ask it; the answer before must be over."""
        answer = self._last = Answer(self._last.number + 1, question)
        self._answers.put(answer)
        return answer

    async def cancel(self, answer: Answer, patience: float) -> None:
        """End an answer at its next token; a process that does not within ``patience`` seconds is killed."""
        with self._lock:
            self._cancelled = answer.number
            sent = self._sent == answer.number
        if sent:  # else it is cancelled by the thread that sends it
            await asyncio.to_thread(self._send_cancel, answer.number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await answer.over.wait()
        if not answer.over.is_set():
            self.kill()
            await answer.over.wait()

    def kill(self) -> None:
        """End the process at once; an answer under way then ends as a failure."""
        if self._process is not None:
            self._process.kill()

    async def end(self) -> None:
        """End the process, and with it what it is doing; returns when it is gone."""
        if not self.ready.done() or not self._last.over.is_set():
            self.kill()
        self._answers.put(None)
        await self.gone.wait()

    # --- in the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        variables = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        try:
            with (
                temporary_folder() as scratch,
                worker_process(COMMAND, scratch, f"the process of {self._name}", variables) as process,
            ):
                self._process = process
                facts, _ = process.call("open", **self._facts)
                self._tell(self._loaded, facts)
                while (answer := self._answers.get()) is not None:
                    self._ask(process, answer)
        except EndedError:
            pass  # who asked was told
        except (PhantomEdgeError, OSError) as error:
            self._tell(self._refused, error)
        finally:
            self._tell(self._end)

    def _ask(self, process: WorkerProcess, answer: Answer) -> None:
        try:
            process.send("ask", answer.question.arrays(), id=answer.number)
            with self._lock:
                self._sent = answer.number
                cancelled = self._cancelled == answer.number
            if cancelled:
                self._send_cancel(answer.number)
            while True:
                event = of_message(process.reply())
                self._tell(answer.take, event)
                if not isinstance(event, Part):
                    return
        except EndedError as error:
            self._tell(answer.take, Failed(CRASHED, f"{error}; ask again"))
            raise

    def _send_cancel(self, number: int) -> None:
        with contextlib.suppress(EndedError):
            if self._process is not None:
                self._process.send("cancel", id=number)

    def _tell(self, call: Callable[..., None], *values: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(call, *values)

    # --- in the event loop ----------------------------------------------------------------------------------

    def _loaded(self, facts: dict[str, Any]) -> None:
        if not self.ready.done():
            self.ready.set_result(facts)

    def _refused(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)

    def _end(self) -> None:
        self.gone.set()
        if not self.ready.done():
            self.ready.set_exception(PhantomEdgeError(f"the process of {self._name} ended while it loaded"))
        while not self._answers.empty():  # asked in the moment in which it ended
            if (answer := self._answers.get()) is not None:
                answer.take(Failed(CRASHED, f"the process of {self._name} ended; ask again"))
