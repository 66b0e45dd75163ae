"""Scales on LPBQ's grid on Qualcomm's NPU, as its compiler and its emulator on x86 have it.

The compiler makes low power block quantisation of a ``MatMulNBits`` between uint16 activations, and rounds
the scales of the blocks to sixteenths of each channel's largest. On this grid that changes nothing.
"""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from qnn_bundles import emulator

from phantom_edge.errors import InputError
from phantom_edge.export.onnx.packing import pack_blocks
from phantom_edge.export.qnn_chips import CHIPS
from phantom_edge.export.qnn_provider import BLOCKS
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.lpbq import factor_scales
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.runtime.npu_process import NpuProcess

pytestmark = emulator

ROWS, IN, OUT, BLOCK = 16, 256, 64, 32
STEP = 1.0  # of the outputs' uint16


@pytest.fixture(scope="module")
def npu(tmp_path_factory):
    """Runs a model's bytes on ``x``, on the NPU or its emulator, with or without LPBQ."""
    folder = tmp_path_factory.mktemp("npu")
    process = NpuProcess(folder)

    def run(model: bytes, x: np.ndarray, *, lpbq: bool) -> np.ndarray:
        path = folder / "product.onnx"
        path.write_bytes(model)
        product = process.open("product", path, CHIPS["SM8650"], {BLOCKS: str(int(lpbq))})
        return product.run({"x": x[None]})["y"][0]

    return run


def product(weight: QuantizedTensor, x_scale: float, y_scale: float) -> bytes:
    """Activations in uint16, symmetric about 32768, times ``weight``, in uint16 again."""
    zero = numpy_helper.from_array(np.uint16(32768), "zero")
    constants = [zero, numpy_helper.from_array(pack_blocks(weight), "w")]
    for name, value in (
        ("s", weight.scales.numpy()),
        ("xs", np.float32(x_scale)),
        ("ys", np.float32(y_scale)),
    ):
        constants.append(numpy_helper.from_array(value, name))
    sizes = {"K": IN, "N": OUT, "bits": 4, "block_size": BLOCK}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "zero"], ["xd"]),
        helper.make_node("MatMulNBits", ["xd", "w", "s"], ["p"], domain="com.microsoft", **sizes),
        helper.make_node("QuantizeLinear", ["p", "ys", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "zero"], ["y"]),
    ]
    shapes = {"x": [1, ROWS, IN], "y": [1, ROWS, OUT]}
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])] for name in "xy"]
    graph = helper.make_graph(nodes, "product", *ends, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def errors(npu, scales: torch.Tensor | ScaleGrid, lpbq: bool = True) -> np.ndarray:
    """What the NPU gives beside the product of the rounded activations with the integers, in output steps."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(OUT, IN, generator=generator), torch.randn(ROWS, IN, generator=generator).double()
    if isinstance(scales, ScaleGrid):
        weight = quantize_weight(weight * 0.02, 4, BLOCK, scales=scales)
    else:
        weight = QuantizedTensor((weight * 3).clamp(-8, 7).to(torch.int8), scales, 4, BLOCK)
    x_scale = float(np.float32(x.abs().max() / 32767))
    ideal = (x / x_scale).round() * x_scale @ weight.dequantize().double().T  # [ROWS, OUT]
    y_scale = float(np.float32(ideal.abs().max() / 32000))
    y = npu(product(weight, x_scale, y_scale), x.float().numpy(), lpbq=lpbq)
    return (torch.from_numpy(y).double() - ideal).numpy() / y_scale


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def test_it_adds_nothing_to_the_rounding_of_activations(npu):
    """Beyond that the outputs are within about a step of theirs, of which their own rounding is a half."""
    products = errors(npu, ScaleGrid.LPBQ)
    assert rms(products) < STEP
    assert np.abs(products).max() < 2 * STEP
    assert rms(errors(npu, ScaleGrid.LPBQ, lpbq=False)) < 5  # in fp16, where the scales are left alone
    assert rms(errors(npu, ScaleGrid.FREE)) > 100


def test_a_channel_needs_a_block_with_the_factor_16(npu):
    """With another largest factor the compiler derives another channel's scale: the grid is no wider."""
    factors = torch.tensor([16.0, 11, 5, 3, 1, 7, 2, 9]).repeat(OUT, 1)
    assert rms(errors(npu, factors * 2.0**-8)) < STEP
    factors[:, 0] = 15
    assert rms(errors(npu, factors * 2.0**-8)) > 100
    with pytest.raises(InputError, match="output channel 0"):
        factor_scales(factors * 2.0**-8)
