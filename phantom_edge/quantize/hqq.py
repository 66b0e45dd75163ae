"""HQQ (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models").

Without data: the error is split into a sparse part E, by a shrinkage operator that favours few large errors
(p < 1), and a rest whose zero point has a closed form. Both steps alternate over the integers Q:

    E <- shrink(W - dequantised, beta, p)        zero <- mean(Q - (W - E) / scale)

The common grid of this toolkit is symmetric, so that all formats can hold it: there the zero point is fixed,
and the closed form is the scale's, <W - E, Q> / <Q, Q>.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from phantom_edge.numbers.grid import RANGES, QuantizedTensor
from phantom_edge.numbers.lpbq import nearest_scale
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight

P_NORM: Final = 0.7
BETA: Final = 10.0
KAPPA: Final = 1.01
ROUNDS: Final = 20
"""The published values."""


def shrink(error: Tensor, beta: float, p: float = P_NORM) -> Tensor:
    """The generalised soft threshold: sign(x) max(|x| - |x|^(p - 1) / beta, 0), element by element."""
    return error.sign() * torch.relu(error.abs() - error.abs().pow(p - 1) / beta)


def hqq(
    weight: Tensor,
    bits: int,
    group: int | None = None,
    rounds: int = ROUNDS,
    scales: ScaleGrid = ScaleGrid.FREE,
) -> QuantizedTensor:
    """The alternation on the common, symmetric grid, from the error-searched scales on.

    Each block keeps the scale whose error in the p-norm was least; none is worse than where it began.

    Args:
        weight: [out, in], float.
        bits: 4 or 8.
        group: input features per scale; None for one scale per output channel.
        rounds: of the alternation.
        scales: the grid of the scales.
    """
    low, high = RANGES[bits]
    start = quantize_weight(weight, bits, group, scales=scales)
    nearest = nearest_scale(scales, start.scales)
    blocks = weight.float().unflatten(1, (-1, start.block))  # [out, in/block, block]
    scale, beta = start.scales.unsqueeze(-1), BETA
    kept, best = scale, torch.full_like(scale, torch.inf)
    for _ in range(rounds):
        codes = (blocks / scale).round_().clamp_(low, high)
        error = blocks - codes * scale
        size = error.abs().pow(P_NORM).sum(-1, keepdim=True)
        kept, best = torch.where(size < best, scale, kept), torch.minimum(size, best)
        sparse = shrink(error / kept, beta) * kept  # beta is in units of a step: no weight's scale matters
        norm = codes.square().sum(-1, keepdim=True)
        optimum = ((blocks - sparse) * codes).sum(-1, keepdim=True) / norm.clamp_min(1.0)
        optimum = torch.where((norm > 0) & (optimum > 0), optimum, scale)
        scale = nearest(optimum.squeeze(-1), 0).unsqueeze(-1)
        beta *= KAPPA
    codes = (blocks / kept).round_().clamp_(low, high)
    return QuantizedTensor(codes.flatten(1).to(torch.int8), kept.squeeze(-1), bits, group)
