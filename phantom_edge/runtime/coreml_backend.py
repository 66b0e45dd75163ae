"""A Core ML artifact under a session: Core ML itself on macOS, the MIL interpreter everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np

from phantom_edge.bundle.backend import check_cache, end_of_call, front, refill, running
from phantom_edge.errors import InputError, first_line

if TYPE_CHECKING:
    from phantom_edge.mil import MilModel

GRAPHS: Final = ("vision_encoder", "token_embedding", "text_decoder")
NATIVE: Final = "darwin"  # sys.platform where Core ML is part of the system
MAIN, PREFILL, DECODE = "main", "prefill", "decode"
Functions = Literal["main", "fixed"]


@dataclass
class CoremlCache:
    """One sequence: the runtime's own state and its length in tokens."""

    state: Any
    length: int = 0


class CoremlBackend:
    """The packages in ``folder`` behind the :class:`~phantom_edge.bundle.backend.Backend` calls.

    ``mode`` chooses what runs: ``typed`` is Core ML on macOS 15 or later and elsewhere the interpreter with
    every result rounded to its declared type, as a device would at best; ``lifted`` is the interpreter in
    fp32 on any machine, where only a fault makes a difference. Any number of caches may be alive, each with
    its own state.

    ``functions`` chooses which of the decoder's functions run: ``main`` takes any number of steps; ``fixed``
    are ``prefill`` and ``decode``, as an app uses them. All of them can continue any cache of this backend.
    ``tile_size`` is the size whose vision encoder Core ML loads at once, where there are several.

    Raises:
        InputError: a package is missing, damaged, not this toolkit's, or too small for ``context`` or
            ``chunk``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        context: int,
        chunk: int,
        mode: Literal["typed", "lifted"] = "typed",
        functions: Functions = "main",
        tile_size: int | None = None,
    ):
        from phantom_edge.export.coreml.toolkit import coremltools
        from phantom_edge.mil import MilModel

        coremltools()  # in silence, before the interpreter imports a part of it
        self.folder, self.context, self.chunk = Path(folder), context, chunk
        paths = [Path(folder) / f"{graph}.mlpackage" for graph in GRAPHS]
        interpreted = [MilModel.load(path, mode=mode) for path in paths]
        self.vocabulary = _check_decoder(interpreted[2], paths[2], context, chunk)
        self._states = list(interpreted[2].states())
        self.functions = functions
        if functions == "fixed":
            _check_fixed(interpreted[2], paths[2], chunk)
        native = sys.platform == NATIVE and mode == "typed"
        self.name = "coreml" if native else f"mil-interpreter ({mode})"
        self._vision_functions = interpreted[0].functions
        first = [None if tile_size is None else self._vision_function(tile_size), None, None]
        models: list[_Model] = [*map(_NativeModel, paths, first)] if native else [*interpreted]
        self._vision, self._embedding, self._decoder = models

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time."""
        function = self._vision_function(pixels.shape[-1])
        return np.concatenate(
            [
                self._call(self._vision, "image_features", function=function, pixel_values=tile[None])
                for tile in pixels
            ]
        )

    def _vision_function(self, tile_size: int) -> str | None:
        """The function for tiles of that side; None is the default one."""
        further = f"{GRAPHS[0]}_{tile_size}"
        return further if further in self._vision_functions else None

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]. Raises :class:`InputError` for ids of no vocabulary."""
        ids = np.asarray(ids)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocabulary:
            raise InputError(f"token ids must lie in 0..{self.vocabulary - 1}, not {ids.min()}..{ids.max()}")
        parts = np.split(ids.astype(np.int32), range(self.chunk, ids.shape[1], self.chunk), axis=1)
        return np.concatenate(
            [self._call(self._embedding, "inputs_embeds", input_ids=part) for part in parts], axis=1
        )

    def make_cache(self) -> CoremlCache:
        """An empty cache; its memory is taken here."""
        return CoremlCache(self._decoder.make_state())

    def snapshot(self, cache: CoremlCache) -> list[np.ndarray]:
        """Copies of what is filled of each state, [1, kv_heads, length, width]."""
        return [front(_read(cache.state, name), cache.length).copy() for name in self._states]

    def restore(self, arrays: Sequence[np.ndarray]) -> CoremlCache:
        """A new cache with the content of a snapshot. Raises :class:`InputError` for other arrays."""
        cache = self.make_cache()
        buffers = {name: _read(cache.state, name) for name in self._states}
        cache.length = refill([*buffers.values()], arrays)
        for name, buffer in buffers.items():
            _write(cache.state, name, buffer)
        return cache

    def decode(
        self, embeds: np.ndarray, cache: CoremlCache, function: Literal["main"] | None = None
    ) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position.

        ``function`` has ``main`` run whatever ``functions`` this backend chooses. Raises :class:`InputError`
        for more than ``chunk`` tokens or more than the context holds.
        """
        steps, start = embeds.shape[1], cache.length
        end = end_of_call(self, steps, start)
        if MAIN in (function, self.functions):
            logits = self._step(MAIN, embeds, np.arange(start, end), cache)
        elif steps > 1 and start + self.chunk <= self.context:
            # Filled up with the last embedding at its last position: each computes what the last one does.
            rows = np.minimum(np.arange(self.chunk), steps - 1)
            logits = self._step(PREFILL, embeds[:, rows], start + rows, cache)
        else:  # one token, or a whole chunk would run past the end of the context
            for n in range(steps):
                logits = self._step(DECODE, embeds[:, n : n + 1], np.array([start + n]), cache)
        cache.length = end
        return np.asarray(logits[0, -1])

    def _step(
        self, function: str, embeds: np.ndarray, positions: np.ndarray, cache: CoremlCache
    ) -> np.ndarray:
        inputs = {"inputs_embeds": embeds, "position_ids": positions.astype(np.int32)}
        return self._call(self._decoder, "logits", cache.state, function, **inputs)

    def _call(
        self, model: _Model, output: str, state: Any = None, function: str | None = None, **inputs: np.ndarray
    ) -> np.ndarray:
        # Core ML takes float32 for its float16 inputs and rounds them itself, as the interpreter does.
        arrays = {
            n: a if a.dtype == np.int32 else np.ascontiguousarray(a, np.float32) for n, a in inputs.items()
        }
        with running(self.folder):
            return np.asarray(model.predict(arrays, state, function)[output], dtype=np.float32)


def _read(state: Any, name: str) -> np.ndarray:
    """A copy of a state by its name: of Core ML's own, by a method, or of the interpreter's, by a key."""
    return np.array(state.read_state(name) if hasattr(state, "read_state") else state[name])


def _write(state: Any, name: str, array: np.ndarray) -> None:
    if hasattr(state, "write_state"):
        state.write_state(name, array)
    else:
        state[name] = array


class _Model(Protocol):
    """What :class:`MilModel` and Core ML's own models have in common."""

    def predict(
        self, inputs: dict[str, np.ndarray], state: Any = None, function: str | None = None
    ) -> dict[str, np.ndarray]: ...

    def make_state(self) -> Any: ...


class _NativeModel:
    """One package in Core ML itself, which needs macOS 15; this class has not been run with it.

    Core ML loads a function at a time, each as a model of its own, here at its first call: states are alike
    in all of them, so that one state serves them all.
    """

    def __init__(self, path: Path, function: str | None = None):
        self.path = path
        self._models: dict[str | None, Any] = {}
        self._model(function)

    def make_state(self) -> Any:
        """A KV cache of zeros."""
        try:
            return self._model(None).make_state()
        except Exception as error:
            raise self._failed("make the state of", error) from error

    def predict(
        self, inputs: dict[str, np.ndarray], state: Any = None, function: str | None = None
    ) -> dict[str, np.ndarray]:
        """Outputs of ``function``, the default one if None, by name. ``state`` is updated in place."""
        model = self._model(None if function == MAIN else function)
        try:
            outputs: dict[str, np.ndarray] = model.predict(dict(inputs), state)
        except Exception as error:
            raise self._failed("run", error) from error
        return outputs

    def _model(self, function: str | None) -> Any:
        from phantom_edge.export.coreml.toolkit import coremltools

        if function not in self._models:
            chosen = {} if function is None else {"function_name": function}
            try:
                self._models[function] = coremltools().models.MLModel(str(self.path), **chosen)
            except Exception as error:  # coremltools raises bare exceptions and Core ML's own errors alike
                raise self._failed("load", error) from error
        return self._models[function]

    def _failed(self, what: str, error: Exception) -> InputError:
        reason = first_line(error)
        return InputError(f"{self.path}: Core ML cannot {what} it ({reason}); it needs macOS 15 or later")


def _check_decoder(decoder: MilModel, path: Path, context: int, chunk: int) -> int:
    """The vocabulary size of a decoder that holds ``context`` tokens and takes ``chunk`` at once."""
    states, positions = decoder.states(), decoder.inputs().get("position_ids")
    logits = decoder.outputs().get("logits")
    shapes = [tuple(n for n in state.shape if n is not None) for state in states.values()]
    vocabulary = logits.shape[-1] if logits else None
    if not shapes or positions is None or vocabulary is None or any(len(shape) != 4 for shape in shapes):
        raise InputError(f"{path}: no KV cache, position_ids or logits; not a decoder of this toolkit")
    check_cache(path, sum(4 * prod(shape) for shape in shapes))
    limit = min(shape[2] for shape in shapes)
    if context > limit:
        raise InputError(
            f"{path}: exported for {limit} tokens, not {context}; export again with --context {context}"
        )
    if not positions.accepts((chunk,)):
        raise InputError(f"{path}: takes position_ids {positions}, not {chunk} tokens at once; export again")
    return vocabulary


def _check_fixed(decoder: MilModel, path: Path, chunk: int) -> None:
    """Raise :class:`InputError` unless a decoder has its functions of a fixed length over the same states."""
    for function, steps in ((PREFILL, chunk), (DECODE, 1)):
        if function not in decoder.functions:
            raise InputError(f"{path}: has no function {function}; export it again")
        positions = decoder.inputs(function).get("position_ids")
        if positions is None or positions.shape != (steps,) or decoder.states(function) != decoder.states():
            raise InputError(
                f"{path}: {function} takes position_ids {positions}, not {steps} over the states of main; "
                "export it again"
            )
