"""Round-to-nearest with a searched scale: the integers that every exporter writes.

For each block a handful of scales is tried. Each proposes integers q; for those integers the best scale has a
closed form, <w, q> / <q, q>, which is rounded to the scale grid and judged by its squared error. The
candidates only have to find the right integers, so ten of them reach what a plain grid of sixty does (0.0860
relative error on Gaussian weights in groups of 32, where absmax / 7 gives 0.0971).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import RANGES, QuantizedTensor, round_scale
from phantom_edge.numbers.lpbq import lpbq_scales
from phantom_edge.numbers.recipe import ScaleGrid

# Candidate steps as absmax / divisor. Up to 7 nothing is clipped; 7.5 shares the loss between both ends; 8 is
# for a block whose extreme is negative, since -8 exists and +8 does not (llama.cpp's Q4_0 gives the others a
# negative scale, which XNNPACK refuses); above 8 the extremes are clipped on purpose.
_DIVISORS: Final = {
    4: (6.67, 7.0, 7.25, 7.5, 7.75, 8.0, 8.4, 8.8, 9.3, 10.0),
    8: (127.0, 130.0, 134.0, 140.0, 150.0, 165.0, 190.0),
}
_COARSE_DIVISORS: Final = (5.5, 4.5, 3.5, 2.5, 1.5)
"""For blocks much smaller than their channel's largest: LPBQ's least scale is a sixteenth of that one's."""
_CHUNK: Final = 1 << 19
"""Elements worked on at a time: 2 MB of fp32, so that the passes over a chunk stay in the cache."""


def quantize_weight(
    weight: Tensor,
    bits: int,
    group: int | None = None,
    importance: Tensor | None = None,
    scales: ScaleGrid = ScaleGrid.FREE,
) -> QuantizedTensor:
    """Quantise a weight matrix with the scale of each block chosen by least squared error.

    Args:
        weight: [out, in], any float type.
        bits: 4 or 8.
        group: input features per scale; None for one scale per output channel.
        importance: optional [in], non-negative: weight of an input feature's error, as the mean square of
            the activations that meet it. Less than 1e-4 of the mean counts as that much.
        scales: the grid of the scales.

    Returns:
        The integers and scales; the same ones on every call. Extra memory is a few megabytes.

    Raises :class:`InputError`: not a matrix, a group that does not divide `in`, a value that is not finite.

    >>> q = quantize_weight(torch.randn(8, 64), bits=4, group=32)
    >>> q.values.dtype, tuple(q.scales.shape)
    (torch.int8, (8, 2))
    """
    _check(weight, bits, group, importance)
    out_features, in_features = weight.shape
    block = group or in_features
    values = torch.empty(out_features, in_features, dtype=torch.int8, device=weight.device)
    chosen = torch.empty(out_features, in_features // block, dtype=torch.float32, device=weight.device)
    search = _search if scales is ScaleGrid.FREE else _search_lpbq
    rows = max(1, _CHUNK // in_features)
    error_weight = None
    if importance is not None:
        floored = _floored(importance.to(weight.device, torch.float32))
        error_weight = floored.unflatten(0, (-1, block))  # [in/block, block]
    for start in range(0, out_features, rows):
        part = slice(start, start + rows)
        blocks = weight[part].detach().to(torch.float32).unflatten(1, (-1, block))  # [rows, in/block, block]
        if not bool(torch.isfinite(blocks.sum(dim=(1, 2))).all()) and not bool(torch.isfinite(blocks).all()):
            row = start + int((~torch.isfinite(blocks)).flatten(1).any(dim=1).nonzero()[0])
            raise InputError(f"weight: row {row} holds a value that is not finite")
        best, codes = search(blocks, bits, error_weight)
        values[part] = codes.flatten(1)  # [rows, in]
        chosen[part] = best.squeeze(-1)  # [rows, in/block]
    return QuantizedTensor(values, chosen, bits, group)


def _search(blocks: Tensor, bits: int, error_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scales [..., n, 1] and fp32 integers [..., n, block] for blocks [..., n, block]."""
    low, high = RANGES[bits]
    empty = blocks.abs().amax(dim=-1, keepdim=True) == 0
    best_error = torch.full_like(blocks[..., :1], torch.inf)
    best_scale = torch.ones_like(best_error)  # what an all-zero block keeps: any legal constant would do
    for product, norm in _proposals(blocks, bits, error_weight, _DIVISORS[bits]):
        scale = round_scale(product / norm.clamp_min(torch.finfo(torch.float32).tiny))
        error = scale * (scale * norm - 2 * product)  # |w - s q|^2 less |w|^2, which all candidates share
        better = (error < best_error) & ~empty
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
    return best_scale, (blocks / best_scale).round_().clamp_(low, high)


def _search_lpbq(blocks: Tensor, bits: int, error_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same on LPBQ's grid, for blocks [out, n, block] of whole channels."""
    low, high = RANGES[bits]
    proposals = _proposals(blocks, bits, error_weight, _DIVISORS[bits] + _COARSE_DIVISORS)
    product, norm = (torch.stack(parts).squeeze(-1) for parts in zip(*proposals, strict=True))  # [d, out, n]
    scales = lpbq_scales(product, norm).unsqueeze(-1)
    return scales, (blocks / scales).round_().clamp_(low, high)


def _proposals(
    blocks: Tensor, bits: int, error_weight: Tensor | None, divisors: tuple[float, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """<w, q> and <q, q> of the integers that each candidate scale gives, [..., n, 1]."""
    low, high = RANGES[bits]
    absmax = blocks.abs().amax(dim=-1, keepdim=True)
    weighted = blocks if error_weight is None else blocks * error_weight
    for divisor in divisors:
        # round_scale of the candidate too: a very small block must not be judged on a finer grid
        codes = (blocks / round_scale(absmax / divisor)).round_().clamp_(low, high)
        product = (weighted * codes).sum(dim=-1, keepdim=True)
        square = codes.square_() if error_weight is None else codes.square_().mul_(error_weight)
        yield product, square.sum(dim=-1, keepdim=True)


def _check(weight: Tensor, bits: int, group: int | None, importance: Tensor | None) -> None:
    if bits not in RANGES:
        raise InputError(f"bits must be 4 or 8, not {bits}")
    if weight.ndim != 2 or not weight.is_floating_point() or weight.numel() == 0:
        raise InputError(f"weight must be a float matrix [out, in], not {weight.dtype} {list(weight.shape)}")
    if group is not None and (group < 1 or weight.shape[1] % group):
        raise InputError(f"groups of {group} do not divide {weight.shape[1]} input features")
    if importance is not None:
        if tuple(importance.shape) != (weight.shape[1],):
            raise InputError(f"importance must be [{weight.shape[1]}], not {list(importance.shape)}")
        if not bool(torch.isfinite(importance).all()) or bool((importance < 0).any()):
            raise InputError("importance must be finite and not negative")


def _floored(importance: Tensor) -> Tensor:
    # A feature that calibration never saw still has to come out near its weight: with an importance of zero
    # any integer would do, and a block of such features would have no best scale at all.
    mean = float(importance.mean())
    return importance.clamp_min(1e-4 * mean) if mean > 0 else torch.ones_like(importance)
