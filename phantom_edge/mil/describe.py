"""Flexible shapes of inputs: the program says which dimensions vary, the description how far."""

from __future__ import annotations

from typing import Any

from phantom_edge.mil.compile import Function
from phantom_edge.mil.types import TensorType


def described_types(model: Any, function: Function, names: tuple[str, ...]) -> dict[str, TensorType]:
    """The `TensorType` of each input in `names`, with ranges and enumerated shapes if there are any."""
    arrays = _described_arrays(model, function.name)
    result = {}
    for name in names:
        dtype, shape = function.types[name]
        array = arrays.get(name)
        ranges, enumerated = _flexibility(array) if array is not None and None in shape else ((), ())
        rank = len(shape)
        ranges = ranges if len(ranges) == rank else ()
        shapes = tuple(item for item in enumerated if len(item) == rank)
        result[name] = TensorType(dtype.name, shape, ranges, shapes)
    return result


def _described_arrays(model: Any, function: str) -> dict[str, Any]:
    """multiArrayType of each input; a model of several functions describes each, others only the one."""
    described = {item.name: item.input for item in model.description.functions}
    features = described.get(function, model.description.input)
    return {item.name: item.type.multiArrayType for item in features if item.type.HasField("multiArrayType")}


def _flexibility(array: Any) -> tuple[tuple[tuple[int, int | None], ...], tuple[tuple[int, ...], ...]]:
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "shapeRange":
        bounds = ((size.lowerBound, size.upperBound) for size in array.shapeRange.sizeRanges)
        return tuple((low, None if high < 0 else high) for low, high in bounds), ()
    if kind == "enumeratedShapes":
        return (), tuple(tuple(item.shape) for item in array.enumeratedShapes.shapes)
    return (), ()
