"""State of a Core ML model between calls, such as a KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.mil.types import DType, Mode, round_fp16, to_numpy


class Buffer:
    """One state tensor. A write binds a new tensor, so values read before keep what they were."""

    __slots__ = ("dtype", "value")

    def __init__(self, dtype: DType, value: torch.Tensor):
        self.dtype = dtype
        self.value = value


class MilState:
    """Named state tensors, zero at first. One state serves all functions of a package, and one mode.

    ``state[name]`` gives a copy in the declared type (fp32 in lifted mode), ``state[name] = array`` sets it.
    """

    def __init__(self, buffers: dict[str, Buffer], mode: Mode):
        self.mode = mode
        self.buffers = buffers

    def __iter__(self) -> Iterator[str]:
        return iter(self.buffers)

    def __getitem__(self, name: str) -> NDArray[Any]:
        buffer = self._buffer(name)
        return to_numpy(buffer.value, buffer.dtype, self.mode)

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        buffer = self._buffer(name)
        if array.shape != tuple(buffer.value.shape):
            raise InputError(f"state {name!r} has shape {list(buffer.value.shape)}, not {list(array.shape)}")
        value = torch.tensor(array, dtype=buffer.dtype.torch_dtype)
        buffer.value = round_fp16(value) if self.mode == "typed" and buffer.dtype.name == "fp16" else value

    def copy(self) -> MilState:
        """An independent copy, to try a continuation and come back."""
        buffers = {name: Buffer(b.dtype, b.value.clone()) for name, b in self.buffers.items()}
        return MilState(buffers, self.mode)

    def _buffer(self, name: str) -> Buffer:
        if name not in self.buffers:
            raise InputError(f"no state {name!r}; there is {', '.join(self.buffers) or 'none'}")
        return self.buffers[name]
