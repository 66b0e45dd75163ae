"""One runtime under a session: three calls over numpy arrays, the same for every format."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from phantom_edge.errors import InputError


class Backend(Protocol):
    """Runs the three graphs of one artifact. Arrays at this boundary are float32 and int64, whatever is
    inside.

    ``context`` is the cache's length in tokens, ``chunk`` the most tokens that one :meth:`decode` takes. A
    cache is made by :meth:`make_cache`; its ``length`` is the number of tokens held. Backends whose runtime
    keeps the cache inside the loaded program hold one sequence at a time: making a new cache ends the earlier
    one.
    """

    name: str
    context: int
    chunk: int

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden]."""

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]."""

    def make_cache(self) -> Any:
        """An empty cache with an attribute ``length``."""

    def decode(self, embeds: np.ndarray, cache: Any) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden], S <= chunk: logits [vocab] of the last
        position.
        """


def end_of_call(backend: Backend, steps: int, held: int) -> int:
    """Positions held after a call with ``steps`` tokens. Raises :class:`InputError` when it is no call to
    make.
    """
    if not 0 < steps <= backend.chunk:
        raise InputError(f"one decoder call takes 1 to {backend.chunk} tokens, not {steps}")
    if held + steps > backend.context:
        raise InputError(f"{held + steps} tokens do not fit a context of {backend.context}; raise --context")
    return held + steps
