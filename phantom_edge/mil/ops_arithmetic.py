"""Ops that compute: element-wise, activations, normalisation, products, convolution, attention; all in fp32.

Semantics: coremltools' ``elementwise_binary``, ``activation``, ``normalization``, ``linear``, ``conv`` and
``iOS18/transformers``. Only what the exporters of this package emit is here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from phantom_edge.mil.registry import op
from phantom_edge.mil.stored import StoredMatrix
from phantom_edge.mil.types import BY_NAME, MAX_COMPUTED, convert, count_elements

op("add")(lambda x, y: torch.add(x, y))
op("sub")(lambda x, y: torch.sub(x, y))
op("mul")(lambda x, y: torch.mul(x, y))
op("less_equal")(lambda x, y: torch.le(x, y))
op("sigmoid")(lambda x: torch.sigmoid(x))
op("silu")(lambda x: F.silu(x))
op("softmax", host="axis")(lambda x, axis=-1: torch.softmax(x, axis))


@op("gelu", host="mode")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])


@op("cast", host="dtype", fresh=False)
def cast(x: Tensor, dtype: str) -> Tensor:
    """To fp16 the interpreter rounds afterwards, by the declared type, and only in typed mode."""
    return convert(x, BY_NAME[dtype])


@op("layer_norm", host="axes epsilon")
def layer_norm(
    x: Tensor,
    axes: list[int] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Over any `axes`; gamma and beta have the shape of x along them, in rising order."""
    normed = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes))
    shape = [x.shape[axis] for axis in normed]
    if normed == list(range(x.ndim - len(normed), x.ndim)):
        return F.layer_norm(x, shape, gamma, beta, epsilon)
    centred = x - x.mean(normed, keepdim=True)
    result = centred / torch.sqrt(centred.square().mean(normed, keepdim=True) + epsilon)
    wide = [x.shape[axis] if axis in normed else 1 for axis in range(x.ndim)]
    result = result if gamma is None else result * gamma.reshape(wide)
    return result if beta is None else result + beta.reshape(wide)


@op("linear")
def linear(x: Tensor, weight: Tensor | StoredMatrix, bias: Tensor | None = None) -> Tensor:
    if isinstance(weight, StoredMatrix):
        return weight.linear(x, bias)
    return F.linear(x, weight, bias)  # [..., D_in] x [D_out, D_in] -> [..., D_out]


@op("matmul", host="transpose_x transpose_y")
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    x = x.transpose(-1, -2) if transpose_x else x
    y = y.transpose(-1, -2) if transpose_y else y
    return torch.matmul(x, y)


@op("conv", host="strides pad_type pad dilations groups")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    dilations: list[int] | None = None,
    groups: int = 1,
) -> Tensor:
    """1-D to 3-D convolution: [n, C_in, *D], [C_out, C_in / groups, *K] -> [n, C_out, *D_out]."""
    spatial = x.ndim - 2
    strides, dilations = strides or [1] * spatial, dilations or [1] * spatial
    before_after = _conv_padding(x, weight, strides, dilations, pad_type, pad)
    if any(before_after):
        sizes = [size + 2 * max(map(abs, before_after)) for size in x.shape[2:]]
        count_elements((*x.shape[:2], *sizes), "conv", MAX_COMPUTED)
        pairs = [before_after[2 * i : 2 * i + 2] for i in reversed(range(spatial))]  # from the last axis
        x = F.pad(x, [amount for pair in pairs for amount in pair])
    function = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    return function(x, weight, bias, stride=strides, dilation=dilations, groups=groups)


def _conv_padding(
    x: Tensor, weight: Tensor, strides: list[int], dilations: list[int], pad_type: str, pad: list[int] | None
) -> list[int]:
    """[before, after] for each spatial axis."""
    spatial = x.ndim - 2
    if pad_type == "custom":
        return pad or [0] * (2 * spatial)
    if pad_type == "valid":
        return [0] * (2 * spatial)
    result = []
    for size, kernel, stride, dilation in zip(x.shape[2:], weight.shape[2:], strides, dilations, strict=True):
        window = (kernel - 1) * dilation + 1
        total = max(0, stride * math.ceil(size / stride) - size + window - stride)
        small, large = total // 2, total - total // 2
        result += {"same": [small, large], "same_lower": [large, small]}[pad_type]
    return result


@op("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """softmax(Q K^T / sqrt(E) + mask) V over [B, *, L, E], [B, *, S, E], [B, *, S, EV].

    Written out, because torch's own op gives 0 where a row is masked whole: Core ML's formula gives NaN
    there, and such a row is a fault to be seen. The op broadcasts no batch dimension and has no `scale`.
    """
    if query.shape[:-2] != key.shape[:-2] or query.shape[:-2] != value.shape[:-2]:
        shapes = ", ".join(str(list(x.shape)) for x in (query, key, value))
        raise ValueError(f"batch dimensions differ: {shapes}")
    scores = torch.matmul(query * (1.0 / math.sqrt(query.shape[-1])), key.transpose(-1, -2))  # [B, *, L, S]
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores += attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)  # [B, *, L, EV]
