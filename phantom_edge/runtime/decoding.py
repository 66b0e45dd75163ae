"""The one loop that decodes, over any backend: a prompt in chunks, then one token at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phantom_edge.bundle.backend import Backend
from phantom_edge.runtime.sampling import Choose, Floats, greedy

NO_LOGITS: Final[Floats] = np.empty(0, np.float32)
"""Of an empty cache; enough where the first token is forced."""


class Choice(NamedTuple):
    """A token, the logits [vocab] that it was chosen from, and the seconds from its predecessor to it."""

    token: int
    logits: Floats
    seconds: float


def encode_tiles(backend: Backend, pixels: Floats) -> Floats:
    """Tiles [T, 3, S, S] of RGB in 0..1 to the image's tokens [T * N, hidden]."""
    tokens = np.asarray(backend.encode_image(pixels))  # [T, N, hidden]
    return tokens.reshape(-1, tokens.shape[-1])


def embed(
    backend: Backend, ids: Sequence[int], image: Floats | None = None, image_id: int | None = None
) -> Iterator[Floats]:
    """Embeddings [1, S, hidden] of ``ids``, chunk by chunk.

    Each ``image_id`` among them takes the next row of ``image`` [N, hidden].
    """
    taken = 0
    for start in range(0, len(ids), backend.chunk):
        part = np.array([ids[start : start + backend.chunk]], dtype=np.int64)
        embeddings, places = backend.embed(part), part[0] == image_id
        if image is not None and places.any():
            embeddings, count = np.array(embeddings, dtype=np.float32), int(places.sum())
            embeddings[0, places] = image[taken : taken + count]
            taken += count
        yield embeddings


def prefill(backend: Backend, cache: Any, chunks: Iterable[Floats]) -> Floats:
    """Continue ``cache`` with embeddings, chunk by chunk: logits [vocab] of the last position."""
    logits = NO_LOGITS
    for embeddings in chunks:
        logits = backend.decode(embeddings, cache)
    return logits


def append(backend: Backend, cache: Any, token: int) -> Floats:
    """Continue ``cache`` with one token: logits [vocab]."""
    return backend.decode(backend.embed(np.array([[token]], dtype=np.int64)), cache)


def generate(
    backend: Backend,
    cache: Any,
    logits: Floats,
    choose: Choose = greedy,
    now: Callable[[], float] = time.perf_counter,
) -> Iterator[Choice]:
    """Choose from ``logits``, append to ``cache``, and so on without end.

    A token is appended when the next one is taken, so that the last one never is.
    """
    start = now()
    while True:
        token = choose(logits)
        yield Choice(token, logits, now() - start)
        start = now()
        logits = append(backend, cache, token)


def forced(tokens: Iterable[int]) -> Choose:
    """Chooses ``tokens`` one after the other, whatever the logits, and greedily after the last."""
    rest = iter(tokens)

    def choose(logits: NDArray[np.floating]) -> int:
        token = next(rest, None)
        return greedy(logits) if token is None else token

    return choose


def rewind(cache: Any, length: int) -> None:
    """Let a cache forget all but its first ``length`` positions.

    Every backend writes where ``length`` points and attends to nothing behind it. The original's cache grows
    instead, and is cut.
    """
    cache.length = length
    for layer in getattr(cache, "layers", ()):
        layer.k, layer.v = layer.k[:, :length], layer.v[:, :length]  # [1, N, Hkv, D]
