"""Statistics of a module's inputs: second moments, magnitudes, a few rows; their size is fixed."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import CheckError

ROWS: Final = 512
"""Inputs kept as they are, to try an activation grid on; taken evenly from all."""


class InputStatistics:
    """Statistics of the inputs [..., in] of one module, added up call by call.

    ``absmax`` [in] are the largest magnitudes; properties give means over all rows so far.
    """

    def __init__(self, name: str):
        self.name, self.count = name, 0
        self.rows: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Take in one call's inputs. Raises :class:`CheckError` when one of them is not finite."""
        rows = x.detach().flatten(0, -2).to(torch.float32)  # [n, in]
        size = rows.abs()
        if not bool(torch.isfinite(size.sum())):
            raise CheckError(f"{self.name}: an input is not finite; the checkpoint is broken")
        if not self.count:
            width = rows.shape[1]
            self.absmax, self._magnitudes = torch.zeros(width), torch.zeros(width)
            self._products = torch.zeros(width, width)  # X^T X
        self.count += len(rows)
        self._magnitudes += size.sum(0)
        self.absmax = torch.maximum(self.absmax, size.amax(0))
        self._products.addmm_(rows.T, rows)
        self.rows.append(rows[:: max(1, len(rows) // 32)][:32].clone())
        if sum(map(len, self.rows)) > 2 * ROWS:
            self.rows = [torch.cat(self.rows)[::2]]

    @property
    def second(self) -> Tensor:
        """Mean of x x^T, [in, in]."""
        return self._products / max(self.count, 1)

    @property
    def mean_abs(self) -> Tensor:
        """Mean magnitude [in]."""
        return self._magnitudes / max(self.count, 1)

    @property
    def some(self) -> Tensor:
        """At most :data:`ROWS` of the inputs, [n, in]."""
        rows = torch.cat(self.rows)
        return rows[:: max(1, -(-len(rows) // ROWS))]

    @property
    def outlier(self) -> float:
        """How far the largest channel stands out: its largest magnitude over the median of all channels'."""
        return float(self.absmax.max() / self.absmax.median().clamp_min(1e-12))


class Gatherer:
    """Keeps the statistics of some modules' inputs, as an observer of a block."""

    def __init__(self, modules: tuple[str, ...]):
        self.statistics = {name: InputStatistics(name) for name in modules}

    def __call__(self, name: str, x: Tensor, y: Tensor) -> None:
        if name in self.statistics:
            self.statistics[name].add(x)
