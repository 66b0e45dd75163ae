"""Element types of MIL: how each is declared, stored in files and computed with.

Source: ``DataType`` of MIL.proto and ``BlobDataType`` of the MIL blob storage, as written by coremltools 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError, shown

Mode = Literal["lifted", "typed"]
MODES: tuple[Mode, ...] = ("lifted", "typed")

# A file may declare any size. More elements than this in one tensor is a broken file, not a phone's model.
MAX_ELEMENTS = 2**32
# Of a value that is computed: a weight lies in the file, a result takes its memory from nowhere.
MAX_COMPUTED = 2**28


@dataclass(frozen=True)
class DType:
    """One element type: its `bits` in a file, the `numpy` type handed out, the `torch_dtype` computed with.

    Floats are fp32 tensors in both modes: typed mode rounds each result to the declared type, so that an fp16
    value is an fp32 number which fp16 can represent, and no matmul converts its weights. uint16 and uint32
    are one size up, since torch computes with neither.
    """

    name: str
    bits: int
    numpy: np.dtype
    torch_dtype: torch.dtype
    blob_code: int | None = None

    @property
    def is_float(self) -> bool:
        return self.torch_dtype is torch.float32

    @property
    def is_signed(self) -> bool:
        return not self.name.startswith("uint")


def _table() -> dict[int, DType]:
    rows = [  # proto code, name, bits, numpy, torch, blob code
        (1, "bool", 8, np.bool_, torch.bool, None),
        (10, "fp16", 16, np.float16, torch.float32, 1),
        (11, "fp32", 32, np.float32, torch.float32, 2),
        (21, "int8", 8, np.int8, torch.int8, 4),
        (22, "int16", 16, np.int16, torch.int16, 6),
        (23, "int32", 32, np.int32, torch.int32, 14),
        (24, "int64", 64, np.int64, torch.int64, None),
        (25, "int4", 4, np.int8, torch.int8, 8),
        (31, "uint8", 8, np.uint8, torch.uint8, 3),
        (32, "uint16", 16, np.uint16, torch.int32, 7),
        (33, "uint32", 32, np.uint32, torch.int64, 15),
        (35, "uint4", 4, np.uint8, torch.uint8, 11),
    ]
    return {
        code: DType(name, bits, np.dtype(numpy), computed, blob)
        for code, name, bits, numpy, computed, blob in rows
    }


BY_PROTO_CODE = _table()
BY_NAME = {dtype.name: dtype for dtype in BY_PROTO_CODE.values()}
# Strings (modes, pad types, dtype names) are host values: no tensor of them exists.
STRING = DType("str", 8, np.dtype(object), torch.uint8)
_STRING_CODE = 2


@dataclass(frozen=True)
class TensorType:
    """Type of an input, output or state.

    Attributes:
        dtype: MIL name of the element type, as declared ("fp16", "int32", ...), whatever the mode.
        shape: one entry per dimension; None where it is flexible.
        ranges: per dimension (lower, upper), upper None for unbounded; empty unless the package gives ranges.
        enumerated: every shape allowed; empty unless the package enumerates them.
    """

    dtype: str
    shape: tuple[int | None, ...]
    ranges: tuple[tuple[int, int | None], ...] = ()
    enumerated: tuple[tuple[int, ...], ...] = ()

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this `shape` may be given for it."""
        if len(shape) != len(self.shape):
            return False
        if self.enumerated and shape not in self.enumerated:
            return False
        if any(size is not None and size != given for size, given in zip(self.shape, shape, strict=True)):
            return False
        bounds = zip(shape, self.ranges, strict=True) if self.ranges else ()
        return all(low <= size and (high is None or size <= high) for size, (low, high) in bounds)

    def __str__(self) -> str:
        if self.enumerated:
            return f"{self.dtype} one of {', '.join(str(list(shape)) for shape in self.enumerated)}"
        dims = [str(dim) if dim is not None else "?" for dim in self.shape]
        for i, (low, high) in enumerate(self.ranges):
            if self.shape[i] is None:
                dims[i] = f"{low}..{'' if high is None else high}"
        return f"{self.dtype} [{', '.join(dims)}]"


def parse_type(value_type: Any, where: str) -> tuple[DType, tuple[int | None, ...]]:
    """Element type and shape of a tensor, or of a state of one. Raises :class:`InputError` for another."""
    kind = value_type.WhichOneof("type")
    if kind == "stateType":
        return parse_type(value_type.stateType.wrappedType, where)
    if kind != "tensorType":
        raise InputError(f"{where} is a {kind or 'value without a type'}; only tensors are supported here")
    tensor, dims = value_type.tensorType, value_type.tensorType.dimensions
    dtype = STRING if tensor.dataType == _STRING_CODE else BY_PROTO_CODE.get(tensor.dataType)
    if dtype is None:
        raise InputError(f"{where} has element type code {tensor.dataType}, which is not supported here")
    if tensor.rank != len(dims):
        raise InputError(f"{where} declares rank {tensor.rank} and {len(dims)} dimensions; export it anew")
    shape = tuple(dim.constant.size if dim.WhichOneof("dimension") == "constant" else None for dim in dims)
    if any(dim is None and proto.unknown.variadic for dim, proto in zip(shape, dims, strict=True)):
        raise InputError(f"{where} has a variable rank; export it with a fixed number of dimensions")
    count_elements(tuple(dim for dim in shape if dim is not None), where)
    return dtype, shape


def count_elements(shape: tuple[int, ...], where: str, most: int = MAX_ELEMENTS) -> int:
    """Product of `shape`; an `InputError` when no sane model has that many elements."""
    count = math.prod(shape)
    if count > most or any(dim < 0 for dim in shape):
        raise InputError(
            f"{where} declares shape {shown(list(shape))}: not a possible size; the file is damaged"
        )
    return count


def convert(x: torch.Tensor, dtype: DType) -> torch.Tensor:
    """`x` in the type that `dtype` is computed with: floats are truncated, too large integers wrap around."""
    if x.dtype is dtype.torch_dtype:
        return x
    if dtype.name in ("uint16", "uint32") and x.dtype is not torch.bool:
        return torch.bitwise_and(x.to(torch.int64), 2**dtype.bits - 1).to(dtype.torch_dtype)
    return x.to(dtype.torch_dtype)


def round_fp16(x: torch.Tensor) -> torch.Tensor:
    """`x` rounded to the nearest fp16 value (infinite beyond 65504), still in fp32."""
    rounded: torch.Tensor = x.half().float()
    return rounded


def finisher(dtype: DType, mode: Mode) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns an op's fp32 or integer result into a value of the declared `dtype`."""
    if mode == "typed" and dtype.name == "fp16":
        return round_fp16
    if dtype.name == "uint16":  # an int32 tensor, as other integers are: only the wrap-around differs
        return lambda x: convert(x.to(torch.int64), dtype)
    return lambda x: x if x.dtype is dtype.torch_dtype else convert(x, dtype)


def to_numpy(x: torch.Tensor, dtype: DType, mode: Mode) -> NDArray[Any]:
    """A copy of `x` for the caller: the declared type, except that floats stay fp32 in lifted mode."""
    kind = np.dtype(np.float32) if mode == "lifted" and dtype.is_float else dtype.numpy
    return np.array(x.numpy(), dtype=kind, order="C", copy=True)
