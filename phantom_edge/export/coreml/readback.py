"""The integers of an artifact, read out of its packages again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.mil import MilModel
from phantom_edge.mil.constants import ConstExpr
from phantom_edge.numbers.grid import QuantizedTensor

SEPARATOR = "__"  # Core ML names are identifiers; a weight's dots are written so, and read back
BITS = {"int4": 4, "int8": 8}


def mil_name(name: str) -> str:
    """A weight's name as a Core ML identifier.

    >>> mil_name("text_decoder.layers.0.gate_up.weight")
    'text_decoder__layers__0__gate_up__weight'
    """
    return name.replace(".", SEPARATOR)


def stored_weights(folder: Path) -> dict[str, QuantizedTensor]:
    """All quantised weights by module name. Raises :class:`InputError` for packages that are not ours."""
    result: dict[str, QuantizedTensor] = {}
    for graph in GRAPHS:
        result |= package_weights(Path(folder) / f"{graph}.mlpackage")
    return result


def package_weights(path: Path) -> dict[str, QuantizedTensor]:
    """Every quantised weight of one package by module name; raises as :func:`stored_weights`."""
    coremltools()  # in silence, before the interpreter imports a part of it
    model = MilModel.load(path)
    result: dict[str, QuantizedTensor] = {}
    types = {v.name: v.params["data"].dtype.name for v in model.constants() if isinstance(v, ConstExpr)}
    for name, (data, scale, offset) in model.quantized_weights().items():
        module = name.replace(SEPARATOR, ".").removesuffix(".weight")
        bits = BITS.get(types.get(name, ""))
        if bits is None or offset is not None or data.ndim != 2:
            raise InputError(f"{path}: {module} is not a symmetric int4 or int8 matrix; export it again")
        result[module] = _tensor(data, scale, bits)
    return result


def _tensor(data: NDArray[Any], scale: NDArray[Any], bits: int) -> QuantizedTensor:
    scales = torch.from_numpy(scale.astype("float32"))
    group = data.shape[1] // scale.shape[1] if bits == 4 else None
    return QuantizedTensor(torch.from_numpy(data.copy()), scales, bits, group)
