"""Ops that read or write at places: slices, gather, scatter, top-k, and the state.

Semantics: coremltools ``tensor_transformation``, ``scatter_gather``, ``iOS18/tensor_transformation``,
``iOS18/states``. Out-of-range and negative indices are undefined in Core ML (iOS 17 on), so here they are
errors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from phantom_edge.mil.registry import ints, op
from phantom_edge.mil.state import Buffer

_SLICE_HOST = "begin end stride begin_mask end_mask squeeze_mask"


def _ranges(
    x: Tensor,
    begin: Any,
    end: Any,
    stride: Any,
    begin_mask: list[bool] | None,
    end_mask: list[bool] | None,
    squeeze_mask: list[bool] | None,
) -> list[range | int]:
    """What each dimension is cut to, by numpy's rules for negative and too large bounds; an int is one
    place.
    """
    begin, end = ints(begin), ints(end)
    stride = [1] * x.ndim if stride is None else ints(stride)
    if not len(begin) == len(end) == len(stride) == x.ndim:
        raise ValueError(f"slice bounds {begin}, {end}, {stride} for rank {x.ndim}")
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
    """The part of `x` at `ranges`: a view, but a copy where a step is negative (torch has no such view)."""
    for axis, places in reversed(list(enumerate(ranges))):
        if isinstance(places, int):
            x = x.select(axis, places)
        elif places.step < 0:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
        elif places.step > 1 or len(places) != x.shape[axis]:
            view = x.narrow(
                axis, places.start if places else 0, places[-1] - places.start + 1 if places else 0
            )
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


def slice_update_in_place(
    x: Tensor,
    update: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    """Writes into `x` itself. The update must have the slice's shape: torch would broadcast a wrong one
    silently.
    """
    ranges = _ranges(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    # A slice of negative step is written through the same places in rising order.
    flipped = [axis for axis, places in enumerate(ranges) if isinstance(places, range) and places.step < 0]
    kept = [axis for axis, places in enumerate(ranges) if isinstance(places, range)]
    target = _cut(x, [ranges[axis][::-1] if axis in flipped else ranges[axis] for axis in range(x.ndim)])
    if tuple(update.shape) != tuple(target.shape):
        raise ValueError(f"update {list(update.shape)} into a slice {list(target.shape)} of {list(x.shape)}")
    target.copy_(update.flip([kept.index(axis) for axis in flipped]) if flipped else update)
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
    """Result: x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis + 1:]."""
    axis %= x.ndim
    places = _checked(indices, x.shape[axis])
    if batch_dims == 0:
        return x.index_select(axis, places.reshape(-1)).reshape(
            x.shape[:axis] + places.shape + x.shape[axis + 1 :]
        )
    batch = x.shape[:batch_dims]
    rows = [
        gather(part, where, axis - batch_dims)
        for part, where in zip(x.flatten(0, batch_dims - 1), places.flatten(0, batch_dims - 1), strict=True)
    ]
    return torch.stack(rows).unflatten(0, batch)


@op("gather_along_axis", host="axis validate_indices", moves=True, fresh=True)
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    return torch.gather(x, axis, _checked(indices, x.shape[axis]))


def _flat_places(indices: Tensor, sizes: torch.Size) -> Tensor:
    """Places in the flattened leading dimensions `sizes`, from index vectors [..., K]."""
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for k, size in enumerate(sizes):
        flat = flat * size + _checked(indices[..., k], size)
    return flat


@op("gather_nd", host="batch_dims validate_indices", moves=True, fresh=True)
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Result: indices.shape[:-1] + x.shape[batch_dims + K:], K the length of an index vector."""
    if batch_dims:
        parts = [gather_nd(part, where, batch_dims - 1) for part, where in zip(x, indices, strict=True)]
        return torch.stack(parts)
    depth = indices.shape[-1]
    flat = _flat_places(indices, x.shape[:depth])
    return x.reshape(-1, *x.shape[depth:])[flat]


def _apply(flat: Tensor, places: Tensor, updates: Tensor, mode: str) -> Tensor:
    """Combines `updates` into rows `places` of a copy of `flat`; repeats in mode update leave any one of
    them.
    """
    if mode == "update":
        return flat.index_copy(0, places, updates)
    if mode in ("add", "sub"):
        return flat.index_add(0, places, updates, alpha=1 if mode == "add" else -1)
    if mode == "div":
        mode, updates = "mul", updates.reciprocal()
    return flat.index_reduce(0, places, updates, {"mul": "prod", "max": "amax", "min": "amin"}[mode])


@op("scatter", host="axis mode validate_indices")
def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    places = _checked(indices, data.shape[axis])
    return _apply(data.movedim(axis, 0), places, updates.movedim(axis, 0), mode).movedim(0, axis)


@op("scatter_along_axis", host="axis mode validate_indices")
def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    axis %= data.ndim
    grid = torch.meshgrid(*(torch.arange(size) for size in indices.shape), indexing="ij")
    vectors = torch.stack([indices.to(torch.int64) if i == axis else grid[i] for i in range(data.ndim)], -1)
    return scatter_nd(data, vectors, updates, mode)


@op("scatter_nd", host="mode validate_indices")
def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    depth = indices.shape[-1]
    rows = data.reshape(-1, *data.shape[depth:])
    places = _flat_places(indices, data.shape[:depth]).reshape(-1)
    return _apply(rows, places, updates.reshape(-1, *data.shape[depth:]), mode).reshape(data.shape)


@op("non_zero")
def non_zero(x: Tensor) -> Tensor:
    return torch.nonzero(x)


@op("topk", host="k axis ascending sort return_indices output_indices_dtype")
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Any:
    count = x.shape[axis] if k == -1 else k
    values, places = torch.topk(x, count, axis, largest=not ascending, sorted=True)
    return (values, places) if return_indices else values


@op("read_state", moves=True)
def read_state(input: Buffer) -> Tensor:
    return input.value


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
