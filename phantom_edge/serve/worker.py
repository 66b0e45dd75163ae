"""The process in which one model answers: ``python -m phantom_edge.serve.worker``, told over a pipe.

It is told to ``open`` its model, then asked one question after the other. What comes meanwhile is read by a
thread, so that a question that nobody waits for any more ends at its next token. It ends with its input.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from phantom_edge.errors import CheckError, ContextError, InputError, PhantomEdgeError, one_line
from phantom_edge.images import load_image
from phantom_edge.runtime import frames
from phantom_edge.runtime.form import Form
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session
from phantom_edge.serve.logprobs import logprobs
from phantom_edge.serve.question import End, Event, Failed, Part, Question, to_message

CANCELLED = "cancelled"
"""How an answer ended that nobody waits for."""


class Requests:
    """The messages of this process's input, in order; ``cancelled`` is the question to give up."""

    def __init__(self) -> None:
        self.cancelled = -1
        self._waiting: queue.SimpleQueue[frames.Reply] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> frames.Reply:
        """Waits for it."""
        return self._waiting.get()

    def _read(self) -> None:
        while True:
            try:
                head, arrays = frames.read(sys.stdin.buffer)
            except EOFError:
                os._exit(0)  # whoever asks is gone
            if head["call"] == "cancel":
                self.cancelled = head["id"]
            else:
                self._waiting.put((head, arrays))


def answer(session: Session, question: Question, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """What is to be said of a question. Raises what a session raises."""
    try:
        image = load_image(io.BytesIO(question.picture), "the picture") if question.picture else None
    except InputError as error:
        yield Failed("picture", str(error))
        return
    try:
        form = form_of(question.form)
    except InputError as error:
        yield Failed("form", str(error))
        return
    chat = session.chat(image, question.history)
    pieces = chat.pieces(
        question.text,
        max_tokens=question.max_tokens,
        stop=question.stop,
        sampling=Sampling(question.temperature, question.top_p, question.seed),
        form=form,
    )
    for piece in pieces:
        if cancelled():
            chat.timing.stop = CANCELLED
            break
        top = question.top_logprobs
        yield Part(piece.text, [] if top is None else logprobs(piece.tokens, session.tokenizer, top))
    t = chat.timing
    image_tokens = 0 if image is None else session.image_tokens(image)
    yield End(
        stop=t.stop,
        prompt_tokens=t.prompt_tokens,
        new_tokens=t.new_tokens,
        image_tokens=image_tokens,
        picture=t.picture,
        vision=t.vision,
        prefill=t.prefill,
        decode=t.decode,
    )


def form_of(given: dict[str, Any] | None) -> Form | None:
    """The form that a ``response_format`` describes. Raises :class:`InputError` for one that is none."""
    match given:
        case None:
            return None
        case {"type": "json_object"}:
            return Form(schema=True)
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return Form(schema=schema)
        case {"type": "choices", "choices": choices}:
            return Form(choices=choices)
        case _:
            return Form(regex=given["regex"])


def opened(facts: dict[str, Any]) -> Session:
    """The session of the model that this process is told to open, which knows pictures again."""
    memory, folder, disk = facts["cache"], facts["cache_folder"], facts["cache_disk"]
    pictures = PictureCache(memory, folder, disk) if memory or folder is not None else None
    return Session.open(facts["model"], pictures=pictures)


def failure(error: Exception) -> Failed:
    """What is said of an error; of one that is not the toolkit's its kind alone, for it may quote a text."""
    if isinstance(error, ContextError):
        return Failed("context", str(error))
    if isinstance(error, InputError):
        return Failed("input", str(error))
    if isinstance(error, CheckError):
        return Failed("check", str(error))
    if isinstance(error, MemoryError):
        return Failed("memory", "the model has run out of memory; ask less, or with a smaller picture")
    return Failed("unexpected", f"unexpected {type(error).__name__} in the model's process")


def main() -> None:
    """Answer until the input ends."""
    requests = Requests()
    with frames.replies() as file:
        head, _ = requests.next()
        try:
            session = opened(head)
        except PhantomEdgeError as error:
            frames.write(file, frames.refusal(error))
            return
        except Exception as error:
            line = one_line(f"unexpected {type(error).__name__}: {error}")
            frames.write(file, {"error": line, "kind": "InputError"})
            return
        frames.write(file, {"context": session.backend.context})
        while True:
            serve(session, requests, file)


def serve(session: Session, requests: Requests, file: BinaryIO) -> None:
    """Answer the next question; whatever goes wrong with it, the process goes on."""
    head, arrays = requests.next()
    number: int = head["id"]
    try:
        for event in answer(session, _question(arrays), lambda: requests.cancelled == number):
            frames.write(file, to_message(event))
    except Exception as error:
        frames.write(file, to_message(failure(error)))


def _question(arrays: list[np.ndarray]) -> Question:
    return Question.of_arrays(arrays)


if __name__ == "__main__":
    main()
