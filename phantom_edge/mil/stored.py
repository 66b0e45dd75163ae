"""Weight matrices that stay in the file and become fp32 a few rows at a time, as they are multiplied with.

In fp32 the weights of a 7B model are 28 GB; the mapped file behind a piece is memory that the system can take
back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch

from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.mil.constexpr import dense
from phantom_edge.mil.types import Mode, convert, finisher
from phantom_edge.model import linear_by_rows

_BLOCKWISE: Final = "constexpr_blockwise_shift_scale"


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
        apart = value.op == _BLOCKWISE and all(_has_rows(p, value.shape[0]) for p in value.params.values())
        return cls(value, mode) if apart else None

    def linear(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """[..., D_in] -> [..., D_out]."""
        return linear_by_rows.linear(x, self.value.shape, self._rows, bias)

    def _rows(self, start: int, end: int) -> torch.Tensor:
        """Rows ``start`` to ``end`` in fp32, rounded as the whole would be."""
        part = _cut(self.value, start, end)
        if isinstance(part, ConstExpr):
            return finisher(part.dtype, self.mode)(dense(part))
        return convert(torch.from_numpy(part.read()), part.dtype)


def _has_rows(param: Constant | ConstExpr, rows: int) -> bool:
    """Whether a parameter has an entry for each row, or one for all."""
    return isinstance(param, Constant) and len(param.shape) == 2 and param.shape[0] in (1, rows)


def _cut(value: Constant | ConstExpr, start: int, end: int) -> Constant | ConstExpr:
    shape = (end - start, *value.shape[1:])
    if isinstance(value, Constant):
        return replace(value, shape=shape, read=lambda: value.rows(start, end))
    params = {name: p if p.shape[0] == 1 else _cut(p, start, end) for name, p in value.params.items()}
    return replace(value, shape=shape, params=params)
