"""The float constants as they are stored: float16 cannot hold all of them as they come.

The phantom dimension lives on eta^2 = 1e-8 between query and key and eta = 1e-4 after the values. float16's
normal numbers end at 6.1e-5, and hardware may take what lies below for zero. Multiplying one side of a
product by 2^m and the other by 2^-m changes nothing else, so each pair is moved to normal numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.export.base import float_tensor
from phantom_edge.model.ops import Weights
from phantom_edge.model.spec import FoldedSpec

TYPES = {"fp16": torch.float16, "fp32": torch.float32}
# Where the gate's eta / c is brought: half of eta's 2^-13, so that z too stays a normal number.
SMALL = 2.0**-6
BASIS_SIZE = 2.0**-4  # largest entry of a basis: a product with |y| up to 1e5 stays below 65504
# Relative and absolute (of the largest value): the last bits of what another machine folded may differ.
LAST_BITS = {np.dtype(np.float16): (2.0**-10, 2.0**-24), np.dtype(np.float32): (1e-6, 1e-7)}
SPARE = 14  # an exponent is not moved further: float16's normal range


@dataclass(frozen=True)
class Scaling:
    """Powers of two: ``before`` multiplies a constant when it is stored, ``after`` the result of using it.

    What does not cancel is made up by the constant's partner on the other side of the product.
    """

    before: float | torch.Tensor = 1.0
    after: float = 1.0


class FloatConstants:
    """Float weights by name as the program stores them in ``float_type``; ``read`` are those used."""

    def __init__(self, spec: FoldedSpec, weights: Weights, float_type: str):
        self.spec, self.weights = spec, weights
        self.read: set[str] = set()
        self.type = TYPES[float_type]
        self._layer = ""
        self._scalings: dict[str, Scaling] = {}

    def stored(self, name: str) -> torch.Tensor:
        """The values to write. Raises :class:`InputError` for one that float16 cannot hold."""
        self.read.add(name)
        tensor = float_tensor(self.weights[name], name).detach()
        before = self.scaling(name).before
        if isinstance(before, torch.Tensor) or before != 1.0:
            tensor = tensor.float() * before
        stored = tensor.to(self.type).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise InputError(f"{name}: holds a value that float16 cannot; export with --quant fp32")
        return stored

    def meaning(self, name: str) -> torch.Tensor:
        """What the stored values stand for, apart from powers of two that meet again within a product."""
        before = self.scaling(name).before
        stored = self.stored(name)
        return stored if isinstance(before, float) and before == 1.0 else stored.float() / before

    def scaling(self, name: str) -> Scaling:
        """The powers of two that ``name`` takes; none but for the phantom constants in float16."""
        if self.type != torch.float16 or not name.startswith("text_decoder.layers."):
            return Scaling()
        layer = ".".join(name.split(".")[:3])
        n = int(layer.rpartition(".")[2])
        if layer != self._layer:
            phantom, compressed = self.spec.phantom_dims[n], self.spec.compressed(n)
            self._scalings = _scalings(self.weights, layer, compressed=compressed) if phantom else {}
            self._layer = layer
        return self._scalings.get(name, Scaling())

    def cache_powers(self, layer: int, kind: str) -> torch.Tensor:
        """Powers of two [W] by which a layer's cached ``kind``, ``key`` or ``value``, is above the model's.

        They are those of the phantom's channels, which lie behind the others.
        """
        powers = torch.ones(self.spec.width(layer))
        if size := self.spec.phantom_dims[layer]:
            part = "basis" if self.spec.compressed(layer) else "scale"
            scaling = self.scaling(f"text_decoder.layers.{layer}.phantom.{kind}.{part}")
            powers[-size:] = float(scaling.before) * scaling.after
        return powers


def _scalings(weights: Weights, layer: str, *, compressed: bool) -> dict[str, Scaling]:
    part = "basis" if compressed else "scale"
    names = {kind: f"{layer}.phantom.{kind}.{part}" for kind in ("query", "key", "value")}
    names["gate"] = f"{layer}.gate.{part}"
    size = {kind: float(float_tensor(weights[name], name).abs().max()) for kind, name in names.items()}
    balance = _exponent(size["key"], size["query"]) // 2
    lift = max(0, min(SPARE, _exponent(SMALL, size["gate"])))
    moved = {"query": balance, "key": -balance, "value": -lift, "gate": lift}
    result = {name: _scaling(size[kind], moved[kind], compressed) for kind, name in names.items()}
    gate = f"{layer}.gate.weight"  # [1, D + r]: the part over z sees values made smaller by 2^lift
    before = torch.ones(weights[gate].shape, dtype=torch.float32)
    width = weights[names["value"]].shape[0] if compressed else before.shape[-1] // 2
    before[:, -width:] = 2.0**lift
    return result | {gate: Scaling(before)}


def _exponent(above: float, below: float) -> int:
    return round(math.log2(above / below)) if above and below else 0


def _scaling(size: float, exponent: int, compressed: bool) -> Scaling:
    if not compressed or not size:
        return Scaling(before=2.0**exponent)
    # A basis has small entries beside large ones: its own power of two moves to the result.
    own = _exponent(BASIS_SIZE, size)
    return Scaling(before=2.0**own, after=2.0 ** (exponent - own))


def factors(target: float) -> tuple[float, float]:
    """Two float16 numbers whose product is the nearest to ``target``; (target, 1) where that is exact.

    One float16 sqrt(2) would be 1.1e-4 off, an error that all attention scores share.

    >>> a, b = factors(2**0.5)
    >>> abs(a * b / 2**0.5 - 1) < 1e-6
    True
    """
    if float(np.float16(target)) == target:
        return target, 1.0
    first = (np.arange(1024, 2048) / 1024).astype(np.float16)  # every float16 in 1..2
    second = (target / first.astype(np.float64)).astype(np.float16)
    product = first.astype(np.float64) * second
    best = int(np.abs(product - target).argmin())
    return float(first[best]), float(second[best])


def alike(stored: NDArray[np.generic], expected: NDArray[np.generic]) -> bool:
    """Whether integers are equal, and floats but for their last bits.

    >>> alike(np.float32([1, 1 + 2**-23]), np.float32([1, 1])), alike(np.int8([1]), np.int8([2]))
    (True, False)
    """
    if np.array_equal(stored, expected):
        return True
    if stored.dtype not in LAST_BITS or (stored.dtype, stored.shape) != (expected.dtype, expected.shape):
        return False
    relative, absolute = LAST_BITS[stored.dtype]
    a, b = (np.asarray(array, np.float64) for array in (stored, expected))
    largest = float(np.abs(b).max(initial=0.0)) if stored.dtype == np.float32 else 1.0
    return bool((np.abs(a - b) <= relative * np.abs(b) + absolute * largest).all())
