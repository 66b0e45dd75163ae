"""Weight matrices that stay in the file and become fp32 a few rows at a time, as they are multiplied with.

The system can take the memory of a mapped file back; in fp32 a 7B model's weights are 28 GB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.mil.constexpr import BLOCKWISE, dense
from phantom_edge.mil.types import Mode, convert, finisher
from phantom_edge.model import linear_by_rows


@dataclass(frozen=True)
class StoredMatrix:
    """A constant [D_out, D_in] that is never in fp32 as a whole. Use :meth:`of`."""

    value: Constant | ConstExpr
    mode: Mode

    @classmethod
    def of(cls, value: Constant | ConstExpr, mode: Mode) -> StoredMatrix | None:
        """``value`` where its rows can be read by themselves, else None: it has to be made whole."""
        if len(value.shape) != 2 or not value.dtype.is_float:
            return None
        if isinstance(value, Constant):
            return cls(value, mode)
        apart = value.op == BLOCKWISE and all(_has_rows(p, value.shape[0]) for p in value.params.values())
        return cls(value, mode) if apart else None

    def linear(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """[..., D_in] -> [..., D_out]."""
        return linear_by_rows.linear(x, (self.value.shape[0], self.value.shape[1]), self._rows, bias)

    def _rows(self, start: int, end: int) -> torch.Tensor:
        """Rows ``start`` to ``end`` in fp32, rounded as the whole would be."""
        part = _cut(self.value, start, end)
        if isinstance(part, ConstExpr):
            return finisher(part.dtype, self.mode)(dense(part))
        return convert(torch.from_numpy(part.read()), part.dtype)


def _has_rows(param: Constant, rows: int) -> bool:
    """Whether a parameter has an entry for each row, or one for all."""
    return len(param.shape) == 2 and param.shape[0] in (1, rows)


def _cut(value: Constant | ConstExpr, start: int, end: int) -> Constant | ConstExpr:
    if isinstance(value, Constant):
        return _cut_constant(value, start, end)
    params = {n: p if p.shape[0] == 1 else _cut_constant(p, start, end) for n, p in value.params.items()}
    return replace(value, shape=(end - start, *value.shape[1:]), params=params)


def _cut_constant(value: Constant, start: int, end: int) -> Constant:
    return replace(value, shape=(end - start, *value.shape[1:]), read=lambda: value.rows(start, end))
