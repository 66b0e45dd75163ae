"""A ``.pte`` with a Core ML vision encoder under a session, on a machine without Core ML.

The decoder runs in ExecuTorch's own runtime, as on a phone. The vision encoder is taken out of its delegate
and runs in the MIL interpreter, which executes the package's own program and weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from phantom_edge.bundle.backend import check_tiles
from phantom_edge.export.base import VISION
from phantom_edge.export.executorch import FILE
from phantom_edge.runtime.executorch_backend import ExecutorchBackend
from phantom_edge.system.partials import temporary_folder


class ExecutorchCoremlBackend(ExecutorchBackend):
    """``model.pte`` below ``folder`` as :class:`ExecutorchBackend` runs it, but for the vision encoder.

    ``mode`` is ``stock``, the file's numbers with Core ML's float16 rounded as declared, or ``lifted``, all
    in fp32.
    """

    def __init__(
        self, folder: Path, *, context: int, chunk: int, threads: int | None = None, mode: str = "stock"
    ):
        from phantom_edge.export.coreml.toolkit import coremltools
        from phantom_edge.export.executorch_coreml import vision_package
        from phantom_edge.mil import MilModel

        path = Path(folder) / FILE
        coremltools()  # in silence, before the interpreter imports a part of it
        self._files = ExitStack()  # the interpreter reads weights when they are first needed
        with ExitStack() as files:
            package = files.enter_context(vision_package(path))
            with _without_vision(path) as rest:
                super().__init__(rest, context=context, chunk=chunk, threads=threads, mode=mode)
            self._vision = MilModel.load(package, mode="lifted" if mode == "lifted" else "typed")
            self._files = files.pop_all()
        self.name = f"{self.name}, vision on mil-interpreter"

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self._files.close()

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time."""
        check_tiles(pixels, self._pixels[VISION])
        tiles = np.ascontiguousarray(pixels, dtype=np.float32)
        features = [self._vision.predict({"pixel_values": tile[None]})["image_features"] for tile in tiles]
        return np.concatenate(features, dtype=np.float32)


@contextmanager
def _without_vision(path: Path) -> Iterator[Path]:
    """A folder with a copy of the program that loads without Core ML: its vision encoder does nothing."""
    from executorch.exir import schema

    from phantom_edge.export.executorch.file import pad, tables
    from phantom_edge.export.executorch.readback import StoredProgram

    stored = StoredProgram.open(path)
    idle = [schema.Chain([], [], [], None)]
    plans = [
        replace(plan, delegates=[], chains=idle) if plan.name == VISION else plan
        for plan in stored.program.execution_plan
    ]
    with temporary_folder() as folder:
        with open(path, "rb") as file, open(Path(folder, FILE), "wb") as copy:
            copy.write(tables(replace(stored.program, execution_plan=plans), stored.size - stored.base))
            pad(copy)
            file.seek(stored.base)
            shutil.copyfileobj(file, copy)
        yield folder
