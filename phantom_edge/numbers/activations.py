"""What each runtime does to the activations of a quantised matmul, in torch.

A runtime that multiplies integers first rounds the activations to a grid of its own. `fake_quantize(x, grid,
group)` returns the values on that grid, so that `fake_quantize(x, ...) @ weight.dequantize().T` is the
runtime's own product up to fp32 summation order, and `verify` can tell a wrong graph from right quantisation.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor


class ActivationGrid(Enum):
    """How a runtime rounds the input of a quantised matmul.

    Attributes:
        NONE: not at all (Core ML: weights only).
        TOKEN_INT8: asymmetric int8 per row (XNNPACK, dynamically quantised fully connected).
        TENSOR_UINT8: asymmetric uint8 over the whole tensor (ONNX Runtime, DynamicQuantizeMatMul): the result
            of a row depends on its neighbours, so prefill in chunks differs from prefill at once.
        BLOCK_INT8: symmetric int8 per row and weight group (x86 ONNX Runtime, MatMulNBits at level 4).
    """

    NONE = "none"
    TOKEN_INT8 = "token_int8"
    TENSOR_UINT8 = "tensor_uint8"
    BLOCK_INT8 = "block_int8"


GridOf = Callable[[QuantizedTensor], ActivationGrid]
"""The grid on which a runtime holds the input of a product with this weight."""


def fake_quantize(x: Tensor, grid: ActivationGrid, group: int | None = None) -> Tensor:
    """Move activations to the values that a runtime's integer matmul works with.

    Args:
        x: [..., in], float.
        grid: the runtime's grid.
        group: the weight's group size; only BLOCK_INT8 needs it.

    Returns:
        [..., in] in the type of `x`; the arithmetic is fp32, as the runtimes'.

    Raises :class:`InputError`: BLOCK_INT8 without a group that divides `in`.

    >>> fake_quantize(torch.tensor([[0.0, 0.4, 127.0]]), ActivationGrid.BLOCK_INT8, group=3).tolist()
    [[0.0, 0.0, 127.0]]
    """
    if grid is ActivationGrid.NONE:
        return x
    values = x.to(torch.float32)
    if grid is ActivationGrid.TOKEN_INT8:
        values = _token_int8(values)
    elif grid is ActivationGrid.TENSOR_UINT8:
        values = _tensor_uint8(values)
    else:
        if not group or x.shape[-1] % group:
            raise InputError(f"activation blocks of {group} do not divide {x.shape[-1]} input features")
        values = _block_int8(values, group)
    return values.to(x.dtype)


def _token_int8(x: Tensor) -> Tensor:
    # XNNPACK, src/xnnpack/quantization.h (xnn_qd8_asymmetric_quantization_params), in its order of
    # operations. It works with the reciprocal of the step, and takes the zero point from the end of the range
    # that is met more exactly.
    low = x.amin(dim=-1, keepdim=True).clamp_max(0.0)  # [..., 1]
    high = x.amax(dim=-1, keepdim=True).clamp_min(0.0)
    steps = torch.where(high == low, torch.ones_like(low), _divide(255.0, high - low))  # steps per unit
    from_low, from_high = -128.0 + low * steps, 127.0 + high * steps
    zero = torch.where(from_low + from_high > 0, -128.0 - low * steps, 127.0 - high * steps)
    zero = zero.clamp_(-128.0, 127.0).round_()
    codes = torch.clamp(x * steps, min=-128.0 - zero, max=127.0 - zero).round_()
    return codes * (1.0 / steps)


def _tensor_uint8(x: Tensor) -> Tensor:
    # ONNX's DynamicQuantizeLinear: one range over the tensor, widened to hold zero; halves to even.
    low = x.amin().clamp_max(0.0)
    high = x.amax().clamp_min(0.0)
    step = torch.where(high == low, torch.ones_like(low), (high - low) / 255.0)
    zero = (0.0 - low / step).clamp_(0.0, 255.0).round_()
    codes = torch.round(x / step).add_(zero).clamp_(0.0, 255.0)
    return (codes - zero) * step


def _block_int8(x: Tensor, group: int) -> Tensor:
    # MLAS, QuantizeARow_CompInt8: multiplies by the reciprocal 127 / absmax, then back by absmax / 127.
    blocks = x.unflatten(-1, (-1, group))  # [..., in/group, group]
    absmax = blocks.abs().amax(dim=-1, keepdim=True)
    steps = torch.where(absmax == 0, torch.zeros_like(absmax), _divide(127.0, absmax))
    return torch.flatten(torch.round(blocks * steps) * (absmax / 127.0), -2)  # [..., in]


def _divide(numerator: float, denominator: Tensor) -> Tensor:
    # `number / tensor` multiplies by a rounded reciprocal, at times one bit off the runtimes' division:
    # enough to turn a half the other way, as one in a thousand small integers showed.
    return torch.div(torch.full_like(denominator, numerator), denominator)
