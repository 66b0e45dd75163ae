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
from onnx import TensorProto, helper, numpy_helper

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
    weights = numpy_helper.from_array(np.full((INPUTS, OUTPUTS), LARGEST, np.int8), "w")
    scale = numpy_helper.from_array(np.ones(OUTPUTS, np.float32), "s")
    node = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUTPUTS])
    graph = helper.make_graph([node], "int8", [x], [y], [weights, scale])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
