"""GPTQ on the common grid, and coordinate descent from where it ends.

Both minimise what quantisation changes in a layer's output over the calibration inputs, tr((W - Q) H (W - Q)^T) with
H = X^T X, instead of what it changes in the weights.

GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1) rounds one input feature after the other and lets those that
are left make up for the error; ``act_order`` takes the features with the largest H_jj first. Scales are those of the
error-searched rounding, fixed beforehand, so that the order of columns does not disturb the groups.

:func:`refine` then goes over the columns again, each moved to the best integer given all the others, and each scale to
its own optimum (cyclic coordinate descent: QuantEase, Behdin et al. 2023, arXiv 2309.01885, section 3; the step for the
scales is the closed form of the same quadratic). No step can make the objective worse.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.quantize.grid import RANGES, QuantizedTensor, round_scale
from phantom_edge.quantize.search import quantize_weight

DAMPING: Final = 0.01
"""Of the mean of H's diagonal, added to it: the published value."""
SWEEPS: Final = 2
"""Of the coordinate descent over int4: the second gains about three percent of the objective, a fourth less than two.
Over int8 there is none: it gains on the calibration inputs and nothing beyond them, at several times the work."""
_BLOCK: Final = 128
_EXACT: Final = 2048  # up to this width the factors are computed in fp64
_ELEMENTS: Final = 1 << 25
"""Of a weight worked on at a time: 128 MB in fp32, a few copies of which are in memory."""
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
) -> QuantizedTensor:
    """Quantise a weight matrix for the inputs it meets.

    Args:
        weight: [out, in], float.
        hessian: [in, in], the inputs' second moments X^T X, in any scale.
        bits: 4 or 8.
        group: input features per scale; None for one scale per output channel.
        act_order: take the features with the largest second moment first.
        damping: share of the diagonal's mean that is added to it; raised tenfold as long as H stays singular.
        sweeps: of the coordinate descent that follows; None takes :data:`SWEEPS` for int4, and none for int8.

    Returns:
        Integers and scales on the common grid. Inputs that were all zero give the error-searched rounding.

    Raises:
        InputError: shapes that do not fit, a value that is not finite, an H that no damping makes positive definite.

    Example:
        >>> x = torch.randn(256, 64)
        >>> gptq(torch.randn(8, 64), x.T @ x, bits=4, group=32).shape
        (8, 64)
    """
    check_hessian(weight, hessian)
    sweeps = (SWEEPS if bits == 4 else 0) if sweeps is None else sweeps
    mean = float(hessian.diagonal().mean())
    if mean <= 0:
        return quantize_weight(weight, bits, group)
    h = hessian.to(torch.float32) / mean
    start = quantize_weight(weight, bits, group, importance=h.diagonal().clamp_min(0))
    h, factor = damped(h, damping, act_order)
    order = _order(h, act_order)
    parts = []
    rows = max(1, _ELEMENTS // weight.shape[1])
    for at in range(0, len(weight), rows):  # output features do not know of each other: a few at a time
        part = slice(at, at + rows)
        piece, grid = weight[part], QuantizedTensor(start.values[part], start.scales[part], bits, group)
        values = _round_in_order(piece.float()[:, order], grid, factor, order)
        first = QuantizedTensor(values, grid.scales, bits, group)
        # Where the inputs say little GPTQ may end above its start; descend from the better of the two.
        best = min((first, grid), key=lambda q, piece=piece: objective(piece, q, h))
        parts.append(refine(piece, best, h, sweeps))
    values, scales = (torch.cat(tensors) for tensors in zip(*((p.values, p.scales) for p in parts), strict=True))
    return QuantizedTensor(values, scales, bits, group)


def refine(weight: Tensor, quantized: QuantizedTensor, hessian: Tensor, sweeps: int = SWEEPS) -> QuantizedTensor:
    """Coordinate descent on tr((W - Q) H (W - Q)^T) over integers and scales; never above where it began.

    Args:
        weight: [out, in].
        quantized: where to begin.
        hessian: [in, in], positive definite.
        sweeps: passes over all columns.
    """
    low, high = RANGES[quantized.bits]
    h, block = hessian.to(torch.float32), quantized.block
    codes, scales = quantized.values.float(), quantized.scales.clone()
    diagonal = h.diagonal()
    residual = (weight.float() - quantized.dequantize()) @ h  # [out, in]
    for _ in range(sweeps):
        for g in range(scales.shape[1]):
            scale = scales[:, g : g + 1]  # [out, 1]
            for start in range(g * block, (g + 1) * block, _BLOCK):
                end = min(start + _BLOCK, (g + 1) * block)
                part, before = h[start:end, start:end], codes[:, start:end].clone()
                local = residual[:, start:end].clone()
                for j in range(start, end):
                    old = codes[:, j].clone()
                    wanted = old + local[:, j - start] / (diagonal[j] * scale[:, 0])
                    codes[:, j] = wanted.round_().clamp_(low, high)
                    moved = (codes[:, j] - old) * scale[:, 0]
                    local -= moved[:, None] * part[j - start]
                residual -= ((codes[:, start:end] - before) * scale) @ h[start:end]
            _rescale(codes, scales, residual, h, g, block)
    return QuantizedTensor(codes.to(torch.int8), scales, quantized.bits, quantized.group)


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

    Features that were never seen get a diagonal of one, which leaves them to plain rounding. Raises
    :class:`InputError` when no damping helps.
    """
    h = h.clone()
    unseen = h.diagonal() <= 0
    h.diagonal()[unseen] = 1.0
    share, mean = damping, float(h.diagonal().mean())
    while share <= _MOST_DAMPING:
        trial = h.clone()
        trial.diagonal().add_(share * mean)
        if (factor := _factor(trial, act_order)) is not None:
            return trial, factor
        share *= 10
    raise InputError(
        "the second moments of its inputs are singular, however much is added; calibrate with more samples"
    )


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
    permuted = h[order][:, order].to(torch.float64 if len(h) <= _EXACT else torch.float32)
    lower, failed = torch.linalg.cholesky_ex(permuted)
    if failed:
        return None
    upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    return None if failed or not bool(torch.isfinite(upper).all()) else upper.float()


def _round_in_order(weight: Tensor, grid: QuantizedTensor, factor: Tensor, order: Tensor) -> Tensor:
    """Algorithm 1 with lazy batches: ``weight`` [out, in] with its columns already in order; integers in theirs."""
    low, high = RANGES[grid.bits]
    columns = weight.clone()
    scales = grid.scales[:, order // grid.block]  # [out, in]
    codes = torch.empty_like(columns)
    for start in range(0, columns.shape[1], _BLOCK):
        end = min(start + _BLOCK, columns.shape[1])
        part, errors = columns[:, start:end].clone(), torch.zeros_like(columns[:, start:end])
        inverse = factor[start:end, start:end]
        for j in range(end - start):
            scale = scales[:, start + j]
            codes[:, start + j] = (part[:, j] / scale).round_().clamp_(low, high)
            error = (part[:, j] - codes[:, start + j] * scale) / inverse[j, j]
            part[:, j:] -= error[:, None] * inverse[j, j:]
            errors[:, j] = error
        columns[:, end:] -= errors @ factor[start:end, end:]
    values = torch.empty_like(codes, dtype=torch.int8)
    values[:, order] = codes.to(torch.int8)
    return values


def _rescale(codes: Tensor, scales: Tensor, residual: Tensor, h: Tensor, g: int, block: int) -> None:
    """Move the scales of group ``g`` to their optimum for these integers, in place, where that gains anything."""
    inside = slice(g * block, (g + 1) * block)
    q = codes[:, inside]
    gain = (residual[:, inside] * q).sum(1)
    curve = ((q @ h[inside, inside]) * q).sum(1)
    old = scales[:, g]
    wanted = old + gain / curve.clamp_min(torch.finfo(torch.float32).tiny)
    new = round_scale(torch.where((curve > 0) & (wanted > 0), wanted, old))
    moved = new - old
    moved = torch.where(moved * (moved * curve - 2 * gain) < 0, moved, torch.zeros_like(moved))
    scales[:, g] = torch.where(moved != 0, new, old)
    residual -= (moved[:, None] * q) @ h[inside]
