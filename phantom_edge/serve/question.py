"""What a worker is asked and what it says, in the messages of the pipe between it and the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from phantom_edge.runtime.frames import Reply

CRASHED: Final = "crashed"
"""The kind of a failure after which the worker is gone."""


@dataclass(frozen=True)
class Question:
    """One request. ``history`` are earlier questions with their answers; ``picture`` is an encoded file.

    ``top_logprobs`` None wants no probabilities, 0 those of the chosen tokens alone. ``form`` is the API's
    ``response_format`` where it says more than text.
    """

    text: str
    history: tuple[tuple[str, str], ...] = ()
    picture: bytes = b""
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int | None = None
    form: dict[str, Any] | None = None

    def arrays(self) -> list[np.ndarray]:
        """As the arrays of a message: a text may be longer than a message's head."""
        facts = {name: value for name, value in asdict(self).items() if name != "picture"}
        data = json.dumps(facts).encode()
        return [np.frombuffer(data, np.uint8), np.frombuffer(self.picture, np.uint8)]

    @classmethod
    def of_arrays(cls, arrays: list[np.ndarray]) -> Question:
        """Back from :meth:`arrays`."""
        text, picture = (array.tobytes() for array in arrays)
        facts = json.loads(text)
        history = tuple((question, answer) for question, answer in facts.pop("history"))
        return cls(history=history, picture=picture, stop=tuple(facts.pop("stop")), **facts)


@dataclass(frozen=True)
class Part:
    """A part of the answer; ``logprobs`` of its tokens, as the API has them, where they were wanted."""

    text: str
    logprobs: list[dict[str, Any]]


@dataclass(frozen=True)
class End:
    """The answer is whole: why it ended, and what it took.

    ``picture`` says where the picture was known from, ``""`` where it was not.
    """

    stop: str
    prompt_tokens: int
    new_tokens: int
    image_tokens: int
    picture: str = ""
    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True)
class Failed:
    """There is no answer, or no more of it. ``kind`` says whose fault it is."""

    kind: str
    message: str


Event = Part | End | Failed
_KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in (Part, End, Failed)}


def to_message(event: Event) -> dict[str, Any]:
    """The head of a message that says it."""
    return {"event": type(event).__name__, **vars(event)}


def of_message(reply: Reply) -> Event:
    """Back from :func:`to_message`."""
    head = dict(reply[0])
    event: Event = _KINDS[head.pop("event")](**head)
    return event
