"""Other quantisers on the same weights at the same size: ONNX Runtime's own and torchao's HQQ.

All get the decoder's layers, as the ``int4`` preset does; everything else is that preset's in every row.
Their grids differ: an asymmetric one carries a zero point per group, so that HQQ takes groups of 64 to be as
large as a symmetric grid with groups of 32. Bytes count scales and real zero points in float16. Each library
dequantises its own integers.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.recipe import PRESETS
from phantom_edge.progress import Step
from phantom_edge.quantize.calibration import HELD_OUT, drawn_set
from phantom_edge.quantize.layerwise import quantize_layerwise
from phantom_edge.quantize.methods import METHODS
from phantom_edge.quantize.quality import Quality, quality
from phantom_edge.quantize.result import Quantization, overlaid

GROUP: Final = 32
REAL_ZERO_GROUP: Final = 64


@dataclass(frozen=True)
class Quantizer:
    """A quantiser of another library.

    Attributes:
        name: for the table.
        bytes_per_group: of scale and zero point, besides the integers.
        group: input features per scale.
        dequantized: a weight [out, in] to the one that its integers stand for.
    """

    name: str
    bytes_per_group: float
    group: int
    dequantized: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Comparison:
    """A quantiser, the bytes of all matrices under it, and how near its next tokens are to the original's."""

    name: str
    bytes: int
    quality: Quality

    def to_dict(self) -> dict[str, Any]:
        """One flat row for JSON."""
        return {"name": self.name, "bytes": self.bytes, **self.quality.to_dict()}


def compare(
    source: Pretrained, model: FoldedModel, quantization: Quantization, step: Step
) -> list[Comparison]:
    """Every quantiser on ``model``'s weights; ``quantization`` comes first.

    Measured on drawn pictures of the validation split, which no row was fitted to.
    """
    samples = drawn_set(source, HELD_OUT, split="validation").samples
    fitted = drawn_set(source, HELD_OUT).samples
    truth = logits(model, samples)

    def measured(name: str, other: FoldedModel, size: int) -> Comparison:
        return Comparison(name, size, quality(truth, logits(other, samples)))

    name = f"this quantisation: {quantization.recipe.name}, {quantization.method}"
    rows = [measured(name, quantization.apply(model), quantization.bytes)]
    base = model.quantized(PRESETS["int4"])
    shapes = model.module_shapes()
    layers = [name for name in shapes if name.startswith("text_decoder.layers.")]
    rest = sum(base.weights[f"{name}.weight"].nbytes for name in shapes if name not in layers)
    for method in ("rtn", "gptq"):
        step(f"comparing: int4, {method}")
        own = quantize_layerwise(model, PRESETS["int4"], METHODS[method], fitted, step=step)
        rows.append(measured(f"phantom-edge int4, {method}", own.apply(model), own.bytes))
    count = sum(math.prod(shapes[name]) for name in layers)
    for quantizer in other_quantizers():
        step(f"comparing: {quantizer.name}")
        weights = {f"{n}.weight": quantizer.dequantized(model.matrix(n)) for n in layers}
        other = replace(model, weights=LazyWeights(overlaid(base.weights, weights)))
        size = rest + count // 2 + round(quantizer.bytes_per_group * count / quantizer.group)
        rows.append(measured(quantizer.name, other, size))
    return rows


def other_quantizers() -> Iterator[Quantizer]:
    """The quantisers of other libraries that an export could have used instead."""
    for name, algorithm, bytes_per_group, group, symmetric in (
        ("RTN, symmetric", "default", 2.0, GROUP, True),
        ("RTN, asymmetric", "default", 2.5, GROUP, False),
        ("k-quant", "k_quant", 2.5, GROUP, False),
        ("HQQ", "hqq", 4.0, REAL_ZERO_GROUP, False),
    ):
        run = partial(_onnxruntime, algorithm=algorithm, group=group, symmetric=symmetric)
        yield Quantizer(f"onnxruntime {name}", bytes_per_group, group, run)
    yield Quantizer("torchao HQQ", 4.0, REAL_ZERO_GROUP, _torchao)


def _onnxruntime(weight: Tensor, algorithm: str, group: int, *, symmetric: bool) -> Tensor:
    """A weight [out, in] as ONNX Runtime dequantises it: its own kernel multiplies it with the identity."""
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
    options, proto = onnxruntime.SessionOptions(), quantizer.model.model.SerializeToString()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    (product,) = session.run(None, {"x": np.eye(weight.shape[1], dtype=np.float32)})
    return torch.from_numpy(product.T.copy())


def _matmul(weight: NDArray[np.float32]) -> Any:
    """An ONNX model of one product with ``weight`` [in, out]."""
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
    dequantized: Tensor = (blocks - zero.unsqueeze(-1)) * scale.unsqueeze(-1)
    return dequantized.flatten(1)
