"""The three ONNX models in ONNX Runtime: sessions on the CPU, the KV cache in buffers written in place.

Of other packages than the standard library this needs numpy and ONNX Runtime alone, so that the same lines
run where nothing else is installed: in the emulated process of ``runtime/arm``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from phantom_edge.bundle.backend import check_cache, check_tiles, end_of_call, front, refill, running
from phantom_edge.checkpoint.config import MAX_DIMENSION
from phantom_edge.errors import InputError
from phantom_edge.runtime.onnx_attention import untiled
from phantom_edge.system.memory import give_back
from phantom_edge.system.native import quiet_native
from phantom_edge.system.reading import reading

VISION: Final = "vision_encoder"
"""With ``_SIZE`` after it, the one for a further size of tiles."""
GRAPHS: Final = {
    VISION: ({"pixel_values"}, {"image_features"}),
    "token_embedding": ({"input_ids"}, {"inputs_embeds"}),
    "text_decoder": ({"inputs_embeds", "attention_mask", "position_ids"}, {"logits"}),
}
"""Inputs and outputs of each model, besides the decoder's cache."""
DECODER: Final = "text_decoder"
PAST: Final = "past_key_values."
AGAIN: Final = "export it again"
DATA_FOLDER: Final = "session.model_external_initializers_file_folder_path"
SHRINK: Final = "memory.enable_memory_arena_shrinkage"
CACHE_TYPES: Final = {
    f"tensor({name})": np.dtype(kind) for name, kind in (("float", "f4"), ("float16", "f2"), ("int8", "i1"))
}


@dataclass(frozen=True)
class Source:
    """One model: its file, and what runs in its place if that is not the file as it is.

    The data of a ``changed`` model, serialised, still lie beside ``path``. ``untiled`` chooses the form of
    attention (:mod:`.onnx_attention`).
    """

    path: Path
    changed: bytes | None = None
    untiled: bool = False


@dataclass
class OnnxCache:
    """Keys and values of one sequence by input name, [1, kv_heads, context, width] each, and its binding."""

    buffers: dict[str, ort.OrtValue]
    binding: ort.IOBinding
    length: int = field(default=0)


class OnnxGraphs:
    """Models of :data:`GRAPHS`, all three or those that run here, for a cache of ``context`` tokens.

    Vision encoders for further sizes of tiles are loaded when the first such tile comes. ``tile_size`` is the
    size that is loaded at once, if it is not the default; without ``vision`` none is. ``folder`` is what an
    error names. ``chunk`` is the most tokens that one :meth:`decode` takes. ``threads`` is ORT's for one
    operation; None lets it choose. ``entries`` go to every session. Any number of caches may be alive; each
    has its own buffers.

    Raises:
        InputError: a model does not load, or is none of this toolkit's.
    """

    name = "onnxruntime"

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, Source],
        *,
        context: int,
        chunk: int,
        threads: int | None = None,
        tile_size: int | None = None,
        vision: bool = True,
        entries: Mapping[str, str],
    ):
        self.folder, self.context, self.chunk = folder, context, chunk
        self._sources, self._threads, self._entries = sources, threads, entries
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._prefilled = False  # whether memory that only a prefill needs may still be there
        # The decoder first: packing its weights takes the most memory for a moment.
        for graph in reversed([graph for graph in GRAPHS if graph in sources]):
            if graph == VISION and not vision:
                continue
            self._session(self._vision_graph(tile_size) if graph == VISION else graph)
        # A tile and a prefill need far more memory than a decode step; without this the arenas keep it.
        self._returning = ort.RunOptions()
        self._returning.add_run_config_entry(SHRINK, "cpu:0")
        self._vocabulary = MAX_DIMENSION
        if DECODER in sources:
            path, decoder = sources[DECODER].path, self._sessions[DECODER]
            self._cache_type = _cache_type(path, decoder)
            self._shapes = _cache_shapes(path, decoder, context)
            self._vocabulary = _vocabulary(path, decoder)

    def _session(self, graph: str) -> ort.InferenceSession:
        """The session of one graph, loaded now if it is not. Raises :class:`InputError` as the class."""
        if graph not in self._sessions:
            source = self._sources[graph]
            session = cpu_session(source, self._threads, self._entries)
            _check_names(VISION if graph.startswith(VISION) else graph, source.path, session)
            self._sessions[graph] = session
            give_back(self.folder)
        return self._sessions[graph]

    def _vision_graph(self, tile_size: int | None) -> str:
        further = f"{VISION}_{tile_size}"
        return further if further in self._sources else VISION

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] to image tokens [T, N, hidden], one tile at a time.

        A matmul takes no longer for it, and integer operations keep one range per call: so a tile's tokens do
        not depend on its neighbours. Raises :class:`InputError` for tiles of a size that no graph takes.
        """
        pixels = np.asarray(pixels, dtype=np.float32)
        session = self._session(self._vision_graph(pixels.shape[-1]))
        check_tiles(pixels, tuple(session.get_inputs()[0].shape))
        with running(self.folder):
            tiles = [session.run(None, {"pixel_values": t[None]}, self._returning)[0] for t in pixels]
            return np.concatenate(tiles)

    def trim(self) -> None:
        """Give the vision encoder's memory back; the next picture loads it again."""
        self._sessions = {name: s for name, s in self._sessions.items() if not name.startswith(VISION)}
        give_back(self.folder)

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]. Raises :class:`InputError` for ids of no vocabulary."""
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < self._vocabulary:
            raise InputError(
                f"token ids lie in {ids.min()}..{ids.max()}, the model's in 0..{self._vocabulary - 1}"
            )
        with running(self.folder):
            embeddings: np.ndarray = self._sessions["token_embedding"].run(None, {"input_ids": ids})[0]
            return embeddings

    def make_cache(self) -> OnnxCache:
        """An empty cache for ``context`` tokens; its memory is taken here."""
        return self._bound(self._zeros())

    def snapshot(self, cache: OnnxCache) -> list[np.ndarray]:
        """Copies of what is filled of each buffer, [1, kv_heads, length, width]."""
        return [front(buffer.numpy(), cache.length).copy() for buffer in cache.buffers.values()]

    def restore(self, arrays: Sequence[np.ndarray]) -> OnnxCache:
        """A new cache with the content of a snapshot. Raises :class:`InputError` for other arrays."""
        buffers = self._zeros()
        length = refill([*buffers.values()], arrays)
        cache = self._bound(buffers)
        cache.length = length
        return cache

    def _zeros(self) -> dict[str, np.ndarray]:
        return {name: np.zeros(shape, self._cache_type) for name, shape in self._shapes.items()}

    def _bound(self, arrays: Mapping[str, np.ndarray]) -> OnnxCache:
        """A cache over these arrays' memory."""
        buffers = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        binding = self._sessions[DECODER].io_binding()
        binding.bind_output("logits")
        for name, buffer in buffers.items():
            binding.bind_ortvalue_input(name, buffer)
            # The same buffer in and out: the attention op then appends in place.
            binding.bind_ortvalue_output(present(name), buffer)
        return OnnxCache(buffers, binding)

    def decode(self, embeds: np.ndarray, cache: OnnxCache) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position.

        Raises :class:`InputError` for more than ``chunk`` tokens or more than the context holds.
        """
        end = end_of_call(self, embeds.shape[1], cache.length)
        inputs = {
            "inputs_embeds": np.ascontiguousarray(embeds, dtype=np.float32),
            "attention_mask": np.ones((1, end), dtype=np.int64),
            "position_ids": np.arange(cache.length, end, dtype=np.int64)[None],
        }
        with running(self.folder):
            for name, array in inputs.items():
                cache.binding.bind_cpu_input(name, array)
            returning = self._returning if embeds.shape[1] > 1 else None
            if self._prefilled and returning is None:
                give_back(self.folder)
            self._prefilled = returning is not None
            self._sessions[DECODER].run_with_iobinding(cache.binding, returning)
            cache.length = end
            logits: np.ndarray = cache.binding.get_outputs()[0].numpy()
            return np.array(logits[0, -1])  # ORT writes the next logits to the same memory


def cpu_session(
    source: Source, threads: int | None = None, entries: Mapping[str, str] | None = None
) -> ort.InferenceSession:
    """A session on the CPU, with ``entries`` of its configuration. Raises :class:`InputError`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; ORT warns of every constant that it folds
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    if source.changed is not None:
        options.add_session_config_entry(DATA_FOLDER, str(source.path.parent))
    if threads is not None:
        options.intra_op_num_threads = threads
    model = source.path if source.changed is None else source.changed
    with (
        reading(source.path, AGAIN, "ONNX Runtime does not load it"),
        quiet_native(),
        untiled(source.untiled),
    ):
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def present(past: str) -> str:
    """The output that continues the cache input ``past``."""
    return f"present.{past.removeprefix(PAST)}"


def _check_names(graph: str, path: Path, session: ort.InferenceSession) -> None:
    """Raise :class:`InputError` unless a model has exactly the inputs and outputs of its place."""
    inputs, outputs = (
        {value.name for value in values} for values in (session.get_inputs(), session.get_outputs())
    )
    expected_inputs, expected_outputs = GRAPHS[graph]
    past = {name for name in inputs if name.startswith(PAST)}
    if inputs - past != expected_inputs or outputs != expected_outputs | {present(name) for name in past}:
        raise InputError(f"{path.name}: its inputs and outputs are not those of this toolkit's {graph}")


def _vocabulary(path: Path, decoder: ort.InferenceSession) -> int:
    """The width of the logits. Raises :class:`InputError` when it is no number."""
    shape = next(value.shape for value in decoder.get_outputs() if value.name == "logits")
    if len(shape) != 3 or not isinstance(shape[2], int):
        raise InputError(f"{path.name}: logits have shape {shape}; their width must be known")
    return shape[2]


def _cache_type(path: Path, decoder: ort.InferenceSession) -> np.dtype[Any]:
    """The one type of all cache inputs. Raises :class:`InputError` for another than fp32, fp16 and int8."""
    types = {entry.type for entry in decoder.get_inputs() if entry.name.startswith(PAST)}
    if len(types) > 1 or not types <= CACHE_TYPES.keys():
        raise InputError(
            f"{path.name}: its cache holds {', '.join(sorted(types))}; only one of fp32, fp16, int8 is known"
        )
    return CACHE_TYPES[types.pop()] if types else np.dtype(np.float32)


def _cache_shapes(
    path: Path, decoder: ort.InferenceSession, context: int
) -> dict[str, tuple[int, int, int, int]]:
    """Shape of each cache input at batch 1. Raises :class:`InputError` for none, and for one too large."""
    shapes: dict[str, tuple[int, int, int, int]] = {}
    for entry in decoder.get_inputs():
        if entry.name.startswith(PAST):
            known = [n for n in entry.shape[1::2] if isinstance(n, int) and 0 < n <= MAX_DIMENSION]
            if len(entry.shape) != 4 or len(known) != 2:
                raise InputError(
                    f"{path.name}: {entry.name} has shape {entry.shape}; heads and width must be known"
                )
            shapes[entry.name] = (1, known[0], context, known[1])
    if not shapes:
        raise InputError(f"{path.name}: no past_key_values inputs; not a decoder of this toolkit")
    check_cache(path, sum(4 * prod(shape) for shape in shapes.values()))
    return shapes
