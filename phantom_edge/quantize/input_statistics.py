"""What is known of a module's inputs: second moments, magnitudes, a few rows; samples do not make it
larger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import CheckError

ROWS: Final = 512
"""Inputs kept as they are, to try an activation grid on; taken evenly from all that come."""


@dataclass
class Moments:
    """Statistics of the inputs [..., in] of one module, added up call by call.

    ``hessian`` is X^T X over the rows so far, ``absolute`` the sum of magnitudes, ``absmax`` the largest.
    """

    name: str
    full: bool = True
    count: int = 0
    hessian: Tensor | None = None
    absolute: Tensor | None = None
    absmax: Tensor | None = None
    rows: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor) -> None:
        """Take in one call's inputs. Raises :class:`CheckError` when one of them is not finite."""
        rows = x.detach().flatten(0, -2).to(torch.float32)  # [n, in]
        size = rows.abs()
        if not bool(torch.isfinite(size.sum())):
            raise CheckError(
                f"{self.name}: an input is not finite; the checkpoint is broken, or a weight of it"
            )
        if self.absmax is None:
            width = rows.shape[1]
            self.absolute, self.absmax = torch.zeros(width), torch.zeros(width)
            self.hessian = torch.zeros(width, width) if self.full else None
        self.count += len(rows)
        self.absolute += size.sum(0)
        self.absmax = torch.maximum(self.absmax, size.amax(0))
        if self.full:
            self.hessian.addmm_(rows.T, rows)
        self.rows.append(rows[:: max(1, len(rows) // 32)][:32].clone())
        if sum(map(len, self.rows)) > 2 * ROWS:
            self.rows = [torch.cat(self.rows)[::2]]

    @property
    def second(self) -> Tensor:
        """Mean of x x^T, [in, in]."""
        return self.hessian / max(self.count, 1)

    @property
    def mean_abs(self) -> Tensor:
        return self.absolute / max(self.count, 1)

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
    """Keeps the moments of the modules that it is told to watch; hand it to a walk as ``observe``."""

    def __init__(self, modules: tuple[str, ...], *, full: bool = True):
        self.moments = {name: Moments(name, full) for name in modules}

    def __call__(self, name: str, x: Tensor) -> None:
        if name in self.moments:
            self.moments[name].add(x)
