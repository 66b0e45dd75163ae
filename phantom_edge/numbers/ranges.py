"""Ranges of activations, measured once and fixed: the grids of uint16 on which an NPU holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

STEPS: Final = 65535


@dataclass(frozen=True)
class Range:
    """A grid of uint16: value = (integer - ``zero``) * ``scale``; the scale is a number of fp32.

    >>> Range.of(-1.0, 3.0).round(torch.tensor([-2.0, 0.0, 0.5, 9.0]))
    tensor([-1.0000,  0.0000,  0.5000,  3.0000])
    """

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Range:
        """From ``low`` to ``high``, widened where needed, so that zero is a number of the grid."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(((high - low) or 1.0) / STEPS))
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, STEPS)))

    @property
    def low(self) -> float:
        """The least number of the grid."""
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        """The greatest number of the grid."""
        return (STEPS - self.zero) * self.scale

    def round(self, x: Tensor) -> Tensor:
        """``x`` on the grid, as QuantizeLinear and DequantizeLinear compute it: halves go to even."""
        codes = torch.round(x / self.scale).add_(self.zero).clamp_(0, STEPS)
        return codes.sub_(self.zero).mul_(self.scale)


Ranges = Mapping[str, Range]
"""By the name of the place in the graph whose values lie on the grid."""


def fingerprint(ranges: Ranges) -> str:
    """SHA-256 of all grids by name, whatever file they come from."""
    digest = hashlib.sha256()
    for name, grid in sorted(ranges.items()):
        digest.update(f"{name}/{np.float32(grid.scale).tobytes().hex()}/{grid.zero};".encode())
    return digest.hexdigest()
