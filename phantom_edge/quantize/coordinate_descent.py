"""Coordinate descent over integers and scales, from where GPTQ or any other rounding ends.

Every column of a weight is moved to the best integer given all the others, and every scale to its own optimum
(cyclic coordinate descent: QuantEase, Behdin et al. 2023, arXiv 2309.01885, section 3; the step for the
scales is the closed form of the same quadratic). No step can make tr((W - Q) H (W - Q)^T) worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from phantom_edge.numbers.grid import RANGES, QuantizedTensor
from phantom_edge.numbers.lpbq import Nearest, nearest_scale
from phantom_edge.numbers.recipe import ScaleGrid

SWEEPS: Final = {ScaleGrid.FREE: 2, ScaleGrid.LPBQ: 4}
"""Over int4: the second gains about three percent of the objective, a fourth less than two. On LPBQ's grid
integers have to make up for scales that hardly move: four sweeps take two percent of the KL divergence off.
Over int8 there is none: it gains on the calibration inputs and nothing beyond them, at several times the
work."""
_BATCH: Final = 128  # columns that are moved before all others are updated


def refine(
    weight: Tensor, start: QuantizedTensor, hessian: Tensor, sweeps: int, grid: ScaleGrid = ScaleGrid.FREE
) -> QuantizedTensor:
    """Coordinate descent on tr((W - Q) H (W - Q)^T) over integers and scales; never above where it began.

    Args:
        weight: [out, in].
        start: where to begin.
        hessian: [in, in], positive definite.
        sweeps: passes over all columns.
        grid: of the scales; those of ``start`` are on it.
    """
    if not sweeps:
        return start
    h, block = hessian.to(torch.float32), start.block
    codes, scales = start.values.float(), start.scales.clone()
    nearest = nearest_scale(grid, scales)
    residual = (weight.float() - start.dequantize()) @ h  # [out, in]
    for _ in range(sweeps):
        for columns in _batches(codes.shape[1], block):
            moved = _batch(codes, scales, residual, h, columns, start, nearest)
            residual.addmm_(moved, h[columns], alpha=-1)
            if block > _BATCH and columns.stop % block == 0:  # the last batch of a group
                group = slice(columns.stop - block, columns.stop)
                g = columns.start // block
                moved = _rescale(codes.T[group], scales[:, g], residual.T[group], h[group, group], nearest, g)
                residual.addmm_(moved.T, h[group], alpha=-1)
    return QuantizedTensor(codes.to(torch.int8), scales, start.bits, start.group)


def _batches(width: int, block: int) -> Iterator[slice]:
    """Columns that share a batch: several whole groups, or a part of one."""
    if block <= _BATCH:
        step = _BATCH // block * block
        yield from (slice(start, min(start + step, width)) for start in range(0, width, step))
        return
    for group in range(0, width, block):
        for start in range(group, group + block, _BATCH):
            yield slice(start, min(start + _BATCH, group + block))


def _batch(
    codes: Tensor,
    scales: Tensor,
    residual: Tensor,
    h: Tensor,
    columns: slice,
    quantized: QuantizedTensor,
    nearest: Nearest,
) -> Tensor:
    """Move integers and scales of some columns, in place; the change of their weights [out, columns]."""
    low, high = RANGES[quantized.bits]
    block, part = quantized.block, h[columns, columns]
    # A column's entries side by side in memory, and all that changes in the processor's cache.
    q, left = codes[:, columns].T.contiguous(), residual[:, columns].T.contiguous()  # [columns, out]
    first = columns.start // block
    groups = scales[:, first : -(-columns.stop // block)].T.contiguous()  # [groups, out]
    size = min(block, len(q))
    before = q * groups.repeat_interleave(size, 0)
    for g, scale in enumerate(groups):
        inside = slice(g * size, (g + 1) * size)
        for j in range(inside.start, inside.stop):
            code = (left[j] / (scale * part[j, j])).add_(q[j]).round_().clamp_(low, high)
            left.addr_(part[j], (code - q[j]).mul_(scale), alpha=-1)
            q[j] = code
        if block <= _BATCH:
            square = part[inside, inside]
            moved = _rescale(q[inside], scale, left[inside], square, nearest, first + g)
            left.addmm_(part[:, inside], moved, alpha=-1)
    codes[:, columns] = q.T
    scales[:, first : first + len(groups)] = groups.T
    return (q * groups.repeat_interleave(size, 0) - before).T


def _rescale(q: Tensor, scale: Tensor, residual: Tensor, h: Tensor, nearest: Nearest, group: int) -> Tensor:
    """Move one group's scales [out] to their optimum for its integers, in place, where that gains anything.

    ``q`` and ``residual`` are [block, out]. Returns by how much the weights changed, in the same shape.
    """
    gain = (residual * q).sum(0)
    curve = ((h @ q) * q).sum(0)
    optimum = scale + gain / curve.clamp_min(torch.finfo(torch.float32).tiny)
    optimum = torch.where((curve > 0) & (optimum > 0), optimum, scale)
    new = nearest(optimum.unsqueeze(1), group).squeeze(1)
    moved = new - scale
    better = moved * (moved * curve - 2 * gain) < 0
    scale.copy_(torch.where(better, new, scale))
    return torch.where(better, moved, torch.zeros_like(moved)) * q
