"""A picture cache as one session uses it: what a picture's key is made of, how a context begins with it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

import phantom_edge
from phantom_edge.bundle.backend import Backend, Snapshots
from phantom_edge.errors import InputError
from phantom_edge.runtime import decoding
from phantom_edge.runtime.answer import Timing
from phantom_edge.runtime.pictures import PictureCache, PictureState
from phantom_edge.runtime.sampling import Floats
from phantom_edge.versions import installed, runtime_version

SCHEMA: Final = 1
"""Of what is kept; another one makes every key another."""
Encode = Callable[[Floats], Floats]


class KnownPictures:
    """``store`` for one model in one runtime. Its numbers follow from ``model``, a digest, and ``options``.

    The prompt is always cut where the picture ends, whether it is known or not: a runtime may keep one range
    of activations per call, and so an answer does not depend on what was seen before.
    """

    def __init__(
        self, store: PictureCache, backend: Backend, model: str, options: Mapping[str, Any] | None = None
    ):
        self.store, self._backend = store, backend
        facts = {
            "schema": SCHEMA,
            "model": model,
            "runtime": backend.name,
            # Core ML's interpreter is this package, and computes in torch.
            "version": runtime_version(backend.name) or installed("torch"),
            "phantom_edge": phantom_edge.__version__,
            "machine": (sys.platform, platform.machine()),
            "context": backend.context,
            "chunk": backend.chunk,
            "options": {name: str(value) for name, value in (options or {}).items()},
        }
        self._facts = json.dumps(facts, sort_keys=True)

    def key(self, pixels: Floats, head: Sequence[int]) -> str:
        """SHA-256 over the model, the runtime, tiles [T, 3, S, S] and the ids up to the picture's end."""
        about = {"tiles": pixels.shape, "ids": [int(index) for index in head]}
        digest = hashlib.sha256(f"{self._facts}\n{json.dumps(about)}\n".encode())
        digest.update(np.ascontiguousarray(pixels, dtype=np.float32).data)
        return digest.hexdigest()

    def begin(
        self, pixels: Floats, head: Sequence[int], image_id: int, encode: Encode, timing: Timing
    ) -> Any:
        """A new cache that holds ``head``, the ids of a prompt up to its picture's end.

        What is not known is computed and kept: image tokens by ``encode``, and what they leave in the cache.
        Adds to ``timing``.
        """
        clock, key = time.perf_counter(), self.key(pixels, head)
        cache, known = self._known(key, head, image_id, timing)
        tokens = encode(pixels) if known is None else known
        timing.vision += time.perf_counter() - clock
        if cache is None:
            clock = time.perf_counter()
            cache = self._backend.make_cache()
            decoding.prefill(self._backend, cache, decoding.embed(self._backend, head, tokens, image_id))
            if known is None:
                self.store.put(key, PictureState(tokens, self._snapshot(cache)))
            timing.prefill += time.perf_counter() - clock
        return cache

    def _known(
        self, key: str, head: Sequence[int], image_id: int, timing: Timing
    ) -> tuple[Any, Floats | None]:
        """A cache that holds ``head``, or None where none was kept, and the image tokens, None if unknown."""
        known = self.store.get(key)
        if known is None:
            return None, None
        state, source = known
        cache = self._restored(state, len(head))
        if cache is None and (state.cache or not self._fits(state.tokens, head, image_id)):
            self.store.remove(key)  # nothing that was kept here
            return None, None
        timing.picture = source
        return cache, state.tokens

    def _snapshot(self, cache: Any) -> tuple[np.ndarray, ...]:
        return tuple(self._backend.snapshot(cache)) if isinstance(self._backend, Snapshots) else ()

    def _restored(self, state: PictureState, length: int) -> Any:
        if not state.cache or not isinstance(self._backend, Snapshots):
            return None
        try:
            cache = self._backend.restore(state.cache)
        except InputError:
            return None
        return cache if cache.length == length else None

    def _fits(self, tokens: Floats, head: Sequence[int], image_id: int) -> bool:
        """Whether these can be the head's image tokens."""
        width = self._backend.embed(np.array([head[:1]], dtype=np.int64)).shape[-1]
        return tokens.dtype == np.float32 and tokens.shape == (list(head).count(image_id), width)
