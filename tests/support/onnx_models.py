"""What the two files of ONNX tests share: options, a tile, embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.onnx import export
from phantom_edge.model.folded import FoldedModel

CONTEXT, CHUNK = 96, 64


def write(model: FoldedModel, out: Path, context: int = CONTEXT) -> Exported:
    """Export ``model`` with the options that all tests share."""
    return export(model, ExportOptions(context, CHUNK, "fp32", (2,)), out, lambda _: None)


def tile(model: FoldedModel, seed: int = 0) -> np.ndarray:
    """One random tile [1, 3, S, S] in 0..1: a smooth gradient with noise."""
    size, random = model.config.tile_size, np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    noise = random.random((1, 3, size, size), dtype=np.float32)
    return 0.7 * ramp[:, None] * ramp + 0.3 * noise


def embed(model: FoldedModel, ids: np.ndarray) -> np.ndarray:
    """The torch model's embeddings [1, S, hidden]."""
    return model.embed(torch.from_numpy(ids)).numpy()
