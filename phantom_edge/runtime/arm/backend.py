"""A bundle's ONNX models on an emulated Arm core, as a backend for sessions and for verify's stages."""

from __future__ import annotations

import contextlib
import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

import phantom_edge
from phantom_edge.bundle.backend import end_of_call, name_in_mode
from phantom_edge.runtime.arm.cores import Core
from phantom_edge.runtime.arm.environment import Environment
from phantom_edge.runtime.onnx_backend import sources_of
from phantom_edge.runtime.worker_process import Answer, worker_process
from phantom_edge.system.partials import temporary_folder

WORKER: Final = "phantom_edge.runtime.arm.worker"
MAX_THREADS: Final = 8


@dataclass
class ArmCache:
    """A cache in the emulated process: its number there, and how many tokens are in it."""

    number: int
    length: int = field(default=0)


class ArmBackend:
    """The ONNX artifact below ``folder`` on ``core``, as
    :class:`~phantom_edge.runtime.onnx_backend.OnnxBackend` runs it here.

    The models are checked here and run in a process under QEMU, which ends with this object. ``features`` are
    those that the emulated core announces.

    Raises:
        InputError: as there, and where the emulated process ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        context: int,
        chunk: int,
        core: Core,
        environment: Environment,
        mode: str = "stock",
    ):
        self.folder, self.context, self.chunk = Path(folder).absolute(), context, chunk
        sources = sources_of(self.folder, context, chunk, mode)
        self._dropped: list[int] = []
        self._caches = 0
        with contextlib.ExitStack() as stack:
            self._start(stack, core, environment)
            models = sources.values()
            changed = [np.frombuffer(s.changed, np.uint8) for s in models if s.changed is not None]
            head, _ = self._call(
                "open",
                changed,
                folder=str(self.folder),
                graphs=list(sources),
                paths=[str(source.path) for source in models],
                changed=[source.changed is not None for source in models],
                context=context,
                chunk=chunk,
                threads=min(MAX_THREADS, len(os.sched_getaffinity(0))),
            )
            self.features: tuple[str, ...] = tuple(head["features"])
            self.name = name_in_mode(f"onnxruntime {head['onnxruntime']} for aarch64", mode)
            self._end = weakref.finalize(self, stack.pop_all().close)

    def _start(self, stack: contextlib.ExitStack, core: Core, environment: Environment) -> None:
        scratch = stack.enter_context(temporary_folder())
        # The package by a link: its neighbours are this machine's and not for the emulated Python.
        (scratch / "phantom_edge").symlink_to(Path(phantom_edge.__file__).parent)
        variables = {**environment.variables(scratch), "TMPDIR": str(scratch), "HOME": str(scratch)}
        command = environment.command(core.cpu, "-m", WORKER)
        name = f"{self.folder}: the emulated process"
        self._process = stack.enter_context(worker_process(command, scratch, name, variables))

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] to image tokens [T, N, hidden]."""
        return self._call("encode_image", [np.asarray(pixels, dtype=np.float32)])[1][0]

    def embed(self, ids: np.ndarray) -> np.ndarray:
        """Ids [1, S] to embeddings [1, S, hidden]. Raises :class:`InputError` for ids of no vocabulary."""
        return self._call("embed", [np.asarray(ids, dtype=np.int64)])[1][0]

    def make_cache(self) -> ArmCache:
        """An empty cache for ``context`` tokens; its memory is taken here, and given back with it."""
        self._caches += 1
        self._call("make_cache", cache=self._caches)
        cache = ArmCache(self._caches)
        weakref.finalize(cache, self._dropped.append, cache.number)
        return cache

    def decode(self, embeds: np.ndarray, cache: ArmCache) -> np.ndarray:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [vocab] of the last position."""
        end = end_of_call(self, embeds.shape[1], cache.length)
        arrays = [np.asarray(embeds, dtype=np.float32)]
        _, (logits,) = self._call("decode", arrays, cache=cache.number, length=cache.length)
        cache.length = end
        return logits

    def _call(self, call: str, arrays: list[np.ndarray] | None = None, **head: Any) -> Answer:
        """Ask the emulated process, which may drop the caches that nobody has any more."""
        dropped = [self._dropped.pop() for _ in range(len(self._dropped))]
        return self._process.call(call, arrays or [], dropped=dropped, **head)
