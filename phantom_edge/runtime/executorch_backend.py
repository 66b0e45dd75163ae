"""ExecuTorch's own runtime under a session: the ``.pte`` that ships, as its C++ loads it on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from phantom_edge.bundle.backend import check_tiles, end_of_call, front, name_in_mode, refill, running
from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, VISION, vision_graph
from phantom_edge.export.executorch import FILE
from phantom_edge.system.memory import give_back
from phantom_edge.system.native import quiet_native
from phantom_edge.system.reading import reading

if TYPE_CHECKING:
    from executorch.runtime import Method, Runtime

    from phantom_edge.export.executorch.readback import StoredProgram


@dataclass
class ExecutorchCache:
    """The loaded program's only sequence: its KV cache has ``length`` tokens."""

    length: int = field(default=0)


class ExecutorchBackend:
    """``model.pte`` below ``folder`` behind the :class:`~phantom_edge.bundle.backend.Backend` calls.

    The program holds the KV cache, so one sequence at a time: :meth:`make_cache` ends the earlier one. The
    runtime aborts the process on a call that it does not like, so every call is checked here first.
    ``threads`` is the size of the runtime's thread pool, one for the whole process; None leaves it at the
    number of cores. Its threads wait by spinning: on a machine that is busy with other work, one thread is
    many times faster than all. ``mode`` chooses what runs: ``stock`` the file as it is, ``lifted`` its graphs
    with the stored integers as fp32 weights and activations that are not rounded to integers. ``tile_size``
    is the size whose vision encoder is loaded at once, where there are several; others follow with their
    first tile, as all do without ``vision``.

    Raises:
        InputError: the file is missing, damaged, no such program, or was exported for another context or
            chunk.
        NoRoomError: the lifted weights do not fit this machine.
    """

    def __init__(
        self,
        folder: Path,
        *,
        context: int,
        chunk: int,
        threads: int | None = None,
        mode: str = "stock",
        tile_size: int | None = None,
        vision: bool = True,
    ):
        from phantom_edge.export.executorch.readback import StoredProgram

        self.name = name_in_mode("executorch", mode)
        path = self._path = Path(folder) / FILE
        self.context, self.chunk = context, chunk
        stored = StoredProgram.open(path)
        self._pixels, self._hidden = _check_program(stored, context, chunk)
        self._states = stored.states("text_decoder")
        encoders = [self._vision_method(tile_size)] if vision else []
        unloaded = reading(path, "export it again", "ExecuTorch does not load")
        with unloaded, _runs(path, mode) as file, quiet_native():
            self._program = _runtime(threads).load_program(file)
            self._methods: dict[str, Method] = {}
            for name in (*encoders, *GRAPHS[1:]):
                self._load(name)
        if not all(map(self._is_shared, self._states)):
            self._states = []
        self._cache = ExecutorchCache()
        self._prefilled = False  # whether memory that only a prefill needs may still be there

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] to image tokens [T, N, hidden], one tile at a time."""
        method = self._vision_method(pixels.shape[-1])
        check_tiles(pixels, self._pixels[method])
        if method not in self._methods:
            with running(self._path), quiet_native():
                self._load(method)
        tiles = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
        return np.concatenate([self._run(method, tile[None]) for tile in tiles])

    def trim(self) -> None:
        """Give the vision encoder's memory back; the next picture loads it again."""
        for name in [name for name in self._methods if name.startswith(VISION)]:
            del self._methods[name]
            self._program._methods[name] = None  # the program keeps every method that it has loaded
        give_back(self._path.parent)

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden], ``chunk`` at a time.

        Raises :class:`InputError` for an id outside the vocabulary.
        """
        tokens = torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64))
        if tokens.ndim != 2 or len(tokens) != 1 or not tokens.numel():
            raise InputError(f"ids must be [1, S], not {list(tokens.shape)}")
        low, high = (int(n) for n in tokens.aminmax())
        if low < 0 or high >= self._vocabulary:
            raise InputError(f"token ids {low}..{high} are not all in 0..{self._vocabulary - 1}")
        return np.concatenate(
            [self._run("token_embedding", part) for part in tokens.split(self.chunk, 1)], axis=1
        )

    def make_cache(self) -> ExecutorchCache:
        """Begin a sequence; the one before it ends."""
        self._cache = ExecutorchCache()
        return self._cache

    def snapshot(self, cache: ExecutorchCache) -> list[np.ndarray]:
        """Copies of what is filled of each state, [kv_heads, length, 1, width].

        Nothing from a program of an earlier export, whose states have no names. Raises :class:`InputError`
        for an ended cache.
        """
        self._check_alive(cache)
        return [front(state, cache.length, axis=1).copy() for state in self._state_arrays()]

    def restore(self, arrays: Sequence[np.ndarray]) -> ExecutorchCache:
        """Begin a sequence with the content of a snapshot; the one before it ends.

        Raises :class:`InputError` for other arrays.
        """
        cache = self.make_cache()
        cache.length = refill(self._state_arrays(), arrays, axis=1)
        return cache

    def _state_arrays(self) -> list[np.ndarray]:
        """The program's own memory of each state, [kv_heads, context, 1, width]."""
        method = self._methods["text_decoder"]._method
        with running(self._path):
            return [method.get_attribute(name).numpy() for name in self._states]

    def _is_shared(self, name: str) -> bool:
        """Whether the runtime gives the memory of a state itself, which can be written to, and no copy."""
        method = self._methods["text_decoder"]._method
        one, other = (method.get_attribute(name) for _ in range(2))
        return bool(one.data_ptr() == other.data_ptr())

    def _check_alive(self, cache: ExecutorchCache) -> None:
        if cache is not self._cache:
            raise InputError(
                "this sequence has ended: ExecuTorch has one at a time, and a newer one was begun"
            )

    def decode(self, embeds: np.ndarray, cache: ExecutorchCache) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position.

        Raises :class:`InputError` for more than ``chunk`` tokens, more than the context holds, or an ended
        cache.
        """
        x = torch.from_numpy(np.ascontiguousarray(embeds, dtype=np.float32))
        self._check_alive(cache)
        if x.ndim != 3 or len(x) != 1 or x.shape[2] != self._hidden:
            raise InputError(f"embeddings must be [1, S, {self._hidden}], not {list(x.shape)}")
        end = end_of_call(self, x.shape[1], cache.length)
        if self._prefilled and x.shape[1] == 1:
            give_back(self._path.parent)
        self._prefilled = x.shape[1] > 1
        logits = self._run("text_decoder", x, torch.arange(cache.length, end))
        cache.length = end
        return np.asarray(logits[0, -1])

    def _vision_method(self, tile_size: int | None) -> str:
        further = vision_graph(tile_size) if tile_size is not None else VISION
        return further if further in self._pixels else VISION

    @property
    def _vocabulary(self) -> int:
        return int(self._methods["text_decoder"].metadata.output_tensor_meta(0).sizes()[-1])

    def _load(self, name: str) -> None:
        self._methods[name] = self._program.load_method(name)
        give_back(self._path.parent)  # XNNPACK has repacked the weights: those in the file are read no more

    def _run(self, method: str, *inputs: torch.Tensor) -> np.ndarray:
        with running(self._path):
            # ``execute`` copies by torch, with OpenMP, whose threads then wait by spinning on the cores that
            # XNNPACK's threads need.
            run = self._methods[method]._method
            output: torch.Tensor = run([x.contiguous() for x in inputs], clone_outputs=False)[0]
            return output.numpy().copy()


def _check_program(stored: StoredProgram, context: int, chunk: int) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shape of a tile by vision encoder, and hidden size.

    Raises :class:`InputError` for a program of other bounds.
    """
    path = stored.path
    for method, option, expected in (
        ("get_max_context_len", "context", context),
        ("get_max_seq_len", "chunk", chunk),
    ):
        if (limit := stored.constant(method)) != [expected]:
            raise InputError(
                f"{path}: exported for a {option} of {', '.join(map(str, limit))}, not {expected}"
            )
    (ids,), decoder = (stored.input_shapes(name) for name in GRAPHS[1:])
    visions = (VISION, *stored.further_vision_encoders())
    inputs = {name: stored.input_shapes(name) for name in visions}
    pixels: dict[str, tuple[int, ...]] = {
        name: shapes[0] for name, shapes in inputs.items() if len(shapes) == 1 and len(shapes[0]) == 4
    }
    shapes_fit = len(pixels) == len(visions)
    shapes_fit = shapes_fit and ids == (1, chunk) and len(decoder) == 2
    if not shapes_fit or decoder[0][:2] != (1, chunk) or len(decoder[0]) != 3 or decoder[1] != (chunk,):
        raise InputError(f"{path}: its methods take other tensors than a Phantom's")
    stored.check_delegates()
    return pixels, decoder[0][2]


def _runs(path: Path, mode: str) -> AbstractContextManager[Path]:
    """The file to load in ``mode``; a lifted one is gone after the block."""
    if mode == "stock":
        return nullcontext(path)
    from phantom_edge.runtime.executorch_lift import lifted

    return lifted(path)


def _runtime(threads: int | None) -> Runtime:
    """ExecuTorch's runtime with the kernels that the program calls."""
    import executorch.kernels.quantized  # noqa: F401  registers embedding_byte
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    if "llama::custom_sdpa.out" not in portable_lib._get_operator_names():
        # What importing ``custom_ops.custom_ops`` does, without the seconds that its inductor imports take.
        folder = files("executorch.extension.llm") / "custom_ops"
        torch.ops.load_library(next(Path(str(folder)).glob("*custom_ops_aot_lib.*")))
    if threads is not None:
        portable_lib._unsafe_reset_threadpool(threads)
    return Runtime.get()
