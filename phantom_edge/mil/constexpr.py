"""Arithmetic of the ``constexpr_*`` ops: compressed weights as plain tensors, in fp32 (or the integers of a
table).

Source of each formula: coremltools ``ops/defs/iOS16/constexpr_ops.py`` and ``ops/defs/iOS18/compression.py``.
Products are exact in fp32 before the caller rounds to the declared type, hence equal to one fp16
multiplication.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from phantom_edge.errors import InputError
from phantom_edge.mil.blob import unpack_bits
from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.mil.types import BY_NAME, count_elements

Params = dict[str, np.ndarray]


def dense(expr: ConstExpr) -> torch.Tensor:
    """The tensor that `expr` stands for, of its declared shape.

    Raises:
        InputError: parameters that do not fit each other.
    """
    params = {
        name: param.read() if isinstance(param, Constant) else dense(param).numpy()
        for name, param in expr.params.items()
    }
    try:
        result = CONSTEXPR[expr.op](params)
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
        raise InputError(
            f"{expr.op} {expr.name!r}: its parameters do not fit each other ({error}); export it again"
        ) from error
    if tuple(result.shape) != expr.shape:
        raise InputError(
            f"{expr.op} {expr.name!r} declares {list(expr.shape)}, its data gives {list(result.shape)}"
        )
    return result


def _floats(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _values(array: np.ndarray) -> torch.Tensor:
    """Floats as fp32, integers as they are: a table may hold integers that a later op scales."""
    return _floats(array) if array.dtype.kind == "f" else torch.tensor(array)


def _blocks(shape: tuple[int, ...], groups: tuple[int, ...]) -> list[int]:
    """`shape` with each dimension split in (groups, block)."""
    if len(shape) != len(groups) or any(size % count for size, count in zip(shape, groups, strict=True)):
        raise ValueError(f"{list(shape)} does not split into {list(groups)} blocks")
    return [part for size, count in zip(shape, groups, strict=True) for part in (count, size // count)]


def _blockwise_shift_scale(params: Params) -> torch.Tensor:
    """scale * (data - offset), each scale for one block."""
    data, scale, offset = params["data"], params["scale"], params.get("offset")
    blocks = _blocks(data.shape, scale.shape)
    per_block = [part for count in scale.shape for part in (count, 1)]
    result = _floats(data).reshape(blocks)  # [g0, b0, g1, b1, ...]
    if offset is not None:
        result -= _floats(offset).reshape(per_block)
    result *= _floats(scale).reshape(per_block)
    return result.reshape(data.shape)


def _affine_dequantize(params: Params) -> torch.Tensor:
    """scale * (quantized_data - zero_point), along one axis or for the whole tensor."""
    data = _floats(params["quantized_data"])
    shape = [1] * data.ndim
    shape[int(params["axis"])] = -1
    scale, zero = (_floats(params[name]).reshape(shape) for name in ("scale", "zero_point"))
    return (data - zero) * scale


def _lut_to_dense(params: Params) -> torch.Tensor:
    """Values looked up in a table per block; the iOS 16 form has one table and packed indices."""
    if "shape" in params:
        return _packed_lut_to_dense(params)
    indices, lut = params["indices"], params["lut"]  # [d0, ..., dk], [g0, ..., gk, palette, vector]
    groups, (palette, vector) = lut.shape[:-2], lut.shape[-2:]
    _blocks(indices.shape, groups)
    table = np.zeros((1,) * indices.ndim, dtype=np.int64)
    for axis, count in enumerate(groups):
        block = np.arange(indices.shape[axis]) // (indices.shape[axis] // count)
        table = table * count + block.reshape([-1 if i == axis else 1 for i in range(indices.ndim)])
    rows = torch.from_numpy(table * palette + indices)
    values = _values(lut).reshape(-1, vector)[rows]  # [d0, ..., dk, vector]
    if vector == 1:
        return values.squeeze(-1)
    axis = int(params["vector_axis"]) % indices.ndim
    shape = [size * vector if i == axis else size for i, size in enumerate(indices.shape)]
    return values.movedim(-1, axis + 1).reshape(shape)


def _packed_lut_to_dense(params: Params) -> torch.Tensor:
    lut, shape = _values(params["lut"]), tuple(int(size) for size in params["shape"])
    bits = int(lut.numel()).bit_length() - 1
    count = count_elements(shape, "constexpr_lut_to_dense")
    if lut.numel() != 1 << bits or params["indices"].size != -(-count * bits // 8):
        raise ValueError(
            f"{params['indices'].size} bytes of indices, {lut.numel()} table entries, shape {list(shape)}"
        )
    indices = (
        params["indices"] if bits == 8 else unpack_bits(params["indices"], BY_NAME[f"uint{bits}"], shape)
    )
    return lut[torch.from_numpy(indices.astype(np.int64))].reshape(shape)


def _cast(params: Params) -> torch.Tensor:
    return _floats(params["source_val"])


CONSTEXPR: dict[str, Callable[[Params], torch.Tensor]] = {
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_cast": _cast,
}
