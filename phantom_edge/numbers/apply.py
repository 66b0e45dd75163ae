"""A recipe applied to weights as they stream by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Precision, Recipe
from phantom_edge.numbers.scale_search import quantize_weight


def apply_recipe(
    weights: Iterable[tuple[str, Tensor]], recipe: Recipe
) -> Iterator[tuple[str, QuantizedTensor | Tensor]]:
    """Convert weights one at a time, so that a checkpoint larger than memory can stream through.

    Args:
        weights: (name, tensor); matrices [out, in] under their module's name, anything else under any name.
        recipe: what they become.

    Yields:
        (name, integers or a tensor in the float type); tensors that are not floats pass as they are.

    Raises:
        InputError: a weight that is not finite, or that float16 would turn into infinity; names it.

    >>> from phantom_edge.numbers.recipe import load_recipe
    >>> weights = [("text_decoder.layers.0.down", torch.randn(8, 64))]
    >>> [(name, w.bits) for name, w in apply_recipe(weights, load_recipe("int4"))]
    [('text_decoder.layers.0.down', 4)]
    """
    for name, weight in weights:
        if not weight.is_floating_point():
            yield name, weight
            continue
        shape = (weight.shape[0], weight.shape[1]) if weight.ndim == 2 else (0, 0)
        precision = recipe.resolve(name, shape) if weight.ndim == 2 else recipe.float_type
        yield name, _convert(name, weight, precision)


def _convert(name: str, weight: Tensor, precision: Precision) -> QuantizedTensor | Tensor:
    if precision.is_integer:
        try:
            return quantize_weight(weight, precision.bits, precision.group, scales=precision.scales)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    converted = weight.to(precision.dtype)
    if not bool(torch.isfinite(converted).all()):
        raise InputError(f"{name}: holds a value that is not finite in {precision}; choose --quant fp32")
    return converted
