"""Core AI assets under a session: the CPU runtime of Apple's ``coreai-core``, on Linux and macOS alike."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from phantom_edge.bundle.backend import check_cache, check_tiles, end_of_call, front, refill, running
from phantom_edge.errors import InputError
from phantom_edge.export.base import VISION, vision_graph
from phantom_edge.system.native import quiet_native
from phantom_edge.system.reading import reading

MAIN: Final = "main"
Result = TypeVar("Result")


@dataclass
class CoreaiCache:
    """One sequence: the states by name and its length in tokens."""

    states: dict[str, Any]
    length: int = 0


class CoreaiBackend:
    """The assets in ``folder`` behind the :class:`~phantom_edge.bundle.backend.Backend` calls.

    A call that is shorter than ``prefill`` is filled up with its last embedding at its last position; where
    the whole length would run past the context, its tokens go through ``decode`` one by one. Any number of
    caches may be alive. ``tile_size`` is the size whose vision encoder is loaded at once, where there are
    several; others follow with their first tile.

    Raises:
        InputError: no ``coreai-core``, an asset is missing or damaged, or not exported for ``context`` and
            ``chunk``.
    """

    def __init__(self, folder: Path, *, context: int, chunk: int, tile_size: int | None = None):
        from phantom_edge.export.coreai import file

        self.context, self.chunk, self.name = context, chunk, "coreai (cpu)"
        self.folder = Path(folder)
        self._loop = _Loop()
        functions = {"token_embedding": [MAIN], "text_decoder": ["prefill", "decode"]}
        loaded = {
            graph: self._loop.load(Path(folder) / file(graph), names) for graph, names in functions.items()
        }
        self._embedding = loaded["token_embedding"][MAIN]
        self._visions: dict[str, Any] = {}
        self._vision_asset = Path(folder) / file(VISION)
        self._vision_names = self._loop.function_names(self._vision_asset)
        self._vision(tile_size)
        self._prefill, self._decode = loaded["text_decoder"]["prefill"], loaded["text_decoder"]["decode"]
        described = self._prefill.desc
        self._states = {n: tuple(described.state_descriptor(n).shape) for n in described.state_names}
        check_cache(Path(folder), sum(4 * prod(shape) for shape in self._states.values()))
        lengths = {shape[2] for shape in self._states.values() if len(shape) == 4}
        steps = tuple(described.input_descriptor("position_ids").shape)
        if lengths != {context} or steps != (chunk,):
            raise InputError(
                f"{folder}: exported for {sorted(lengths)} tokens of context, not {context}, or {steps} at "
                "once, not "
                f"{chunk}; export again"
            )

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time."""
        vision = self._vision(pixels.shape[-1])
        check_tiles(pixels, tuple(vision.desc.input_descriptor("pixel_values").shape))
        tiles = pixels.astype(np.float32)
        return np.concatenate([self._call(vision, "image_features", pixel_values=t[None]) for t in tiles])

    def _vision(self, tile_size: int | None) -> Any:
        """The function for tiles of that side, or the default one; loaded at its first use."""
        further = None if tile_size is None else vision_graph(tile_size)
        name = further if further in self._vision_names else MAIN
        if name not in self._visions:
            self._visions |= self._loop.load(self._vision_asset, [name])
        return self._visions[name]

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]."""
        parts = np.split(np.asarray(ids, dtype=np.int32), range(self.chunk, ids.shape[1], self.chunk), axis=1)
        return np.concatenate(
            [self._call(self._embedding, "inputs_embeds", input_ids=p) for p in parts], axis=1
        )

    def make_cache(self) -> CoreaiCache:
        """An empty cache; its memory is taken here."""
        return self._over(self._zeros())

    def snapshot(self, cache: CoreaiCache) -> list[np.ndarray]:
        """Copies of what is filled of each state, [1, kv_heads, length, width]."""
        return [front(state.numpy(), cache.length).copy() for state in cache.states.values()]

    def restore(self, arrays: Sequence[np.ndarray]) -> CoreaiCache:
        """A new cache with the content of a snapshot. Raises :class:`InputError` for other arrays."""
        states = self._zeros()
        length = refill([*states.values()], arrays)
        cache = self._over(states)
        cache.length = length
        return cache

    def _zeros(self) -> dict[str, np.ndarray]:
        return {name: np.zeros(shape, np.float32) for name, shape in self._states.items()}

    def _over(self, states: dict[str, np.ndarray]) -> CoreaiCache:
        from coreai.runtime import NDArray

        return CoreaiCache({name: NDArray(state) for name, state in states.items()})

    def decode(self, embeds: np.ndarray, cache: CoreaiCache) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position.

        Raises :class:`InputError` for more than ``chunk`` tokens or more than the context holds.
        """
        steps, start = embeds.shape[1], cache.length
        end = end_of_call(self, steps, start)
        embeds = np.ascontiguousarray(embeds, np.float32)
        if steps == 1 or start + self.chunk > self.context:
            for n in range(steps):
                logits = self._step(self._decode, embeds[:, n : n + 1], np.array([start + n]), cache)
        else:
            rows = np.minimum(np.arange(self.chunk), steps - 1)
            logits = self._step(self._prefill, embeds[:, rows], start + rows, cache)
        cache.length = end
        return np.asarray(logits[0, -1])

    def _step(
        self, function: Any, embeds: np.ndarray, positions: np.ndarray, cache: CoreaiCache
    ) -> np.ndarray:
        inputs = {"inputs_embeds": embeds, "position_ids": positions.astype(np.int32)}
        return self._call(function, "logits", cache.states, **inputs)

    def _call(self, function: Any, output: str, states: Any = None, **inputs: np.ndarray) -> np.ndarray:
        from coreai.runtime import NDArray

        arrays = {name: NDArray(np.ascontiguousarray(array)) for name, array in inputs.items()}
        with running(self.folder):
            return np.array(self._loop.run(function(arrays, states))[output].numpy())


class _Loop:
    """An event loop on a thread of its own, since Core AI's calls are coroutines and a session's are not."""

    def __init__(self) -> None:
        self._loop, self._stack = asyncio.new_event_loop(), AsyncExitStack()
        thread = threading.Thread(target=self._loop.run_forever, name="phantom-edge-coreai", daemon=True)
        thread.start()
        weakref.finalize(self, _close, self._loop, self._stack, thread)

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def function_names(self, path: Path) -> list[str]:
        """Names of an asset's functions. Raises :class:`InputError`."""
        from phantom_edge.export.coreai.toolkit import open_asset

        with reading(path, "export it again", "Core AI cannot load it"):
            return [str(name) for name in open_asset(path).summary().function_names]

    def load(self, path: Path, names: list[str]) -> dict[str, Any]:
        """The functions of an asset, compiled for this machine. Raises :class:`InputError`."""
        from phantom_edge.export.coreai.toolkit import open_asset

        asset = open_asset(path)

        async def enter() -> dict[str, Any]:
            model = await self._stack.enter_async_context(asset.executable())
            with quiet_native():  # the runtime announces each function
                return {name: model.load_function(name) for name in names}

        with reading(path, "export it again", "Core AI cannot load it"):
            return self.run(enter())


def _close(loop: asyncio.AbstractEventLoop, stack: AsyncExitStack, thread: threading.Thread) -> None:
    async def end() -> None:
        await stack.aclose()  # the compiled copies go with it
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
    if threading.current_thread() is not thread:  # the last reference may go there
        thread.join(timeout=10)
