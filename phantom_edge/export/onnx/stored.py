"""The constants of a model from others, also those whose data lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_tensor

from phantom_edge.export.onnx_model import AGAIN
from phantom_edge.system.reading import reading

PLACE: Final = ("location", "offset", "length")


def load_array(path: Path, initializer: onnx.TensorProto) -> np.ndarray:
    """An initializer of the model ``path``, also one whose data lie beside it. Raises :class:`InputError`."""
    with reading(path, AGAIN):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(initializer)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if any(entry.key not in PLACE for entry in tensor.external_data):
                raise ValueError("data at a place that is described otherwise than by the exporter")
            # Refuses paths that leave the folder.
            load_external_data_for_tensor(tensor, str(path.parent))
        return onnx.numpy_helper.to_array(tensor)
