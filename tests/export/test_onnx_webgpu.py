"""The WebGPU form of the ONNX export, on the CPU: integers, structure, rounding, and operations that the GPU
has.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from folded_models import Exports, backend_logits, folded, integers, quantized, random_ids, torch_logits
from onnx_models import CHUNK, CONTEXT, embed, tile

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx import packing, webgpu
from phantom_edge.export.onnx_layout import find
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.onnx_backend import OnnxBackend
from phantom_edge.runtime.verify import UNROUNDED

ORDER = tolerances.structure("onnx-webgpu", "unrounded").limit
HALF = tolerances.structure("onnx-webgpu", "integer").limit
# Kernels of ONNX Runtime's WebGPU execution provider (webgpu_execution_provider.cc,
# webgpu_contrib_kernels.cc), as far as these graphs could use them.
ON_GPU = {
    "Add", "Cast", "Concat", "Conv", "Expand", "Gather", "Gelu", "GroupQueryAttention", "Identity",
    "LayerNormalization", "MatMul", "MatMulNBits", "Mul", "MultiHeadAttention", "ReduceSum", "Reshape",
    "RotaryEmbedding", "Shape", "Sigmoid", "SimplifiedLayerNormalization", "Slice", "Softmax", "Split", "Sub",
    "Transpose",
}  # fmt: skip


def write_half(model, out):
    return webgpu.export(model, ExportOptions(CONTEXT, CHUNK, "fp16", (2,)), out, lambda _: None)


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("webgpu"), write_half, "int4")


@pytest.fixture(scope="module")
def some(checkpoint_dirs):
    """The first and the last checkpoint: with and without biases and a tied head."""
    paths = list(checkpoint_dirs.values())
    return [paths[0], paths[-1]]


def load(folder, **options) -> OnnxBackend:
    return OnnxBackend(folder, context=CONTEXT, chunk=CHUNK, threads=1, **options)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """As verify has it: the largest difference over the root mean square."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.sqrt(np.square(wanted).mean()))


@pytest.mark.parametrize(
    ("recipe", "suffix"), [("int4", "_q4f16"), ("int8", "_quantized"), ("fp16", "_fp16")]
)
def test_files_operations_and_types(exports, some, recipe, suffix):
    folder, exported = exports(some[0], recipe)
    for graph, path in exported.files.items():
        assert path.stem.endswith(suffix)
        assert find(folder, graph) == folder / path
    for graph in ("vision_encoder", "text_decoder"):
        model = onnx.load(folder / exported.files[graph], load_external_data=False)
        assert {node.op_type for node in model.graph.node} <= ON_GPU
        half = {
            v.name for v in (*model.graph.input, *model.graph.output) if v.type.tensor_type.elem_type == 10
        }
        assert half == {
            v.name for v in (*model.graph.input, *model.graph.output) if v.name.startswith(("past", "pres"))
        }


@pytest.mark.parametrize("recipe", ["int4", "int8"])
def test_the_files_hold_the_models_integers_bit_for_bit(exports, checkpoint_dirs, recipe):
    for checkpoint in checkpoint_dirs.values():
        wanted, found = (
            integers(quantized(checkpoint, recipe)),
            webgpu.stored_weights(exports(checkpoint, recipe)[0]),
        )
        assert found.keys() == wanted.keys()
        for module, weight in wanted.items():
            assert torch.equal(found[module].values, weight.values), module
            assert torch.equal(found[module].scales, weight.scales), module
            assert (found[module].bits, found[module].group) == (weight.bits, weight.group), module


@pytest.mark.parametrize("inputs", [32, 40, 96, 192, 256])
def test_channels_in_blocks_and_back(inputs):
    values = torch.randint(
        -127, 128, (3, inputs), dtype=torch.int8, generator=torch.Generator().manual_seed(0)
    )
    weight = QuantizedTensor(values, torch.tensor([[0.5], [0.25], [1.0]]), 8)
    packed, scales = packing.pack_channels(weight)
    assert packed.shape[:2] == scales.shape
    assert packed.shape[2] >= 32
    assert packed[0, 0, 0] == int(values[0, 0]) + 128
    again = packing.unpack_channels(packed, scales.numpy(), inputs)
    assert torch.equal(again.values, values)
    assert torch.equal(again.scales, weight.scales)
    uneven = scales.clone()
    uneven[1, -1] *= 2
    if scales.shape[1] > 1:
        with pytest.raises(InputError, match="one per output channel"):
            packing.unpack_channels(packed, uneven.numpy(), inputs)
    with pytest.raises(InputError, match="expected uint8 blocks"):
        packing.unpack_channels(packed, scales.numpy(), inputs + 1000)


@pytest.mark.parametrize("recipe", ["int4", "int8", "fp16"])
@pytest.mark.parametrize("fold", ["exact", "rank:8"])
def test_lifted_to_fp32_every_value_agrees(exports, some, recipe, fold):
    for checkpoint in some:
        model = quantized(checkpoint, recipe, fold)
        backend = load(exports(checkpoint, recipe, fold)[0], mode="lifted")
        pixels, embeds = tile(model), embed(model, random_ids(model, 40))
        assert (
            error(backend.encode_image(pixels), model.encode_image(torch.from_numpy(pixels)).numpy()) < ORDER
        )
        assert error(backend_logits(backend, embeds, [16, 23, 1]), torch_logits(model, embeds)) < ORDER


@pytest.mark.parametrize("recipe", ["int4", "int8"])
def test_in_fp16_it_agrees_as_far_as_fp16_goes(exports, some, recipe):
    for checkpoint in some:
        model, backend = quantized(checkpoint, recipe), load(exports(checkpoint, recipe)[0])
        pixels, embeds = tile(model), embed(model, random_ids(model, 40))
        found, wanted = backend.encode_image(pixels), model.encode_image(torch.from_numpy(pixels)).numpy()
        assert 1e-5 < error(found, wanted) < HALF  # the lower bound: it is fp16 that ran
        assert error(backend_logits(backend, embeds, [39, 1]), torch_logits(model, embeds)) < HALF
        assert next(iter(backend.make_cache().buffers.values())).numpy().dtype == np.float16


def test_without_phantom_it_is_another_model(exports, some):
    for checkpoint in some:
        embeds = embed(folded(checkpoint), random_ids(folded(checkpoint), 40))
        exact, off = (load(exports(checkpoint, "fp16", fold)[0]) for fold in ("exact", "off"))
        wanted = torch_logits(quantized(checkpoint, "fp16"), embeds)
        assert error(backend_logits(exact, embeds, [40]), wanted) < 0.2 * error(
            backend_logits(off, embeds, [40]), wanted
        )


@pytest.mark.parametrize("quant", ["int4", "int8"])
def test_verify_passes_it(some, quant, tmp_path):
    request = ExportRequest(
        target="webgpu",
        quantize=QuantizeOptions(quant),
        model=str(some[0]),
        context=600,
        max_tiles=1,
        output=tmp_path / "b",
    )
    report = export(request).report
    assert report.ok, report.failures
    assert UNROUNDED in report.groups


def test_a_value_that_fp16_arithmetic_cannot_hold_is_named(some, tmp_path):
    model = quantized(some[0], "int4")
    weights = {name: model.weights[name] for name in model.weights}
    weights["text_decoder.norm.weight"] = weights["text_decoder.norm.weight"].float() + 1e6
    with pytest.raises(InputError, match=r"text_decoder.norm.weight: .* fp16 arithmetic .* --quant fp32"):
        write_half(replace(model, weights=weights), tmp_path)
