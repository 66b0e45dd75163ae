"""Ops that move, join or make tensors. Semantics: coremltools ``tensor_transformation`` and
``tensor_operation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from phantom_edge.mil.registry import ints, op, scalar
from phantom_edge.mil.types import count_elements


@op("reshape", host="shape", moves=True)
def reshape(x: Tensor, shape: Any) -> Tensor:
    """0 takes the dimension of x at the same place counted from the right (1 where there is none), iOS 17
    on.
    """
    wanted = ints(shape)
    offset = x.ndim - len(wanted)
    dims = [_inherited(x, i + offset) if size == 0 and x.numel() else size for i, size in enumerate(wanted)]
    return x.reshape(dims)


def _inherited(x: Tensor, axis: int) -> int:
    return x.shape[axis] if axis >= 0 else 1


@op("transpose", host="perm", moves=True)
def transpose(x: Tensor, perm: list[int]) -> Tensor:
    return x.permute(perm)


@op("expand_dims", host="axes", moves=True)
def expand_dims(x: Tensor, axes: list[int]) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("squeeze", host="axes", moves=True)
def squeeze(x: Tensor, axes: list[int] | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("concat", host="axis interleave", moves=True, fresh=True)
def concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """Scalars count as vectors of one element: coremltools joins sizes computed at run time to a shape like
    that.
    """
    values = [value if value.ndim else value.unsqueeze(0) for value in values]
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@op("stack", host="axis", moves=True, fresh=True)
def stack(values: list[Tensor], axis: int) -> Tensor:
    return torch.stack(values, axis)


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
    count_elements((x.numel(), *repeats), "tile")
    return x.repeat(repeats)


@op("reverse", host="axes", moves=True, fresh=True)
def reverse(x: Tensor, axes: list[int] | None = None) -> Tensor:
    return torch.flip(x, list(range(x.ndim)) if axes is None else axes)


@op("pixel_shuffle", host="upscale_factor", moves=True)
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return torch.nn.functional.pixel_shuffle(x, upscale_factor)


@op("pixel_unshuffle", host="downscale_factor", moves=True)
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    return torch.nn.functional.pixel_unshuffle(x, downscale_factor)


@op("space_to_depth", host="block_size", moves=True)
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """The block's place is the outer part of the new channel index, the channel the inner one (as
    TensorFlow).
    """
    n, c, h, w = x.shape
    b = block_size
    x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)  # [n, b, b, c, h / b, w / b]
    return x.reshape(n, b * b * c, h // b, w // b)


@op("depth_to_space", host="block_size", moves=True)
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    n, c, h, w = x.shape
    b = block_size
    x = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)  # [n, c / b^2, h, b, w, b]
    return x.reshape(n, c // (b * b), h * b, w * b)


@op("pad", host="pad mode constant_val", moves=True, fresh=False)
def pad(x: Tensor, pad: Any, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """(before, after) for the last dimensions, in their order."""
    pairs = np.array(ints(pad), dtype=np.int64).reshape(-1, 2).tolist()
    first = x.ndim - len(pairs)
    if mode == "constant":
        flat = [amount for pair in reversed(pairs) for amount in pair]
        return torch.nn.functional.pad(x, flat, value=constant_val)
    for axis, pair in enumerate(pairs, first):
        places = np.pad(
            np.arange(x.shape[axis]), pair, mode={"reflect": "reflect", "replicate": "edge"}[mode]
        )
        x = x.index_select(axis, torch.from_numpy(places))
    return x


@op("band_part", host="lower upper", moves=True, fresh=False)
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Zero outside of `lower` diagonals below and `upper` above the main one; negative keeps all of that
    side.
    """
    x = x if upper < 0 else torch.tril(x, upper)
    return x if lower < 0 else torch.triu(x, -lower)


@op("shape")
def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@op("fill", host="shape value")
def fill(shape: Any, value: Any = 0.0) -> Tensor:
    dims = ints(shape)
    count_elements(tuple(dims), "fill")
    return torch.full(dims, scalar(value))


@op("fill_like", host="value")
def fill_like(ref_tensor: Tensor, value: Any = 0.0) -> Tensor:
    return torch.full(ref_tensor.shape, scalar(value))


@op("range_1d", host="start end step")
def range_1d(start: Any, end: Any, step: Any) -> Tensor:
    start, end, step = scalar(start), scalar(end), scalar(step)
    count_elements((abs(int((end - start) / step)),), "range_1d")
    return torch.arange(start, end, step)


@op("cumsum", host="axis exclusive reverse")
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    x = x.flip(axis) if reverse else x
    total = x.cumsum(axis)
    total = total - x if exclusive else total
    return total.flip(axis) if reverse else total
