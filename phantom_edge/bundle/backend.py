"""One runtime under a session: three calls over numpy arrays, the same for every format."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from phantom_edge.errors import InputError, NoRoomError, PhantomEdgeError
from phantom_edge.system.packages import missing
from phantom_edge.system.reading import reason

MAX_CACHE_BYTES: Final = 64 << 30
MODES: Final = ("stock", "lifted")
"""What a backend runs: the files as they are, or the same weights with activations that are not rounded."""


class Backend(Protocol):
    """Runs the three graphs of one artifact; arrays that go in or come out are float32 and int64.

    ``context`` is the cache's length in tokens, ``chunk`` the most tokens that one :meth:`decode` takes. A
    cache is made by :meth:`make_cache`; its ``length`` is the number of tokens in it. A backend whose runtime
    keeps the cache inside the loaded program has one sequence at a time: a new cache ends the earlier.
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
        """Continue ``cache`` with embeddings [1, S, hidden], S <= chunk: logits [vocab] of the last one."""


@runtime_checkable
class Trimmable(Protocol):
    """A backend that can do without its vision encoder between pictures."""

    def trim(self) -> None:
        """Give the vision encoder's memory back; the next picture loads it again."""


@runtime_checkable
class Snapshots(Protocol):
    """A backend that can read out what is in a cache, and begin another cache with it."""

    def snapshot(self, cache: Any) -> list[np.ndarray]:
        """Copies of the filled part of ``cache``, in an order and in types of the backend's own."""

    def restore(self, arrays: Sequence[np.ndarray]) -> Any:
        """A new cache with what a :meth:`snapshot` of this artifact gave, which is only read.

        Raises :class:`InputError` for arrays of another number, type or shape.
        """


def front(buffer: np.ndarray, length: int, axis: int = 2) -> np.ndarray:
    """The first ``length`` positions of a cache's ``buffer``, whose positions lie along ``axis``."""
    return buffer[(slice(None),) * axis + (slice(length),)]


def refill(buffers: Sequence[np.ndarray], arrays: Sequence[np.ndarray], axis: int = 2) -> int:
    """Copy a snapshot's ``arrays`` to the front of a new cache's ``buffers``; gives their length in tokens.

    Raises :class:`InputError` for arrays of another number, type or shape.

    >>> buffer = np.zeros((1, 2, 8, 4), np.float32)
    >>> refill([buffer], [np.ones((1, 2, 3, 4), np.float32)]), buffer.sum()
    (3, np.float32(24.0))
    """
    lengths = {array.shape[axis] for array in arrays if array.ndim > axis}
    length = lengths.pop() if len(lengths) == 1 else 0
    fronts = [front(buffer, length, axis) for buffer in buffers]
    kinds, expected = ([(part.shape, part.dtype) for part in parts] for parts in (arrays, fronts))
    if not length or kinds != expected:
        raise InputError("the stored KV cache is none of this model's in this runtime; compute it again")
    for part, array in zip(fronts, arrays, strict=True):
        part[...] = array
    return length


def name_in_mode(runtime: str, mode: str) -> str:
    """What a report calls a ``runtime`` in ``mode``. Raises :class:`InputError` for an unknown mode.

    >>> name_in_mode("executorch", "lifted")
    'executorch (lifted)'
    """
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r} of {runtime}; there are {', '.join(MODES)}")
    return runtime if mode == "stock" else f"{runtime} ({mode})"


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Whatever a runtime raises in the block is the artifact's fault: an :class:`InputError`.

    >>> with running(Path("nano")):
    ...     raise RuntimeError("Reshape_7: bad shape")
    Traceback (most recent call last):
    phantom_edge.errors.InputError: nano: the artifact cannot be run (Reshape_7: bad shape); export it again
    """
    try:
        yield
    except PhantomEdgeError:
        raise
    except Exception as error:  # runtimes' exceptions share no base class
        if lacking := missing(error):
            raise lacking from error
        kind = NoRoomError if isinstance(error, MemoryError) else InputError
        raise kind(f"{folder}: the artifact cannot be run ({reason(error)}); export it again") from error


def check_cache(path: Path, size: int) -> None:
    """Raise :class:`InputError` for a KV cache of ``size`` bytes that no machine has, or not this one."""
    most = MAX_CACHE_BYTES
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        most = min(most, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    if size > most:
        what = f"its cache takes {size >> 30} GiB, and {most >> 30} GiB can be had here"
        raise InputError(f"{path}: {what}; export again with a smaller --context")


def end_of_call(backend: Backend, steps: int, length: int) -> int:
    """The cache's length after a call with ``steps`` tokens. Raises :class:`InputError` for a wrong call."""
    if not 0 < steps <= backend.chunk:
        raise InputError(f"one decoder call takes 1 to {backend.chunk} tokens, not {steps}")
    end = length + steps
    if end > backend.context:
        raise InputError(f"{end} tokens do not fit a context of {backend.context}; raise --context")
    return end


def check_tiles(pixels: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise :class:`InputError` unless ``pixels`` are tiles [T, ...] as a graph of input ``shape`` takes."""
    if pixels.ndim != 4 or pixels.shape[1:] != shape[1:] or not len(pixels):
        raise InputError(f"tiles must be [T, {', '.join(map(str, shape[1:]))}], not {list(pixels.shape)}")
