"""LPBQ's scales: one per output channel, times an integer 1…16 for each block of input features.

Qualcomm's NPU calls its fast int4 low power block quantisation: a block's scale is stored as four bits beside
a channel's scale (AIMET's grouped block quantisation; QNN's blockwise expansion). Its compiler takes a
sixteenth of a channel's largest scale for the channel's, so a channel needs a block with the factor 16; every
other scale must then be a multiple of that sixteenth, or is rounded to one. Here such scales are chosen to
begin with, among those that every other format holds too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import SCALE_MIN, round_scale
from phantom_edge.numbers.recipe import ScaleGrid

FACTOR_MAX: Final = 16
_BITS: Final = 4
"""Significant bits of a channel's scale: a factor has four too, so that a product has at most eight."""
_OCTAVE: Final = 1 << (_BITS - 1)
_LARGEST: Final = 15 * 2.0**32
"""The largest channel scale, as a multiple of 2^-24, and its code: float16 holds sixteen times as much."""
_LAST: Final = 271
_STEPS: Final = (0, -1, 1, -2, 2, -3, 3, -4, 4)
_TINY: Final = torch.finfo(torch.float32).tiny

Nearest = Callable[[Tensor, int], Tensor]
"""The nearest legal scales to optima [out, n], of the blocks from the given one on."""


def factor_scales(scales: Tensor) -> tuple[Tensor, Tensor]:
    """Channel scales and factors, whose products are the given scales exactly.

    Args:
        scales: fp32 [out, groups], positive, as :class:`~phantom_edge.numbers.grid.QuantizedTensor` has them.

    Returns:
        Channel scales, fp32 [out], and factors, uint8 [out, groups], of 1…16; the largest of a channel's is
        always 16.

    Raises :class:`InputError`: a scale that is no such product; names its channel.

    >>> channels, factors = factor_scales(torch.tensor([[0.5, 0.25], [0.09375, 1.5]]))
    >>> channels.tolist(), factors.tolist()
    ([0.03125, 0.09375], [[16, 8], [1, 16]])
    """
    channels = _channel_scales(scales)
    factors = scales / channels.unsqueeze(1)  # [out, groups]
    # NaN fails this too.
    exact = (factors >= 1) & (factors <= FACTOR_MAX) & (factors.round() * channels.unsqueeze(1) == scales)
    if not bool(exact.all()):
        channel = int((~exact.all(dim=1)).nonzero()[0])
        raise InputError(
            f"output channel {channel}: a scale is not 1…{FACTOR_MAX} sixteenths of the largest; "
            "quantise with --scales lpbq"
        )
    return channels, factors.to(torch.uint8)


def nearest_scale(grid: ScaleGrid, scales: Tensor) -> Nearest:
    """Where the scales of a matrix may move one by one, from ``scales`` [out, groups], which are on the grid.

    On LPBQ's grid the channels' scales stay, and with them one block of each channel with the factor 16.

    >>> nearest = nearest_scale(ScaleGrid.LPBQ, torch.tensor([[0.5, 0.25]]))
    >>> nearest(torch.tensor([[0.6, 0.29]]), 0).tolist()
    [[0.5, 0.28125]]
    """
    if grid is ScaleGrid.FREE:
        return lambda optima, start: round_scale(optima)
    channels, largest = _channel_scales(scales).unsqueeze(1), scales.argmax(dim=1, keepdim=True)  # [out, 1]

    def nearest(optima: Tensor, start: int) -> Tensor:
        factors = (optima / channels).round_().clamp_(1, FACTOR_MAX)
        blocks = torch.arange(start, start + optima.shape[1], device=scales.device)
        return torch.where(largest == blocks, FACTOR_MAX, factors) * channels

    return nearest


def lpbq_scales(product: Tensor, norm: Tensor) -> Tensor:
    """The scales of least error for some proposals of integers.

    Channel scales are tried one by one; the factors follow from them in closed form.

    Args:
        product: <w, q> of a block's weights and each proposal of its integers, [d, out, groups].
        norm: <q, q> of the same.

    Returns:
        Legal scales [out, groups].
    """
    optima = product / norm.clamp_min(_TINY)
    nearest = (product * optima).argmax(
        dim=0, keepdim=True
    )  # |w - s q|^2 is |w|^2 - <w, q>^2 / <q, q> at best
    largest = optima.gather(0, nearest).amax(dim=(0, 2))  # [out]
    best = torch.full_like(largest, torch.inf)
    chosen = torch.empty_like(product[0])
    for channel in _channel_candidates(largest):
        unit = channel.unsqueeze(-1)  # [out, 1]
        factors = (optima / unit).round_().clamp_(1, FACTOR_MAX)
        errors, proposal = _errors(factors * unit, product, norm).min(dim=0)  # [out, groups]
        errors.clamp_max_(0.0)  # whatever the scale, a block can round to zeros
        # One block must have the factor 16: the one that loses least by it, none where one has it anyway.
        loss, block = (_errors(FACTOR_MAX * unit, product, norm).amin(dim=0) - errors).min(
            dim=1, keepdim=True
        )
        factors = factors.gather(0, proposal.unsqueeze(0)).squeeze(0).scatter_(1, block, float(FACTOR_MAX))
        total = errors.sum(dim=1) + loss.squeeze(1)
        better = total < best
        best = torch.where(better, total, best)
        chosen = torch.where(better.unsqueeze(1), factors * unit, chosen)
    return chosen


def _errors(scale: Tensor, product: Tensor, norm: Tensor) -> Tensor:
    """|w - s q|^2, less |w|^2."""
    return scale * (scale * norm - 2 * product)


def _channel_candidates(largest: Tensor) -> Tensor:
    """Channel scales [n, out] to try where a channel's largest scale is best near ``largest`` [out].

    The nearest first, then those around it. Their code counts them from 2^-24 on, as that of a float of four
    significant bits does.
    """
    units = (largest * (1 / (FACTOR_MAX * SCALE_MIN))).clamp_(1, _LARGEST)
    mantissa, exponent = torch.frexp(units)  # units = mantissa * 2^exponent, mantissa in 0.5..1
    normal = _OCTAVE * (exponent - _BITS) + (mantissa * 2 * _OCTAVE).round_().int()
    code = torch.where(units < _OCTAVE, units.round().int(), normal)
    steps = torch.tensor(_STEPS, dtype=torch.int32, device=largest.device).unsqueeze(1)
    code = (code + steps).clamp_(1, _LAST)  # [n, out]
    octave = torch.div(code, _OCTAVE, rounding_mode="floor").sub_(1).clamp_min_(0)
    return torch.ldexp((code - _OCTAVE * octave) * SCALE_MIN, octave)


def _channel_scales(scales: Tensor) -> Tensor:
    return scales.amax(dim=1) / FACTOR_MAX
