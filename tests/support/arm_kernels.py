"""One quantised product on an emulated core: the script that runs there, and how it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.runtime.arm.environment import Environment
from phantom_edge.system import children

ROWS, INPUTS, OUTPUTS, BLOCK = 5, 128, 64, 32
KINDS = {"int4 in blocks": 4, "int8 in blocks": 8, "int8 per channel": 8}
"""Bits of each matrix."""
SCRIPT = """
import sys
import numpy as np
import onnxruntime as ort

folder = sys.argv[1]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
x = np.load(f"{folder}/x.npy", allow_pickle=False)
for name in sys.argv[2:]:
    session = ort.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
    np.save(f"{folder}/{name}.npy", session.run(None, {"x": x})[0])
"""


def products(environment: Environment, cpu: str, folder: Path) -> dict[str, np.ndarray]:
    """``x`` times a matrix of each of :data:`KINDS`, each [ROWS, OUTPUTS], on ``cpu``."""
    random = np.random.default_rng(3)
    x = (random.standard_normal((ROWS, INPUTS)) * random.uniform(0.2, 3, (ROWS, 1))).astype(np.float32)
    np.save(folder / "x.npy", x)
    for kind in KINDS:
        (folder / f"{kind}.onnx").write_bytes(_model(*_product(kind)))
    command = environment.command(cpu, "-c", SCRIPT, str(folder), *KINDS)
    done = children.run(command, env=environment.variables(), timeout=300)
    assert done.returncode == 0, done.stderr
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in KINDS}


def quantized(kind: str) -> QuantizedTensor:
    """The matrix of that kind."""
    bits, blocks = KINDS[kind], INPUTS // BLOCK if "blocks" in kind else 1
    random, low = np.random.default_rng(4), -(2 ** (bits - 1))
    values = random.integers(low if bits == 4 else low + 1, -low, (OUTPUTS, INPUTS)).astype(np.int8)
    scales = 2.0 ** random.integers(-6, -3, (OUTPUTS, blocks))
    group = BLOCK if blocks > 1 else None
    return QuantizedTensor(torch.from_numpy(values), torch.from_numpy(scales).float(), bits, group)


def expected(folder: Path, kind: str, grid: ActivationGrid) -> np.ndarray:
    """The same product in torch with ``x`` on ``grid``."""
    x = fake_quantize(torch.from_numpy(np.load(folder / "x.npy")), grid, BLOCK)
    return (x.double() @ quantized(kind).dequantize().double().T).numpy()


def _product(kind: str):
    """The operation that multiplies with a matrix, and its constants."""
    matrix, bits = quantized(kind), KINDS[kind]
    values, scales = matrix.values.numpy(), matrix.scales.numpy().ravel()
    if matrix.group is None:
        node = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft")
        return node, {"w": values.T.copy(), "s": scales}
    codes = (values.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    codes = codes.reshape(OUTPUTS, INPUTS // BLOCK, BLOCK)
    packed = codes if bits == 8 else codes[..., ::2] | codes[..., 1::2] << 4
    sizes = {"K": INPUTS, "N": OUTPUTS, "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **sizes)
    return node, {"w": packed, "s": scales}


def _model(node, constants) -> bytes:
    values = {"x": [ROWS, INPUTS], "y": [ROWS, OUTPUTS]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items())
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "product", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
