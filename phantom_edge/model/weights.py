"""Weights that are made on access, so that a model larger than memory can be folded and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

from phantom_edge.numbers.grid import QuantizedTensor

Shape = tuple[int, ...]
Weight = Tensor | QuantizedTensor
W_co = TypeVar("W_co", bound=Weight, covariant=True)


class Maker(NamedTuple, Generic[W_co]):
    """The shape of a weight and the function that makes it."""

    shape: Shape
    make: Callable[[], W_co]


class LazyWeights(Mapping[str, W_co]):
    """A mapping from names to weights, each made at every access, or once if ``keep``.

    >>> import torch
    >>> weights = LazyWeights({"w": Maker((2,), lambda: torch.ones(2))})
    >>> weights.shape("w"), weights["w"].tolist()
    ((2,), [1.0, 1.0])
    """

    def __init__(self, makers: Mapping[str, Maker[W_co]], *, keep: bool = False):
        self._makers, self._keep = dict(makers), keep
        self._kept: dict[str, W_co] = {}

    def __getitem__(self, name: str) -> W_co:
        if name in self._kept:
            return self._kept[name]
        weight = self._makers[name].make()
        if self._keep:
            self._kept[name] = weight
        return weight

    def __contains__(self, name: object) -> bool:  # Mapping's own would make the weight
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def shape(self, name: str) -> Shape:
        """The shape of a weight, without making it."""
        return self._makers[name].shape


def shape_of(weights: Mapping[str, Weight], name: str) -> Shape:
    """The shape of one weight of any mapping; a lazy one is not made for it."""
    shape = getattr(weights, "shape", None)
    return shape(name) if callable(shape) else tuple(weights[name].shape)


def dense(weight: Weight) -> Tensor:
    """A weight in fp32; integers are multiplied out."""
    return weight.dequantize() if isinstance(weight, QuantizedTensor) else weight.float()


def dense_rows(weight: Weight, start: int, stop: int) -> Tensor:
    """Rows ``start`` up to ``stop`` of a matrix in fp32."""
    if isinstance(weight, QuantizedTensor):
        return weight.dequantize_rows(start, stop)
    return weight[start:stop].float()


def view(weights: Mapping[str, W_co], names: Callable[[str], bool]) -> dict[str, Maker[W_co]]:
    """Makers of those weights for which ``names`` is true, to combine to a new :class:`LazyWeights`."""

    return {n: Maker(shape_of(weights, n), partial(weights.__getitem__, n)) for n in weights if names(n)}


def is_module(name: str) -> bool:
    """Whether a weight belongs to the recipe: anything but the phantom constants and the gate."""
    return ".phantom." not in name and ".gate." not in name
