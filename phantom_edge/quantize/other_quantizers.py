"""Other quantisers on the same weights at the same size: ONNX Runtime's own and torchao's HQQ.

All get the decoder's layers, as the ``int4`` preset does; everything else is that preset's in every row.
Their grids differ: an asymmetric one carries a zero point per group, so that HQQ takes groups of 64 to be as
large as a symmetric grid with groups of 32. Bytes count scales and real zero points in float16. What a
quantised matrix stands for is asked of the library that made it.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.recipe import PRESETS
from phantom_edge.progress import Step
from phantom_edge.quantize import blockwise
from phantom_edge.quantize.calibration import drawn_set
from phantom_edge.quantize.job import HELD_OUT
from phantom_edge.quantize.layerwise import METHODS, Quantization, overlaid, quantize_layerwise
from phantom_edge.quantize.quality import quality

Quantizer = Callable[[Tensor], Tensor]
GROUP: Final = 32
REAL_ZERO_GROUP: Final = 64


def compare(source: Pretrained, model: FoldedModel, found: Quantization, step: Step) -> list[dict[str, Any]]:
    """KL divergence, agreement and bytes of every quantiser; the row of ``found`` is first.

    Measured on drawn pictures of the validation split, which no row was fitted to.
    """
    samples = drawn_set(source, HELD_OUT, split="validation").samples
    fitted = drawn_set(source, HELD_OUT).samples
    truth = blockwise.logits(model.spec, model.weights, samples)
    rows: list[dict[str, Any]] = []

    def add(name: str, other: FoldedModel, size: int) -> None:
        result = quality(truth, blockwise.logits(other.spec, other.weights, samples))
        rows.append({"name": name, "bytes": size, **result.to_dict()})

    modules = sum(row.bytes for row in found.rows)
    add(f"this quantisation: {found.recipe.name}, {found.method}", found.apply(model), modules)
    base = model.quantized(PRESETS["int4"])
    layers = [name for name in model.module_shapes() if name.startswith("text_decoder.layers.")]
    rest = sum(base.weights[f"{n}.weight"].nbytes for n in model.module_shapes() if n not in layers)
    for method in ("rtn", "gptq"):
        step(f"comparing: int4, {method}")
        own = quantize_layerwise(model, PRESETS["int4"], METHODS[method], fitted, step=step)
        add(f"phantom-edge int4, {method}", own.apply(model), sum(row.bytes for row in own.rows))
    count = sum(model.weights[f"{n}.weight"].numel() for n in layers)
    for name, per_group, group, quantizer in _rivals():
        step(f"comparing: {name}")
        weights = {f"{n}.weight": quantizer(model.weights[f"{n}.weight"]) for n in layers}
        other = FoldedModel(
            model.spec, LazyWeights(overlaid(base.weights, weights)), model.fold, model.first_id
        )
        add(name, other, rest + count // 2 + round(per_group * count / group))
    return rows


def _rivals() -> Iterator[tuple[str, float, int, Quantizer]]:
    """Name, bytes per group besides the integers, group size, and the quantiser itself."""
    yield (
        "onnxruntime RTN, symmetric",
        2.0,
        GROUP,
        lambda w: _onnxruntime(w, "default", GROUP, symmetric=True),
    )
    yield (
        "onnxruntime RTN, asymmetric",
        2.5,
        GROUP,
        lambda w: _onnxruntime(w, "default", GROUP, symmetric=False),
    )
    yield "onnxruntime k-quant", 2.5, GROUP, lambda w: _onnxruntime(w, "k_quant", GROUP, symmetric=False)
    yield (
        "onnxruntime HQQ",
        4.0,
        REAL_ZERO_GROUP,
        lambda w: _onnxruntime(w, "hqq", REAL_ZERO_GROUP, symmetric=False),
    )
    yield "torchao HQQ", 4.0, REAL_ZERO_GROUP, _torchao


def _onnxruntime(weight: Tensor, algorithm: str, group: int, *, symmetric: bool) -> Tensor:
    """A weight [out, in] as ONNX Runtime's quantiser leaves it: its own kernel multiplies it with the
    identity.
    """
    import onnxruntime
    from onnxruntime.quantization import matmul_nbits_quantizer as tools

    for name in ("onnxruntime.quantization.matmul_nbits_quantizer", "neural_compressor"):
        logging.getLogger(name).setLevel(logging.ERROR)
    configs = {
        "default": lambda: tools.DefaultWeightOnlyQuantConfig(block_size=group, is_symmetric=symmetric),
        "k_quant": tools.KQuantWeightOnlyQuantConfig,
        "hqq": lambda: tools.HQQWeightOnlyQuantConfig(block_size=group, bits=4),
    }
    quantizer = tools.MatMulNBitsQuantizer(
        _matmul(weight.numpy().T), block_size=group, is_symmetric=symmetric, algo_config=configs[algorithm]()
    )
    with contextlib.redirect_stdout(io.StringIO()):  # some of them draw a progress bar, where JSON may be due
        quantizer.process()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        quantizer.model.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (product,) = session.run(None, {"x": np.eye(weight.shape[1], dtype=np.float32)})
    return torch.from_numpy(product.T.copy())


def _matmul(weight: np.ndarray):
    """A model of one product with ``weight`` [in, out]."""
    from onnx import TensorProto, helper, numpy_helper

    width, out = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", out])],
        [numpy_helper.from_array(np.ascontiguousarray(weight), "w")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _torchao(weight: Tensor) -> Tensor:
    """The same by torchao's HQQ, scales and zero points in float32."""
    from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_affine_hqq as quantize

    codes, scale, zero, _ = quantize(
        weight, 4, REAL_ZERO_GROUP, compute_dtype=torch.float32, device="cpu", raw_output=True
    )
    blocks = codes.float().unflatten(1, (-1, REAL_ZERO_GROUP))  # [out, in/group, group]
    return ((blocks - zero.unsqueeze(-1)) * scale.unsqueeze(-1)).flatten(1)
