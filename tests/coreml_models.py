"""Tiny folded models and their Core ML exports, made once per test session, with the same prompts as the ONNX tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import CHUNK, CONTEXT, quantized

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.coreml import export
from phantom_edge.model.folded import FoldedModel
from phantom_edge.runtime.coreml_backend import CoremlBackend

_MADE: dict[tuple, tuple[Path, Exported]] = {}  # both test files use the same exports


class CoremlExports:
    """Exports below one temporary folder, each made when first asked for."""

    def __init__(self, root: Path):
        self.root = root

    def __call__(self, checkpoint: Path, recipe: str = "fp16", fold: str = "exact", overrides: tuple[str, ...] = ()):
        """The export's folder and what :func:`export` said of it."""
        key = (checkpoint, recipe, fold, overrides)
        if key not in _MADE:
            out = self.root / str(len(_MADE))
            _MADE[key] = out, write(quantized(*key[:3], overrides), out)
        return _MADE[key]


def write(model: FoldedModel, out: Path) -> Exported:
    """Export ``model`` in its recipe's float type with the options that all tests share."""
    return export(model, ExportOptions(CONTEXT, CHUNK, str(model.recipe.float_type), (2,)), out, lambda _: None)


def load(folder: Path, mode: str = "lifted", context: int = CONTEXT, chunk: int = CHUNK) -> CoremlBackend:
    """The backend over an export."""
    return CoremlBackend(folder, context=context, chunk=chunk, mode=mode)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())
