"""A Snapdragon bundle under a session: the NPU, or Qualcomm's emulator of it, and the CPU for the rest.

Where the NPU decodes, its graphs have fixed lengths and the cache is kept here: keys and values of new tokens
are written behind those of earlier ones, and a mask says what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.backend import check_cache, end_of_call, front, name_in_mode, refill, running
from phantom_edge.checkpoint.config import MAX_DIMENSION
from phantom_edge.errors import InputError
from phantom_edge.export import qnn_provider
from phantom_edge.export.onnx_layout import FOLDER, NPU_GRAPHS, compiled_file, npu_file
from phantom_edge.export.onnx_model import AGAIN, context_of, load_model
from phantom_edge.export.qnn_chips import CHIPS, DEFAULT, Chip, chip_for, default_of
from phantom_edge.model.rounded_ops import MASKED
from phantom_edge.runtime.npu_process import LocalModel, Model, NpuProcess
from phantom_edge.runtime.onnx_backend import OnnxBackend
from phantom_edge.runtime.onnx_graphs import CACHE_TYPES, PAST, Source, cpu_session, present
from phantom_edge.runtime.onnx_lift import lift
from phantom_edge.system.reading import reading

VISION, PREFILL, DECODE = NPU_GRAPHS


@dataclass
class FixedCache:
    """Keys and values of one sequence by input name, [1, kv_heads, context, width] each."""

    buffers: dict[str, np.ndarray]
    length: int = 0


class QnnBackend:
    """The artifact below a bundle's ``folder``, as a :class:`~phantom_edge.bundle.backend.Backend`.

    ``mode`` chooses what runs: ``stock`` the files on the NPU of ``chip`` or its emulator, ``lifted`` the
    same graphs and weights on the CPU in fp32, with values that lie on no grid. By default ``chip`` is one
    that the bundle was compiled for. Then the compiled vision encoder is what runs; compiled decoders share
    their weights, which no emulator loads, so there it is the graphs that they were compiled from.

    Raises:
        InputError: a file is missing or is no such graph, a node would not run on the NPU, or there is
            neither an NPU nor its emulator.
    """

    def __init__(
        self,
        folder: Path,
        *,
        context: int,
        chunk: int,
        threads: int | None = None,
        mode: str = "stock",
        chip: str | None = None,
    ):
        self.folder, self.context, self.chunk = Path(folder), context, chunk
        self._lifted = mode == "lifted"
        names = [name for name in NPU_GRAPHS if (self.folder / FOLDER / npu_file(name)).exists()]
        if VISION not in names or len(names) == 2:
            raise InputError(f"{self.folder}: not all of the NPU's graphs are there; export the bundle again")
        self._decodes = DECODE in names
        self._chip, compiled = _chip(self.folder, chip)
        self.name = self._title(compiled, mode)
        runs_all = compiled and not qnn_provider.emulated()
        self._process = None if self._lifted else NpuProcess(self.folder)
        self._models = {n: self._open(n, compiled=runs_all or (compiled and n == VISION)) for n in names}
        on_cpu = ("token_embedding",) if self._decodes else ("token_embedding", "text_decoder")
        self._cpu = OnnxBackend(
            self.folder, context=context, chunk=chunk, threads=threads, mode=mode, graphs=on_cpu
        )
        if self._decodes:
            self._read_decoder()

    def _title(self, compiled: bool, mode: str) -> str:
        if self._lifted:
            return name_in_mode("onnxruntime", mode)
        where = "Qualcomm's emulator" if qnn_provider.emulated() else "the NPU"
        return f"onnxruntime-qnn, {where} as {self._chip.name}{', compiled' if compiled else ''}"

    def _open(self, name: str, *, compiled: bool) -> Model:
        path = self.folder / FOLDER / npu_file(name)
        model = load_model(path)
        with reading(path, AGAIN, "ONNX Runtime does not load it"):
            if self._process is None:
                return LocalModel(cpu_session(Source(path, lift(model).SerializeToString())))
            switches = qnn_provider.switches_of({entry.key: entry.value for entry in model.metadata_props})
            if compiled:
                path, switches = self.folder / compiled_file(self._chip.name, name), {}
                context_of(path)
            return self._process.open(name, path, self._chip, switches)

    def _read_decoder(self) -> None:
        """What the decoders' inputs say. Raises :class:`InputError` for graphs of another form."""
        prefill, decode = (self._models[name].inputs for name in (PREFILL, DECODE))
        path = self.folder / FOLDER / npu_file(PREFILL)
        with reading(path, AGAIN, "not a decoder of this toolkit"):
            cache, other = (
                {n: (tuple(v.shape), CACHE_TYPES[v.type]) for n, v in inputs.items() if n.startswith(PAST)}
                for inputs in (prefill, decode)
            )
            if not cache or cache != other:
                raise InputError(f"{path.name}: the two decoders' caches differ; {AGAIN}")
            self._steps = prefill["inputs_embeds"].shape[1]
            sizes = {size for shape, _ in cache.values() for size in shape}
            if not all(isinstance(size, int) and 0 < size <= MAX_DIMENSION for size in sizes):
                raise InputError(f"{path.name}: its cache has no fixed shape; {AGAIN}")
            (self._length,) = {shape[2] for shape, _ in cache.values()}
        if self.context > self._length:
            most, longer = self._length, self.context
            raise InputError(
                f"{self.folder}: exported for {most} tokens; export again with --context {longer}"
            )
        if self.chunk > self._steps:
            raise InputError(f"{self.folder}: exported for pieces of {self._steps} tokens; {AGAIN}")
        check_cache(path, sum(kind.itemsize * prod(shape) for shape, kind in cache.values()))
        self._cache = cache

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] to image tokens [T, N, hidden], one tile at a time."""
        pixels = np.asarray(pixels, dtype=np.float32)
        with running(self.folder):
            model = self._models[VISION]
            return np.concatenate([model.run({"pixel_values": t[None]})["image_features"] for t in pixels])

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]. Raises :class:`InputError` for ids of no vocabulary."""
        return self._cpu.embed(ids)

    def make_cache(self) -> Any:
        """An empty cache for ``context`` tokens; its memory is taken here."""
        if not self._decodes:
            return self._cpu.make_cache()
        return FixedCache({name: np.zeros(shape, kind) for name, (shape, kind) in self._cache.items()})

    def snapshot(self, cache: Any) -> list[np.ndarray]:
        """Copies of what is filled of each buffer, [1, kv_heads, length, width]."""
        if not self._decodes:
            return self._cpu.snapshot(cache)
        return [front(buffer, cache.length).copy() for buffer in cache.buffers.values()]

    def restore(self, arrays: Sequence[np.ndarray]) -> Any:
        """A new cache with the content of a snapshot. Raises :class:`InputError` for other arrays."""
        if not self._decodes:
            return self._cpu.restore(arrays)
        cache: FixedCache = self.make_cache()
        cache.length = refill([*cache.buffers.values()], arrays)
        return cache

    def decode(self, embeds: np.ndarray, cache: Any) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position.

        Raises :class:`InputError` for more than ``chunk`` tokens or more than the context holds.
        """
        if not self._decodes:
            return self._cpu.decode(embeds, cache)
        count = embeds.shape[1]
        end = end_of_call(self, count, cache.length)
        name, steps = (DECODE, 1) if count == 1 else (PREFILL, self._steps)
        inputs = self._inputs(embeds, cache.length, steps)
        with running(self.folder):
            values = self._models[name].run(inputs | cache.buffers)
            for key, buffer in cache.buffers.items():
                new = values[present(key)]  # [1, Hkv, steps, W]
                buffer[:, :, cache.length : end] = new[:, :, steps - count :]
            cache.length = end
            logits: np.ndarray = values["logits"][0, -1]
            return logits

    def _inputs(self, embeds: np.ndarray, length: int, steps: int) -> dict[str, np.ndarray]:
        """One call's inputs but the cache: fewer tokens than ``steps`` are filled up in front."""
        count = embeds.shape[1]
        front = steps - count
        filled = np.zeros((1, steps, embeds.shape[2]), np.float32)
        filled[:, front:] = embeds
        positions = np.zeros((1, steps), np.int32)
        positions[0, front:] = np.arange(length, length + count)
        mask = np.full((1, 1, steps, self._length + steps), MASKED, np.float16)
        mask[..., :length] = 0
        rows = np.arange(count)
        mask[0, 0, front:, self._length + front :][rows[:, None] >= rows[None]] = 0
        kind = np.float32 if self._lifted else np.float16
        return {"inputs_embeds": filled, "position_ids": positions, "attention_mask": mask.astype(kind)}


def _chip(folder: Path, name: str | None) -> tuple[Chip, bool]:
    """The chip that is run, and whether there are files compiled for it."""
    if name is not None:
        chip = chip_for(name)
        return chip, (folder / compiled_file(chip.name, VISION)).exists()
    own = default_of(name for name in CHIPS if (folder / compiled_file(name, VISION)).exists())
    return CHIPS[own or DEFAULT], own is not None
