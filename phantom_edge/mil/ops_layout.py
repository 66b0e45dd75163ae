"""Ops that move, join or cut tensors, and that read or write the state.

Semantics: coremltools' ``tensor_transformation``, ``tensor_operation``, ``scatter_gather``,
``iOS18/tensor_transformation`` and ``iOS18/states``. Only what the exporters of this package emit is here.
Out-of-range and negative indices are undefined in Core ML (iOS 17 on), so here they are errors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from phantom_edge.mil.registry import ints, op
from phantom_edge.mil.state import Buffer
from phantom_edge.mil.types import MAX_COMPUTED, count_elements

_SLICE_HOST = "begin end stride begin_mask end_mask squeeze_mask"


@op("reshape", host="shape", moves=True)
def reshape(x: Tensor, shape: Any) -> Tensor:
    """0 takes the dimension of x at the same place from the right (1 where there is none), iOS 17 on."""
    sizes = ints(shape)
    offset = x.ndim - len(sizes)
    dims = [_inherited(x, i + offset) if size == 0 and x.numel() else size for i, size in enumerate(sizes)]
    return x.reshape(dims)


def _inherited(x: Tensor, axis: int) -> int:
    return x.shape[axis] if axis >= 0 else 1


op("transpose", host="perm", moves=True)(lambda x, perm: x.permute(perm))


@op("expand_dims", host="axes", moves=True)
def expand_dims(x: Tensor, axes: list[int]) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("concat", host="axis interleave", moves=True, fresh=True)
def concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """Scalars count as vectors of one element: so coremltools joins computed sizes to a shape."""
    values = [value if value.ndim else value.unsqueeze(0) for value in values]
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@op("split", host="num_splits split_sizes axis", moves=True)
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Any = None) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return torch.split(x, ints(split_sizes), axis)
    if num_splits is None or x.shape[axis] % num_splits:
        raise ValueError(f"{x.shape[axis]} elements do not split into {num_splits} equal parts")
    return torch.split(x, x.shape[axis] // num_splits, axis)


@op("tile", host="reps", moves=True, fresh=True)
def tile(x: Tensor, reps: Any) -> Tensor:
    repeats = ints(reps)
    count_elements((x.numel(), *repeats), "tile", MAX_COMPUTED)
    return x.repeat(repeats)


op("shape")(lambda x: torch.tensor(x.shape, dtype=torch.int32))


def _ranges(
    x: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: list[bool] | None = None,
    end_mask: list[bool] | None = None,
    squeeze_mask: list[bool] | None = None,
) -> list[range | int]:
    """What each dimension is cut to, by numpy's rules for bounds; an int is one place."""
    begin, end = ints(begin), ints(end)
    stride = [1] * x.ndim if stride is None else ints(stride)
    if not len(begin) == len(end) == len(stride) == x.ndim:
        raise ValueError(f"slice bounds {begin}, {end}, {stride} for rank {x.ndim}")
    if min(stride) < 1:
        raise ValueError(f"slice strides {stride}; only positive ones are implemented")
    result: list[range | int] = []
    for axis, size in enumerate(x.shape):
        first = None if begin_mask and begin_mask[axis] else begin[axis]
        if squeeze_mask and squeeze_mask[axis]:
            place = 0 if first is None else first
            if not -size <= place < size:
                raise IndexError(f"index {place} in dimension {axis} of size {size}")
            result.append(place % size)
            continue
        last = None if end_mask and end_mask[axis] else end[axis]
        result.append(range(*slice(first, last, stride[axis]).indices(size)))
    return result


def _cut(x: Tensor, ranges: list[range | int]) -> Tensor:
    """A view of `x` at `ranges`."""
    for axis, places in reversed(list(enumerate(ranges))):
        if isinstance(places, int):
            x = x.select(axis, places)
        elif places.step > 1 or len(places) != x.shape[axis]:
            start, size = (places.start, places[-1] - places.start + 1) if places else (0, 0)
            view = x.narrow(axis, start, size)
            x = view[(slice(None),) * axis + (slice(None, None, places.step),)] if places.step > 1 else view
    return x


@op("slice_by_index", host=_SLICE_HOST, moves=True)
def slice_by_index(
    x: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    return _cut(x, _ranges(x, begin, end, stride, begin_mask, end_mask, squeeze_mask))


@op("slice_update", host=_SLICE_HOST, moves=True, fresh=True)
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    bounds = (begin, end, stride, begin_mask, end_mask, squeeze_mask)
    return slice_update_in_place(x.clone(memory_format=torch.contiguous_format), update, *bounds)


def slice_update_in_place(x: Tensor, update: Tensor, *bounds: Any, **named: Any) -> Tensor:
    """Writes into `x` itself. The update must have the slice's shape, where torch would broadcast."""
    target = _cut(x, _ranges(x, *bounds, **named))
    if tuple(update.shape) != tuple(target.shape):
        raise ValueError(f"update {list(update.shape)} into a slice {list(target.shape)} of {list(x.shape)}")
    target.copy_(update)
    return x


@op("slice_by_size", host="begin size", moves=True)
def slice_by_size(x: Tensor, begin: Any, size: Any) -> Tensor:
    for axis, (first, count) in enumerate(zip(ints(begin), ints(size), strict=True)):
        first = first % x.shape[axis] if first < 0 else first
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


def _checked(indices: Tensor, size: int) -> Tensor:
    if indices.numel():
        low, high = (bound.item() for bound in torch.aminmax(indices))
        if low < 0 or high >= size:
            raise IndexError(f"index {low if low < 0 else high} in a dimension of size {size}")
    return indices.to(torch.int64)


@op("gather", host="axis batch_dims validate_indices", moves=True, fresh=True)
def gather(
    x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """Result: x.shape[:axis] + indices.shape + x.shape[axis + 1:]."""
    if batch_dims:
        raise ValueError(f"batch_dims is {batch_dims}; only 0 is implemented")
    axis %= x.ndim
    places = _checked(indices, x.shape[axis])
    rows = x.index_select(axis, places.reshape(-1))
    return rows.reshape(x.shape[:axis] + places.shape + x.shape[axis + 1 :])


op("read_state", moves=True)(lambda input: input.value)


@op("write_state", moves=True)
def write_state(input: Buffer, data: Tensor) -> tuple[()]:
    """Keeps a copy, unless `data` is the buffer itself after a slice update in place.

    coremltools writes its ``coreml_update_state`` as this op and a ``read_state``.
    """
    if tuple(data.shape) != tuple(input.value.shape):
        raise ValueError(f"{list(data.shape)} into a state of {list(input.value.shape)}")
    if data is not input.value:
        input.value = data.clone(memory_format=torch.contiguous_format)
    return ()
