"""Whether ONNX Runtime's int8 products are exact on this CPU: one that is easy to get wrong tells.

On x86 without VNNI two products of uint8 and int8 are summed in 16 bits, which overflow. A session option
moves the weights to uint8, where nothing overflows; on a CPU that has VNNI it changes no bit of a result, but
takes twice as long for many rows. A wrong guess would cost accuracy or half the speed, so nothing is read
from the CPU's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
import onnxruntime as ort

from phantom_edge.export import onnx_schema
from phantom_edge.export.onnx_model import CONTRIB, FLOAT, INT8

EXACT_INT8: Final = "session.x64quantprecision"
INPUTS, OUTPUTS, LARGEST = 256, 64, 127
ROWS: Final = (1, 4, 64)  # a vector and matrices have kernels of their own


@cache
def saturates() -> bool:
    """Whether sums of large products come out too small without the option."""
    return any(product != INPUTS * LARGEST for product in products({}))


def products(entries: Mapping[str, str]) -> list[float]:
    """What ``INPUTS`` products of one and ``LARGEST`` add up to, for each number of rows in ``ROWS``.

    ``entries`` go to the session. All ones become the largest code of uint8, exactly.
    """
    session = _session(entries)
    results = [session.run(None, {"x": np.ones((rows, INPUTS), np.float32)})[0] for rows in ROWS]
    return [float(np.round(result.min(), 2)) for result in results]


def _session(entries: Mapping[str, str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(_model(), options, providers=["CPUExecutionProvider"])


def _model() -> bytes:
    """One ``DynamicQuantizeMatMul``: x float [rows, INPUTS] by w int8 [INPUTS, OUTPUTS]."""
    tensors: dict[str, tuple[int, np.ndarray]] = {
        "w": (INT8, np.full((INPUTS, OUTPUTS), LARGEST, np.int8)),
        "s": (FLOAT, np.ones(OUTPUTS, np.float32)),
    }
    node = {"op_type": "DynamicQuantizeMatMul", "domain": CONTRIB, "input": ["x", "w", "s"], "output": ["y"]}
    graph = {
        "name": "int8",
        "node": [node],
        "initializer": [
            {"name": name, "data_type": kind, "dims": array.shape, "raw_data": array.tobytes()}
            for name, (kind, array) in tensors.items()
        ],
        "input": [_matrix("x", INPUTS)],
        "output": [_matrix("y", OUTPUTS)],
    }
    opsets = [{"version": 17}, {"domain": CONTRIB, "version": 1}]
    model = onnx_schema.new(ir_version=8, opset_import=opsets, graph=graph)
    return bytes(model.SerializeToString())


def _matrix(name: str, width: int) -> dict[str, object]:
    """A value of float [rows, width]."""
    shape = {"dim": [{"dim_param": "rows"}, {"dim_value": width}]}
    return {"name": name, "type": {"tensor_type": {"elem_type": FLOAT, "shape": shape}}}
