"""GPTQ on the common grid.

It minimises what quantisation changes in a layer's output over the calibration inputs, tr((W - Q) H (W -
Q)^T) with H = X^T X, instead of what it changes in the weights.
:func:`~phantom_edge.quantize.coordinate_descent.refine` goes on from there.

GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1) rounds one input feature after the other and lets
those that are left make up for the error; ``act_order`` takes the features with the largest H_jj first.
Scales are those of the error-searched rounding, fixed beforehand: the columns' order does not disturb groups.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import RANGES, QuantizedTensor
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.coordinate_descent import SWEEPS, refine

DAMPING: Final = 0.01
"""Of the mean of H's diagonal, added to it: the published value."""
_BLOCK: Final = 128
_EXACT: Final = 2048  # up to this width the factors are computed in fp64
_ELEMENTS: Final = 1 << 24
"""Of a weight worked on at a time: 64 MB in fp32, a few copies of which are in memory."""
_ROWS: Final = 2048  # at most, so that a batch of 128 columns stays in the processor's cache
_MOST_DAMPING: Final = 10.0


def gptq(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    group: int | None = None,
    *,
    act_order: bool = True,
    damping: float = DAMPING,
    sweeps: int | None = None,
    scales: ScaleGrid = ScaleGrid.FREE,
) -> QuantizedTensor:
    """Quantise a weight matrix for the inputs it meets.

    Args:
        weight: [out, in], float.
        hessian: [in, in], the inputs' second moments X^T X, in any scale.
        bits: 4 or 8.
        group: input features per scale; None for one scale per output channel.
        act_order: take the features with the largest second moment first.
        damping: share of the diagonal's mean that is added to it; raised tenfold as long as H stays singular.
        sweeps: of the coordinate descent that follows; None is the grid's :data:`SWEEPS` for int4, else 0.
        scales: the grid of the scales.

    Returns:
        Integers and scales on the common grid. Inputs that were all zero give the error-searched rounding.

    Raises :class:`InputError`: shapes that do not fit, a value that is not finite, an H that stays singular.

    >>> x = torch.randn(256, 64)
    >>> gptq(torch.randn(8, 64), x.T @ x, bits=4, group=32).shape
    (8, 64)
    """
    check_hessian(weight, hessian)
    sweeps = (SWEEPS[scales] if bits == 4 else 0) if sweeps is None else sweeps
    mean = float(hessian.diagonal().mean())
    if mean <= 0:
        return quantize_weight(weight, bits, group, scales=scales)
    importance = (hessian.diagonal().float() / mean).clamp_min(0)
    start = quantize_weight(weight, bits, group, importance, scales)
    h, factor = damped(hessian.to(torch.float32) / mean, damping, act_order)
    order = _order(h, act_order)
    parts = []
    rows = min(_ROWS, max(1, _ELEMENTS // weight.shape[1]))
    for at in range(0, len(weight), rows):  # output features are independent: a few at a time
        part = slice(at, at + rows)
        some, nearest = weight[part], QuantizedTensor(start.values[part], start.scales[part], bits, group)
        values = _round_in_order(some.float()[:, order], nearest, factor, order)
        rounded = QuantizedTensor(values, nearest.scales, bits, group)
        # Where the inputs say little GPTQ may end above its start; descend from the better of the two.
        if objective(some, nearest, h) < objective(some, rounded, h):
            rounded = nearest
        parts.append(refine(some, rounded, h, sweeps, scales))
    values, chosen = torch.cat([p.values for p in parts]), torch.cat([p.scales for p in parts])
    return QuantizedTensor(values, chosen, bits, group)


def objective(weight: Tensor, quantized: QuantizedTensor, hessian: Tensor) -> float:
    """tr((W - Q) H (W - Q)^T): the squared change of the outputs, summed over inputs and output features."""
    h, total = hessian.to(torch.float32), 0.0
    rows = max(1, _ELEMENTS // weight.shape[1])
    for at in range(0, len(weight), rows):
        part = slice(at, at + rows)
        codes = quantized.values[part].float().unflatten(1, (-1, quantized.block))  # [rows, in/block, block]
        changed = (codes * quantized.scales[part].unsqueeze(-1)).flatten(1) - weight[part].float()
        total += float(((changed @ h) * changed).sum(dtype=torch.float64))
    return total


def damped(h: Tensor, damping: float, act_order: bool = False) -> tuple[Tensor, Tensor]:
    """H made positive definite, and the upper Cholesky factor of its inverse in the order of rounding.

    Features that were always zero get a diagonal of one, which leaves them to plain rounding. Raises
    :class:`InputError` when no damping helps.
    """
    h = h.clone()
    h.diagonal()[h.diagonal() <= 0] = 1.0
    diagonal = h.diagonal().clone()
    share, mean = damping, float(diagonal.mean())
    while share <= _MOST_DAMPING:
        h.diagonal().copy_(diagonal + share * mean)
        if (factor := _factor(h, act_order)) is not None:
            return h, factor
        share *= 10
    raise InputError("the second moments of its inputs are singular; calibrate with more samples")


def check_hessian(weight: Tensor, hessian: Tensor) -> None:
    """Raise :class:`InputError` unless both are matrices that fit each other and H is finite."""
    if weight.ndim != 2 or tuple(hessian.shape) != (weight.shape[1],) * 2:
        raise InputError(f"second moments are {list(hessian.shape)}, the weight {list(weight.shape)}")
    if not bool(torch.isfinite(hessian).all()):
        raise InputError("the second moments of its inputs are not finite; an activation overflowed")


def _order(h: Tensor, act_order: bool) -> Tensor:
    if not act_order:
        return torch.arange(len(h))
    return torch.argsort(h.diagonal(), descending=True, stable=True)


def _factor(h: Tensor, act_order: bool) -> Tensor | None:
    order = _order(h, act_order)
    # One variable for all, so that of a wide layer's (0.8 GB each at 14336) at most two are in memory.
    factor = h[order[:, None], order].to(torch.float64 if len(h) <= _EXACT else torch.float32)
    factor, failed = torch.linalg.cholesky_ex(factor)
    if failed:
        return None
    factor = torch.cholesky_inverse(factor)
    factor, failed = torch.linalg.cholesky_ex(factor, upper=True)
    return None if failed or not bool(torch.isfinite(factor).all()) else factor.float()


def _round_in_order(weight: Tensor, grid: QuantizedTensor, factor: Tensor, order: Tensor) -> Tensor:
    """Algorithm 1 with lazy batches, for ``weight`` [out, in] with its columns in the order of rounding."""
    low, high = RANGES[grid.bits]
    columns = weight.clone()
    scales = grid.scales[:, order // grid.block]  # [out, in]
    values = torch.empty_like(columns, dtype=torch.int8)
    for start in range(0, columns.shape[1], _BLOCK):
        end = min(start + _BLOCK, columns.shape[1])
        part, scale = (t[:, start:end].T.contiguous() for t in (columns, scales))  # [batch, out]
        codes, errors = torch.empty_like(part), torch.empty_like(part)
        inverse = factor[start:end, start:end]
        for j in range(end - start):
            codes[j] = (part[j] / scale[j]).round_().clamp_(low, high)
            errors[j] = (part[j] - codes[j] * scale[j]) / inverse[j, j]
            part[j:].addr_(inverse[j, j:], errors[j], alpha=-1)
        values[:, order[start:end]] = codes.T.to(torch.int8)
        columns[:, end:].addmm_(errors.T, factor[start:end, end:], alpha=-1)
    return values
