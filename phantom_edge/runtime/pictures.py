"""A picture is known again: its image tokens, and the KV cache that the prompt's head left, by content.

What is kept is what would be computed: bit for bit the same tokens and cache, so that no answer changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from phantom_edge.errors import InputError
from phantom_edge.runtime.picture_folder import PictureFolder
from phantom_edge.runtime.sampling import Floats

MEMORY_BYTES: Final = 256 << 20
DISK_BYTES: Final = 4 << 30
TOKENS: Final = "tokens"
IN_MEMORY, ON_DISK = "memory", "disk"


@dataclass(frozen=True)
class PictureState:
    """What a model has computed of a picture.

    ``tokens`` are its image tokens [N, hidden]. ``cache`` is the content of a KV cache after the prompt up to
    the end of the picture, as the backend's ``snapshot`` gives it; empty where the backend gives none.
    """

    tokens: Floats
    cache: tuple[np.ndarray, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return int(self.tokens.nbytes) + sum(array.nbytes for array in self.cache)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name; those of the cache in their order."""
        return {TOKENS: self.tokens, **{f"cache.{n:04}": array for n, array in enumerate(self.cache)}}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> PictureState | None:
        """What :meth:`arrays` gave; None for other names."""
        tokens, *cache = (arrays[name] for name in sorted(arrays, key=lambda name: (name != TOKENS, name)))
        state = cls(tokens, tuple(cache))
        return state if state.arrays().keys() == arrays.keys() else None


class PictureCache:
    """Pictures that sessions have seen: in memory and, with a ``folder``, also on disk.

    Both are bounded in bytes, and what was not used longest goes first; a bound of 0 keeps nothing there. One
    cache can serve several sessions, of different models too: a picture is known to the model, runtime, tile
    size and prompt that it was computed with, and to no other. Several processes may share a folder. It holds
    what can be computed again, and what can be learned of pictures from their image tokens, so that it is
    this user's alone; it can be removed at any time.

    Raises :class:`InputError` for a bound below zero, or a folder that holds other things.

    >>> cache = pe.PictureCache(folder="seen")
    >>> session = pe.Session.open("nano-desktop", pictures=cache)
    >>> chats = [session.chat("photo.jpg") for _ in range(2)]
    >>> ["".join(chat.ask("How many objects are there?")) for chat in chats]
    ['2', '2']
    >>> [chat.timing.picture for chat in chats]
    ['', 'memory']
    """

    def __init__(self, memory: int = MEMORY_BYTES, folder: str | Path | None = None, disk: int = DISK_BYTES):
        for name, bound in (("memory", memory), ("disk", disk)):
            if bound < 0:
                raise InputError(
                    f"a picture cache with {name}={bound}: give a number of bytes, 0 for nothing"
                )
        self.memory = memory
        self._folder = None if folder is None else PictureFolder(folder, disk)
        self._states: OrderedDict[str, PictureState] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: str) -> tuple[PictureState, str] | None:
        """What is known by a key, and whether from ``memory`` or ``disk``; None for an unknown one."""
        with self._lock:
            if key in self._states:
                self._states.move_to_end(key)
                return self._states[key], IN_MEMORY
        arrays = self._folder.read(key) if self._folder is not None else None
        state = PictureState.of(arrays) if arrays else None
        if state is None:
            return None
        self._remember(key, state)
        return state, ON_DISK

    def put(self, key: str, state: PictureState) -> None:
        """Keep a state, whose arrays nobody may change from now on."""
        self._remember(key, state)
        if self._folder is not None:
            self._folder.write(key, state.arrays())

    def remove(self, key: str) -> None:
        """Forget one picture."""
        with self._lock:
            self._states.pop(key, None)
        if self._folder is not None:
            self._folder.remove(key)

    def clear(self) -> None:
        """Forget all pictures, of every model."""
        with self._lock:
            self._states.clear()
        if self._folder is not None:
            self._folder.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of what is in memory."""
        with self._lock:
            return sum(state.nbytes for state in self._states.values())

    def _remember(self, key: str, state: PictureState) -> None:
        if state.nbytes > self.memory:
            return
        with self._lock:
            self._states[key] = state
            self._states.move_to_end(key)
            while self.nbytes > self.memory:
                self._states.popitem(last=False)
