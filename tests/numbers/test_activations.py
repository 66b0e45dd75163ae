"""Activation grids: worked by hand, then integer by integer against onnxruntime and XNNPACK."""

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from phantom_edge.errors import InputError
from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles
from phantom_edge.numbers.scale_search import quantize_weight

TOLERANCES = {
    # norm of the difference over norm of the result; both sides sum the same products in fp32, in another
    # order
    "product": 2e-6,
    # in steps of the grid: MatMulNBits multiplies by q + 8 and takes 8 * sum(x) away again in fp32, which
    # leaves at most 128 * 32 * 8 * 2^-24 = 0.002 of a step per operation; a wrong integer would be a whole
    # step
    "step": 0.05,
}


def relative_difference(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def spread_activations(rows, features):
    """Activations as a decoder has them: some features thirty times larger than others."""
    generator = torch.Generator().manual_seed(rows + features)
    return torch.randn(rows, features, generator=generator) * torch.randn(features, generator=generator).exp()


def weight(out_features, in_features):
    return (
        torch.randn(out_features, in_features, generator=torch.Generator().manual_seed(out_features)) * 0.03
    )


def hard_rows(features=32, rows=512):
    """Rows where ties, one-sided ranges and extreme magnitudes decide the integers."""
    generator = torch.Generator().manual_seed(0)

    def randint(low, high):
        return torch.randint(low, high, (rows, features), generator=generator).float()

    def uniform():
        return torch.rand(rows, features, generator=generator)

    noise, level = torch.randn(rows, features, generator=generator), torch.randn(rows, 1, generator=generator)
    return {
        "gaussian": noise * (3 * level).exp(),
        "positive": uniform() * level.exp(),
        "negative": -uniform() * level.exp(),
        "offset": 0.1 * noise + level,
        "small integers": randint(-8, 9),
        "quarters": randint(-255, 256) / 4,
        "zeros": torch.zeros(rows, features),
        "tiny": noise * 1e-30,
        "huge": noise * 1e30,
    }


class TestByHand:
    def test_no_grid_changes_nothing(self):
        x = torch.randn(2, 3)
        assert fake_quantize(x, ActivationGrid.NONE) is x

    def test_token_int8(self):
        # -1..2 in 255 steps: 85 per unit, zero at -43. 0.3 * 85 = 25.5, and a half goes to the even 26.
        row = fake_quantize(torch.tensor([[-1.0, 0.3, 2.0]]), ActivationGrid.TOKEN_INT8)
        torch.testing.assert_close(row, torch.tensor([[-1.0, 26 / 85, 2.0]]), rtol=1e-6, atol=0)

    def test_token_int8_moves_zero_onto_the_grid(self):
        # -1..1: 127.5 per unit; zero would be -0.5 and becomes 0. So -127.5 -> -128 fits, 127.5 -> 128 is cut
        # to 127.
        row = fake_quantize(torch.tensor([[-1.0, 0.0, 1.0]]), ActivationGrid.TOKEN_INT8)
        torch.testing.assert_close(row, torch.tensor([[-128 / 127.5, 0.0, 127 / 127.5]]), rtol=1e-6, atol=0)

    def test_tensor_uint8_matches_the_example_in_the_onnx_specification(self):
        x = torch.tensor([0.0, 2.0, -3.0, -2.5, 1.34, 0.5])
        codes = torch.tensor([153.0, 255.0, 0.0, 26.0, 221.0, 179.0])
        expected = (codes - 153) * 0.0196078438
        torch.testing.assert_close(
            fake_quantize(x, ActivationGrid.TENSOR_UINT8), expected, rtol=1e-6, atol=1e-7
        )

    def test_tensor_uint8_shares_one_range_where_the_others_do_not(self):
        x = torch.tensor([[0.011, 0.02], [1.0, 255.0]])
        assert fake_quantize(x, ActivationGrid.TENSOR_UINT8)[0].tolist() == [0.0, 0.0]
        assert fake_quantize(x[:1], ActivationGrid.TENSOR_UINT8)[0, 0] > 0.01
        for grid in (ActivationGrid.TOKEN_INT8, ActivationGrid.BLOCK_INT8):
            assert torch.equal(fake_quantize(x, grid, 2)[:1], fake_quantize(x[:1], grid, 2))

    def test_block_int8(self):
        x = torch.tensor(
            [[127.0, 2.5, -0.4, 1.27, -0.015, 0.0]]
        )  # steps of 1 and 0.01; 2.5 and -1.5 are ties
        row = fake_quantize(x, ActivationGrid.BLOCK_INT8, group=3)
        torch.testing.assert_close(
            row, torch.tensor([[127.0, 2.0, 0.0, 1.27, -0.02, 0.0]]), rtol=1e-6, atol=0
        )

    @pytest.mark.parametrize("grid", ActivationGrid)
    def test_zeros_stay_zero_and_half_precision_stays_half(self, grid):
        x = torch.zeros(2, 3, 64, dtype=torch.float16)
        assert torch.equal(fake_quantize(x, grid, 32), x)
        assert fake_quantize(x, grid, 32).dtype == torch.float16

    @pytest.mark.parametrize("group", [None, 48])
    def test_blocks_need_a_group_that_divides(self, group):
        with pytest.raises(InputError, match="do not divide 64"):
            fake_quantize(torch.zeros(2, 64), ActivationGrid.BLOCK_INT8, group)


def run_node(op, inputs, x, **attributes):
    """Run one onnxruntime contrib node y = op(x, *inputs) on the CPU; an input of None is left out."""
    given = {name: value for name, value in inputs.items() if value is not None}
    names = ["x", *(name if name in given else "" for name in inputs)]
    shape = [*x.shape[:-1], given["scales"].shape[0]]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], domain="com.microsoft", **attributes)],
        op,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def matmul_nbits(x, quantized, bias=None):
    out_features, in_features = quantized.shape
    packed = pack_nibbles(quantized.values, offset=8).unflatten(
        1, (-1, quantized.group // 2)
    )  # [out, blocks, group/2]
    inputs = {"b": packed.numpy(), "scales": quantized.scales.numpy()}
    if bias is not None:
        inputs |= {"zero_points": None, "g_idx": None, "bias": bias.numpy()}
    sizes = {"K": in_features, "N": out_features, "bits": 4, "block_size": quantized.group}
    return run_node("MatMulNBits", inputs, x, accuracy_level=4, **sizes)


def dynamic_quantize_matmul(x, quantized, bias=None):
    inputs = {
        "b": quantized.values.T.contiguous().numpy(),
        "scales": quantized.scales[:, 0].contiguous().numpy(),
    }
    if bias is not None:
        inputs |= {"zero_point": None, "bias": bias.numpy()}
    return run_node("DynamicQuantizeMatMul", inputs, x)


class TestOnnxRuntime:
    @pytest.mark.parametrize("rows", [1, 64])
    @pytest.mark.parametrize(("shape", "group"), [((48, 64), 32), ((1152, 896), 32), ((1152, 896), 128)])
    def test_matmul_nbits(self, rows, shape, group):
        quantized = quantize_weight(weight(*shape), bits=4, group=group)
        x = spread_activations(rows, shape[1])
        expected = fake_quantize(x, ActivationGrid.BLOCK_INT8, group) @ quantized.dequantize().T
        assert relative_difference(matmul_nbits(x, quantized), expected) < TOLERANCES["product"]
        assert relative_difference(x @ quantized.dequantize().T, expected) > 1000 * TOLERANCES["product"]

    @pytest.mark.parametrize("rows", [1, 64])
    @pytest.mark.parametrize("shape", [(48, 64), (1152, 896)])
    def test_dynamic_quantize_matmul(self, rows, shape):
        quantized = quantize_weight(weight(*shape), bits=8)
        x = spread_activations(rows, shape[1])
        expected = fake_quantize(x, ActivationGrid.TENSOR_UINT8) @ quantized.dequantize().T
        assert relative_difference(dynamic_quantize_matmul(x, quantized), expected) < TOLERANCES["product"]
        assert relative_difference(x @ quantized.dequantize().T, expected) > 1000 * TOLERANCES["product"]

    def test_a_batch_is_one_tensor_and_a_bias_is_added_in_float(self):
        x, bias = spread_activations(6, 64).reshape(2, 3, 64), torch.randn(48)
        eight, four = (
            quantize_weight(weight(48, 64), bits=8),
            quantize_weight(weight(48, 64), bits=4, group=32),
        )
        expected = fake_quantize(x, ActivationGrid.TENSOR_UINT8) @ eight.dequantize().T + bias
        assert relative_difference(dynamic_quantize_matmul(x, eight, bias), expected) < TOLERANCES["product"]
        expected = fake_quantize(x, ActivationGrid.BLOCK_INT8, 32) @ four.dequantize().T + bias
        assert relative_difference(matmul_nbits(x, four, bias), expected) < TOLERANCES["product"]

    @pytest.mark.parametrize("case", hard_rows())
    def test_every_integer_of_hard_activations(self, case):
        """An identity matrix shows the activations that the kernel worked with."""
        x = hard_rows()[case]
        identity = torch.eye(32, dtype=torch.int8)
        seen = dynamic_quantize_matmul(x, QuantizedTensor(identity, torch.ones(32, 1), bits=8))
        assert torch.equal(seen, fake_quantize(x, ActivationGrid.TENSOR_UINT8))
        seen = matmul_nbits(x, QuantizedTensor(identity, torch.ones(32, 1), bits=4, group=32))
        step = (x.abs().amax(1, keepdim=True) / 127).clamp_min(1e-38)
        assert ((seen - fake_quantize(x, ActivationGrid.BLOCK_INT8, 32)) / step).abs().max() < TOLERANCES[
            "step"
        ]


def xnnpack_linear(quantized, bias=None):
    """A Linear that lowers to XNNPACK's dynamically quantised fully connected with these integers."""
    from torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor import (
        IntxUnpackedToInt8Tensor,
        IntxUnpackedToInt8TensorActivationQuantization,
    )

    out_features, in_features = quantized.shape
    linear = torch.nn.Linear(in_features, out_features, bias=bias is not None)
    tensor = IntxUnpackedToInt8Tensor(
        qdata=quantized.values,
        scale=quantized.scales,
        zero_point=torch.zeros_like(quantized.scales, dtype=torch.int8),
        target_dtype=torch.int4 if quantized.bits == 4 else torch.int8,
        block_size=(1, quantized.block),
        dtype=torch.float32,
        activation_quantization=IntxUnpackedToInt8TensorActivationQuantization.INT8_ASYM_PER_TOKEN,
    )
    linear.weight = torch.nn.Parameter(tensor, requires_grad=False)
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias, requires_grad=False)
    return linear


class Bench(torch.nn.Module):
    """All the linears under test in one program, since each lowering costs seconds."""

    def __init__(self, quantized, biases):
        super().__init__()
        self.linears = torch.nn.ModuleDict(
            {k: xnnpack_linear(q, biases.get(k)) for k, q in quantized.items()}
        )

    def forward(self, hard, wide):
        return tuple(f(hard if name.startswith("identity") else wide) for name, f in self.linears.items())


IDENTITY = torch.eye(32, dtype=torch.int8)
XNNPACK_WEIGHTS = {
    "identity 4": QuantizedTensor(IDENTITY, torch.ones(32, 1), bits=4, group=32),
    "identity 8": QuantizedTensor(IDENTITY, torch.ones(32, 1), bits=8),
    "int4 32": quantize_weight(weight(1152, 896), bits=4, group=32),
    "int4 128": quantize_weight(weight(1152, 896), bits=4, group=128),
    "int8": quantize_weight(weight(1152, 896), bits=8),
}
BIAS = torch.randn(1152, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def xnnpack():
    """(bytes of the .pte, function from two inputs to a dict of outputs)."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    rows = torch.export.Dim("rows", min=1, max=512)
    module = Bench(XNNPACK_WEIGHTS, {"int8": BIAS}).eval()
    program = torch.export.export(
        module, (torch.randn(64, 32), torch.randn(64, 896)), dynamic_shapes=({0: rows}, {0: rows})
    )
    partitioners = [XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()]
    edge = to_edge_transform_and_lower(program, partitioner=partitioners)
    calls = {str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"}
    assert all("call_delegate" in call or "getitem" in call for call in calls), calls
    buffer = edge.to_executorch().buffer
    method = Runtime.get().load_program(buffer).load_method("forward")

    def run(hard, wide):
        outputs = method.execute([hard.contiguous(), wide.contiguous()])
        return {name: output.clone() for name, output in zip(XNNPACK_WEIGHTS, outputs, strict=True)}

    return buffer, run


@pytest.mark.slow
class TestXnnpack:
    def test_the_file_holds_our_integers_and_scales_bit_for_bit(self, xnnpack):
        buffer, _ = xnnpack
        for name in ("int4 32", "int4 128"):
            quantized = XNNPACK_WEIGHTS[name]
            assert pack_nibbles(quantized.values, offset=8).numpy().tobytes() in buffer
            blocks = quantized.scales.to(torch.bfloat16)
            assert torch.equal(blocks.to(torch.float32), quantized.scales)
            assert blocks.view(torch.int16).numpy().tobytes() in buffer
        assert XNNPACK_WEIGHTS["int8"].values.numpy().tobytes() in buffer
        assert XNNPACK_WEIGHTS["int8"].scales.numpy().tobytes() in buffer

    @pytest.mark.parametrize("rows", [1, 64])
    @pytest.mark.parametrize("name", ["int4 32", "int4 128", "int8"])
    def test_fully_connected(self, xnnpack, name, rows):
        x = spread_activations(rows, 896)
        dense = XNNPACK_WEIGHTS[name].dequantize().T
        bias = BIAS if name == "int8" else 0.0
        expected = fake_quantize(x, ActivationGrid.TOKEN_INT8) @ dense + bias
        actual = xnnpack[1](torch.zeros(rows, 32), x)[name]
        assert relative_difference(actual, expected) < TOLERANCES["product"]
        assert relative_difference(x @ dense + bias, expected) > 1000 * TOLERANCES["product"]

    @pytest.mark.parametrize("case", hard_rows())
    def test_every_integer_of_hard_activations(self, xnnpack, case):
        x = hard_rows()[case]
        outputs = xnnpack[1](x, torch.zeros(len(x), 896))
        expected = fake_quantize(x, ActivationGrid.TOKEN_INT8)
        step = ((x.amax(1).clamp_min(0) - x.amin(1).clamp_max(0)) / 255).clamp_min(1e-38).unsqueeze(1)
        for name in ("identity 4", "identity 8"):
            assert ((outputs[name] - expected) / step).abs().max() < TOLERANCES["step"]
