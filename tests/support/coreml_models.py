"""What the two files of Core ML tests share; tiles and embeddings are those of the ONNX tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx_models import CHUNK, CONTEXT

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.coreml import export
from phantom_edge.export.coreml.package import MODEL
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.model.folded import FoldedModel
from phantom_edge.runtime.coreml_backend import CoremlBackend


def write(model: FoldedModel, out: Path) -> Exported:
    """Export ``model`` in its recipe's float type with the options that all tests share."""
    return export(
        model, ExportOptions(CONTEXT, CHUNK, str(model.recipe.float_type), (2,)), out, lambda _: None
    )


def load(
    folder: Path, mode: str = "lifted", context: int = CONTEXT, chunk: int = CHUNK, functions: str = "main"
) -> CoremlBackend:
    """The backend over an export."""
    return CoremlBackend(folder, context=context, chunk=chunk, mode=mode, functions=functions)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def change_model(package: Path, change: Callable[[Any], object]) -> None:
    """Let ``change`` alter the ``Model`` message of a package on disk."""
    coremltools()
    from coremltools.proto import Model_pb2

    path, model = package / MODEL, Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
