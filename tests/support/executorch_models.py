"""What the files of ExecuTorch tests share: options and tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.executorch import export
from phantom_edge.model.folded import FoldedModel

CONTEXT, CHUNK = 48, 16
OPTIONS = ExportOptions(CONTEXT, CHUNK, "fp32", (2, 5))


def write(model: FoldedModel, out: Path) -> Exported:
    """Export ``model`` with the options that all tests share."""
    return export(model, OPTIONS, out, lambda _: None)


def random_tiles(model: FoldedModel, count: int = 1) -> np.ndarray:
    """Tiles [count, 3, S, S] in 0..1."""
    side = model.config.tile_size
    return np.random.default_rng(1).random((count, 3, side, side), dtype=np.float32)
