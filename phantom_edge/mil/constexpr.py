"""The compressed weights of a program as plain tensors in fp32.

Source of the formula: ``constexpr_blockwise_shift_scale`` in coremltools' ``iOS18/compression.py``. Its
products are exact in fp32 before the caller rounds to the declared type: one fp16 multiplication.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.mil.constants import ConstExpr

BLOCKWISE: Final = "constexpr_blockwise_shift_scale"


def dense(expr: ConstExpr) -> torch.Tensor:
    """scale * (data - offset), a scale per block. Raises :class:`InputError` where they do not fit."""
    where = f"{expr.op} {expr.name!r}"
    params = {name: param.read() for name, param in expr.params.items()}
    try:
        result = _scaled(params["data"], params["scale"], params.get("offset"))
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
        raise InputError(f"{where}: its parameters do not fit each other ({error}); export again") from error
    if tuple(result.shape) != expr.shape:
        raise InputError(f"{where} declares {list(expr.shape)}, its data gives {list(result.shape)}")
    return result


def _scaled(data: NDArray[Any], scale: NDArray[Any], offset: NDArray[Any] | None) -> torch.Tensor:
    per_block = [part for count in scale.shape for part in (count, 1)]
    result = _floats(data).reshape(_blocks(data.shape, scale.shape))  # [g0, b0, g1, b1, ...]
    if offset is not None:
        result -= _floats(offset).reshape(per_block)
    result *= _floats(scale).reshape(per_block)
    return result.reshape(data.shape)


def _floats(array: NDArray[Any]) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _blocks(shape: tuple[int, ...], groups: tuple[int, ...]) -> list[int]:
    """`shape` with each dimension split in (groups, block)."""
    if len(shape) != len(groups) or any(size % count for size, count in zip(shape, groups, strict=True)):
        raise ValueError(f"{list(shape)} does not split into {list(groups)} blocks")
    return [part for size, count in zip(shape, groups, strict=True) for part in (count, size // count)]
