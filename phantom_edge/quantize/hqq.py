"""HQQ (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models").

Without data: the error is split into a sparse part E, by a shrinkage operator that favours few large errors
(p < 1), and a rest whose zero point has a closed form. Both steps alternate over packed integers:

    E <- shrink(W - dequantised, beta, p)        zero <- mean(Q - (W - E) / scale)

:func:`solve` is that, on asymmetric four-bit codes, as HQQ publishes it and torchao and ONNX Runtime carry
it. The common grid of this toolkit is symmetric, so that all formats can hold it: there the zero point is
fixed and the closed form is the scale's, <W - E, Q> / <Q, Q>, which is :func:`hqq`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from phantom_edge.numbers.grid import RANGES, QuantizedTensor, pack_nibbles, round_scale, unpack_nibbles
from phantom_edge.numbers.scale_search import quantize_weight

P_NORM: Final = 0.7
BETA: Final = 10.0
KAPPA: Final = 1.01
ROUNDS: Final = 20
"""The published values."""


@dataclass(frozen=True, eq=False)
class Asymmetric:
    """Four-bit codes with a zero point that is no integer: weight = (code - zero) * scale.

    Attributes:
        packed: uint8 [out, in / 2], two codes a byte, first low.
        scales: fp32 [out, in / group].
        zeros: fp32 [out, in / group], in units of a code.
        group: input features that share both.
    """

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    group: int

    @property
    def codes(self) -> Tensor:
        """uint8 [out, in], 0..15."""
        return (unpack_nibbles(self.packed, 2 * self.packed.shape[1]) & 0xF).to(torch.uint8)

    def dequantize(self) -> Tensor:
        """[out, in] in fp32."""
        blocks = self.codes.float().unflatten(1, (-1, self.group))  # [out, in/group, group]
        return torch.flatten((blocks - self.zeros.unsqueeze(-1)) * self.scales.unsqueeze(-1), 1)


def shrink(error: Tensor, beta: float, p: float = P_NORM) -> Tensor:
    """The generalised soft threshold: sign(x) max(|x| - |x|^(p - 1) / beta, 0), element by element."""
    return error.sign() * torch.relu(error.abs() - error.abs().pow(p - 1) / beta)


def solve(weight: Tensor, group: int, rounds: int = ROUNDS) -> Asymmetric:
    """HQQ's own form: codes 0..15 with scales from the range and zero points from the alternation.

    Args:
        weight: [out, in], float.
        group: input features per scale, a divisor of ``in``.
        rounds: at most; it stops when the mean absolute error no longer falls.

    Example:
        >>> solve(torch.randn(4, 64), 64).dequantize().shape
        torch.Size([4, 64])
    """
    blocks = weight.float().unflatten(1, (-1, group))  # [out, in/group, group]
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    steps = (15.0 / (high - low).clamp_min(1e-8)).clamp_max(2e4)  # codes per unit
    zero = (-low * steps).round_()
    best, beta = torch.inf, BETA
    kept = zero
    for _ in range(rounds):
        codes = (blocks * steps + zero).round_().clamp_(0, 15)
        restored = (codes - zero) / steps
        error = float((blocks - restored).abs().mean())
        if error >= best:
            break
        best, kept = error, zero
        sparse = shrink(blocks - restored, beta)
        zero = (codes - (blocks - sparse) * steps).mean(-1, keepdim=True)
        beta *= KAPPA
    codes = (blocks * steps + kept).round_().clamp_(0, 15)
    packed = pack_nibbles(codes.flatten(1).to(torch.int8))
    return Asymmetric(packed, (1 / steps).squeeze(-1), kept.squeeze(-1), group)


def hqq(weight: Tensor, bits: int, group: int | None = None, rounds: int = ROUNDS) -> QuantizedTensor:
    """The same alternation on the common, symmetric grid, from the error-searched scales on.

    Each block keeps the scale whose error in the p-norm was least; none is worse than where it began.

    Args:
        weight: [out, in], float.
        bits: 4 or 8.
        group: input features per scale; None for one scale per output channel.
        rounds: of the alternation.
    """
    low, high = RANGES[bits]
    start = quantize_weight(weight, bits, group)
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
        scale = round_scale(torch.where((norm > 0) & (optimum > 0), optimum, scale))
        beta *= KAPPA
    codes = (blocks / kept).round_().clamp_(low, high)
    return QuantizedTensor(codes.flatten(1).to(torch.int8), kept.squeeze(-1), bits, group)
