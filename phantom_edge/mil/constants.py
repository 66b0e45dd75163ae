"""Constants of a program: literal values, blobs in the weight file, and ``constexpr_*`` ops over them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.mil.blob import unpack_nibbles
from phantom_edge.mil.package import Package
from phantom_edge.mil.types import STRING, DType, count_elements, parse_type


@dataclass(frozen=True)
class Constant:
    """A stored tensor: `read` gives it as numpy in its logical shape; sub-byte integers take a byte each.

    `rows` reads some of it, from one index of its first dimension to another. `key` is equal for two
    constants that are the same bytes of the same file, so that functions share them.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    key: Hashable
    read: Callable[[], NDArray[Any]] = field(repr=False)
    rows: Callable[[int, int], NDArray[Any]] = field(repr=False)
    op: str = "const"

    def host(self) -> Any:
        """The value as plain Python: number, bool, text or (nested) list of them."""
        return self.read().tolist()

    @property
    def fields(self) -> dict[str, NDArray[Any]]:
        """Raw stored values by parameter name: {"val": array}."""
        return {"val": self.read()}


@dataclass(frozen=True)
class ConstExpr:
    """A compressed weight: the parameters of its ``constexpr_*`` op, not yet computed."""

    name: str
    op: str
    dtype: DType
    shape: tuple[int, ...]
    params: dict[str, Constant]

    @property
    def key(self) -> Hashable:
        params = tuple((name, p.key) for name, p in sorted(self.params.items()))
        return self.op, self.dtype.name, self.shape, params

    @property
    def fields(self) -> dict[str, NDArray[Any]]:
        """Raw stored values by parameter name."""
        return {name: p.read() for name, p in self.params.items()}


def decode_value(value: Any, package: Package, where: str) -> Constant:
    """A ``Value`` as a `Constant`; large data is read when used. Raises :class:`InputError` for damage."""
    if value.type.WhichOneof("type") == "listType":
        raise InputError(f"{where} is a list; classifier models are not supported here")
    dtype, dims = parse_type(value.type, where)
    if any(dim is None for dim in dims):
        raise InputError(f"{where} is a constant without a fixed shape; export it again")
    shape = tuple(dim for dim in dims if dim is not None)
    if value.WhichOneof("value") == "blobFileValue":
        name, offset = value.blobFileValue.fileName, value.blobFileValue.offset
        blob = package.blob(name)
        blob.check(offset, dtype, shape)
        read, rows = partial(blob.read, offset, dtype, shape), partial(blob.read_rows, offset, dtype, shape)
        return Constant(where, dtype, shape, (name, offset), read, rows)
    array = _literal(value.immediateValue, dtype, shape, where)
    key = ("literal", dtype.name, shape, array.tobytes())
    return Constant(where, dtype, shape, key, lambda: array, lambda start, end: array[start:end])


def _literal(literal: Any, dtype: DType, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """A value in the model file itself: fp16 and types up to a byte come as bytes, others as numbers."""
    form = literal.WhichOneof("value")
    if form != "tensor":
        raise InputError(f"{where} is a {form or 'constant without value'}, not a tensor")
    kind = literal.tensor.WhichOneof("value")
    count = count_elements(shape, where)
    values: Any = getattr(literal.tensor, kind).values if kind else []
    try:
        if kind == "bytes" and dtype.bits < 8:
            if len(values) != -(-count * dtype.bits // 8):
                raise ValueError
            return unpack_nibbles(np.frombuffer(values, np.uint8), dtype, shape)
        if kind == "bytes":
            return np.frombuffer(bytearray(values), dtype.numpy).reshape(shape)
        if (kind == "strings") != (dtype is STRING):
            raise ValueError
        return np.array(list(values), dtype.numpy).reshape(shape)
    except (ValueError, OverflowError) as error:
        what = f"its stored value is not {dtype.name} {list(shape)}"
        raise InputError(f"{where}: {what}; the file is damaged") from error
