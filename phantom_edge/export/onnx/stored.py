"""The files of an artifact from others: every failure while one is read is one line about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_tensor

from phantom_edge.errors import InputError, first_line

PLACE: Final = ("location", "offset", "length")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Every error of the block as an :class:`InputError` about ``path``."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # OSError, protobuf's DecodeError, onnx's ValidationError
        raise InputError(f"{path}: not readable as an exported model ({first_line(error)})") from None


def load_graph(path: Path) -> onnx.ModelProto:
    """The model ``path`` without its external data. Raises :class:`InputError`."""
    with naming(path):
        return onnx.load(path, load_external_data=False)


def load_array(path: Path, initializer: onnx.TensorProto) -> np.ndarray:
    """An initializer of the model ``path``, also one whose data lie beside it. Raises :class:`InputError`."""
    with naming(path):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(initializer)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if any(entry.key not in PLACE for entry in tensor.external_data):
                raise ValueError("data at a place that is described otherwise than by the exporter")
            # Refuses paths that leave the folder.
            load_external_data_for_tensor(tensor, str(path.parent))
        return onnx.numpy_helper.to_array(tensor)
