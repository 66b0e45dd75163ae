"""An answer in the API's words: as one object, or as the chunks of a stream."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

from phantom_edge import __version__
from phantom_edge.serve.question import End, Part

FINGERPRINT: Final = f"phantom-edge-{__version__}"
DONE: Final = b"data: [DONE]\n\n"
_REASONS: Final = {"end": "stop", "stop": "stop", "length": "length", "context": "length"}


@dataclass(frozen=True)
class Completion:
    """One answer of ``model``; ``logprobs`` where the tokens' probabilities are part of it."""

    model: str
    logprobs: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, parts: list[Part], end: End) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        text = "".join(part.text for part in parts)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._logprobs([entry for part in parts for entry in part.logprobs]),
            "finish_reason": reason(end),
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage(end)}

    def first(self) -> bytes:
        """The chunk that begins a stream."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None}, None)

    def next(self, part: Part) -> bytes:
        """The chunk of a part."""
        return self._chunk({"content": part.text}, self._logprobs(part.logprobs))

    def last(self, end: End, *, with_usage: bool) -> bytes:
        """The chunks that end a stream."""
        ended = self._chunk({}, None, reason(end))
        if with_usage:
            ended += event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage(end)})
        return ended + DONE

    def _chunk(self, delta: dict[str, Any], logprobs: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _logprobs(self, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
        return {"content": entries, "refusal": None} if self.logprobs else None

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }


def event(value: dict[str, Any]) -> bytes:
    """A value as an event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def reason(end: End) -> str:
    """Why an answer ended: ``stop``, or ``length`` where there was no room for more."""
    return _REASONS[end.stop]


def usage(end: End) -> dict[str, Any]:
    """Tokens of the prompt, the picture's among them, and of the answer; a known picture's are cached."""
    known = end.image_tokens if end.picture else 0
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.new_tokens,
        "total_tokens": end.prompt_tokens + end.new_tokens,
        "prompt_tokens_details": {"image_tokens": end.image_tokens, "cached_tokens": known},
    }
