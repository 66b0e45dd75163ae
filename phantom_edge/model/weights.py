"""Weights that are made when they are asked for, so that a model larger than memory can be folded and
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch

from phantom_edge.numbers.grid import QuantizedTensor

Shape = tuple[int, ...]
Weight = torch.Tensor | QuantizedTensor


class Maker(NamedTuple):
    """The shape of a weight and the function that makes it."""

    shape: Shape
    make: Callable[[], Weight]


class LazyWeights(Mapping[str, Weight]):
    """A mapping from names to weights, each made at every access, or once if ``keep``.

    >>> weights = LazyWeights({"w": Maker((2,), lambda: torch.ones(2))})
    >>> weights.shape("w"), weights["w"].tolist()
    ((2,), [1.0, 1.0])
    """

    def __init__(self, makers: Mapping[str, Maker], *, keep: bool = False):
        self._makers, self._keep = dict(makers), keep
        self._kept: dict[str, Weight] = {}

    def __getitem__(self, name: str) -> Weight:
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


def view(weights: Mapping[str, Weight], names: Callable[[str], bool]) -> dict[str, Maker]:
    """Makers that read those weights of a mapping whose name is wanted; combine them to a new
    :class:`LazyWeights`.
    """

    def reader(name: str) -> Callable[[], Weight]:
        return lambda: weights[name]

    return {name: Maker(shape_of(weights, name), reader(name)) for name in weights if names(name)}
