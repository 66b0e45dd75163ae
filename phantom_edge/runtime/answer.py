"""What an answer consists of: its parts as they stream, and what it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phantom_edge.errors import CheckError
from phantom_edge.runtime.decoding import Choice
from phantom_edge.runtime.sampling import Choose, Floats


class Piece(NamedTuple):
    """A part of an answer: its text, and the tokens that it came from with the logits behind each.

    Text that may still change (half a character, the beginning of a stop string) comes with a later piece,
    and its tokens with it. Joined, the pieces are the answer and all of its tokens.
    """

    text: str
    tokens: tuple[Choice, ...] = ()


@dataclass
class Timing:
    """Seconds and counts of one answer; it ended by ``stop``: ``end``, ``length``, ``context``, ``stop``.

    ``picture`` says where a picture cache knew the picture from: ``memory`` or ``disk``; ``vision`` is then
    the time to look it up. ``confidence`` is the probability that the model gave to the answer as it is: see
    :class:`.Confidence`. It is None until the answer has ended by ``end``, and for more than twelve tokens.
    """

    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    stop: str = ""
    picture: str = ""
    confidence: float | None = None

    @property
    def first_token(self) -> float:
        """Time to the first token."""
        return self.vision + self.prefill


def finite(choose: Choose) -> Choose:
    """The same choice, but none from logits with NaN or infinity, of which any token could come."""

    def checked(logits: Floats) -> int:
        check_finite(logits)
        return choose(logits)

    return checked


def check_finite(logits: Floats) -> None:
    """Raise :class:`CheckError` for logits with NaN or infinity."""
    if not np.isfinite(logits).all():
        raise CheckError(
            "the model's logits are not finite, so that no token can be chosen: its weights are broken, "
            "or too large for this runtime's number type; `phantom-edge verify` tells which"
        )


def until(stops: tuple[str, ...], pieces: Iterable[Piece], timing: Timing) -> Iterator[Piece]:
    """Pass pieces on up to the first stop string, keeping back what could be its beginning.

    Without the stop string's text, but with the tokens that it is made of.
    """
    text = ""
    tokens: list[Choice] = []
    for piece in pieces:
        text += piece.text
        tokens += piece.tokens
        end = min((text.find(stop) for stop in stops if stop in text), default=-1)
        if end >= 0:
            timing.stop, timing.confidence = "stop", None
            yield Piece(text[:end], tuple(tokens))
            return
        kept = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        ready, text = text[: len(text) - kept], text[len(text) - kept :]
        if ready:
            yield Piece(ready, tuple(tokens))
            tokens = []
    if text or tokens:
        yield Piece(text, tuple(tokens))
