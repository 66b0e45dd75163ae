"""Probabilities of an answer's tokens, as the API writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from phantom_edge.runtime.decoding import Choice
from phantom_edge.text.tokenizer import Tokenizer

LEAST: Final = -9999.0
"""What the API writes for a token that cannot be."""


def logprobs(choices: Iterable[Choice], tokenizer: Tokenizer, top: int) -> list[dict[str, Any]]:
    """Of each token the logarithm of its probability under the model, and of the ``top`` likeliest there.

    By the model's own softmax, whatever the temperature.
    """
    return [_of(choice, tokenizer, top) for choice in choices]


def _of(choice: Choice, tokenizer: Tokenizer, top: int) -> dict[str, Any]:
    logits = choice.logits.astype(np.float64)
    highest = logits.max()
    total = highest + np.log(np.exp(logits - highest).sum())
    best = np.argpartition(-logits, min(top, len(logits) - 1))[:top] if top else np.empty(0, int)
    ranked = best[np.argsort(-logits[best], kind="stable")]
    entries = [_entry(int(token), float(logits[token] - total), tokenizer) for token in ranked]
    return {**_entry(choice.token, float(logits[choice.token] - total), tokenizer), "top_logprobs": entries}


def _entry(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    data = tokenizer.bytes_of(token)
    return {"token": data.decode(errors="replace"), "logprob": max(logprob, LEAST), "bytes": list(data)}
