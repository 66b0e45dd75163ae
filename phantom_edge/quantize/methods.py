"""The methods that choose a weight's integers, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Precision
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.gptq import gptq
from phantom_edge.quantize.hqq import hqq


@dataclass(frozen=True)
class RoundingMethod:
    """How integers are chosen: ``rounding`` is rtn, hqq or gptq; ``scaled`` folds scales before it.

    >>> str(RoundingMethod.parse("awq"))
    'awq'
    """

    rounding: str
    scaled: bool = False

    @classmethod
    def parse(cls, text: str) -> RoundingMethod:
        """One of :data:`METHODS`. Raises :class:`InputError`."""
        if text not in METHODS:
            raise InputError(f"unknown method {text!r}; there are {', '.join(METHODS)}")
        return METHODS[text]

    def quantize(self, name: str, weight: Tensor, second: Tensor, precision: Precision) -> QuantizedTensor:
        """The integers of module ``name`` for inputs of these second moments [in, in]."""
        try:
            if self.rounding == "gptq":
                return gptq(weight, second, precision.bits, precision.group, scales=precision.scales)
            if self.rounding == "hqq":
                return hqq(weight, precision.bits, precision.group, scales=precision.scales)
            return quantize_weight(weight, precision.bits, precision.group, scales=precision.scales)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def __str__(self) -> str:
        return next(name for name, method in METHODS.items() if method == self)


METHODS: Final = {
    "rtn": RoundingMethod("rtn"),
    "hqq": RoundingMethod("hqq"),
    "awq": RoundingMethod("rtn", scaled=True),
    "gptq": RoundingMethod("gptq"),
    "gptq-awq": RoundingMethod("gptq", scaled=True),
}
"""``rtn``: error-searched round-to-nearest; ``awq``: the same after scaling; ``gptq-awq``: both."""
