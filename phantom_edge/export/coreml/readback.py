"""The numbers of an artifact, read out of its packages again."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.export.base import GRAPHS, VISION
from phantom_edge.export.coreml import NOT_STORED
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.mil import MilModel
from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.model.weights import LazyWeights, Maker
from phantom_edge.numbers.grid import QuantizedTensor

SEPARATOR = "__"  # Core ML names are identifiers; a weight's dots are written so, and read back
BITS = {"int4": 4, "int8": 8}
ROPE: Final = ("rope_cos", "rope_sin")
RMS_NORMS: Final = (
    "text_decoder__norm__",
    "__norm1__",
    "__norm2__",
)  # their weights stand twice in a decoder


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


def further_vision_encoders(path: Path) -> list[str]:
    """Functions of the package ``path`` for further sizes of tiles; raises as :func:`stored_weights`."""
    coremltools()  # in silence, before the interpreter imports a part of it
    return [name for name in MilModel.load(path).functions if name.startswith(f"{VISION}_")]


def stored_floats(folder: Path) -> LazyWeights[torch.Tensor]:
    """All float constants by their names in the model; raises as :func:`stored_weights`."""
    makers: dict[str, Maker[torch.Tensor]] = {}
    for graph in GRAPHS:
        makers |= package_floats(Path(folder) / f"{graph}.mlpackage")
    return LazyWeights(makers)


def package_floats(path: Path) -> dict[str, Maker[torch.Tensor]]:
    """Every float constant of one package that is the model's; raises as :func:`stored_weights`."""
    coremltools()  # in silence, before the interpreter imports a part of it
    makers: dict[str, Maker[torch.Tensor]] = {}
    model = MilModel.load(path)
    # The default function is the last, so that its own are what a name means.
    for value in chain.from_iterable(model.constants(name) for name in reversed(model.functions)):
        if not isinstance(value, Constant) or not value.dtype.is_float:
            continue
        if value.name in ROPE:
            rows, width = value.shape if len(value.shape) == 2 else (0, 0)
            table = Maker((rows, width // 2), partial(_rotary_table, path, value))
            makers[value.name.replace("_", ".")] = table
        elif SEPARATOR in value.name:
            name = value.name.replace(SEPARATOR, ".")
            if value.name.startswith("text_decoder__") and any(norm in value.name for norm in RMS_NORMS):
                makers[name] = Maker((value.shape[0] // 2,), partial(_halves, path, value))
            elif not any(fnmatchcase(name, pattern) for pattern in NOT_STORED):
                makers[name] = Maker(value.shape, partial(_read, value))
    return makers


def _read(value: Constant) -> torch.Tensor:
    return torch.from_numpy(np.array(value.read()))


def _halves(path: Path, value: Constant) -> torch.Tensor:
    """An RMSNorm's weight, which is stored for [x | -x]."""
    first, second = _read(value).chunk(2)
    if not torch.equal(first, second):
        raise InputError(f"{path}: {value.name} is not one weight twice; export it again")
    return first


def _rotary_table(path: Path, value: Constant) -> torch.Tensor:
    """cos or sin [context, D/2] of [cos | cos] or [-sin | sin]."""
    first, second = _read(value).chunk(2, dim=-1)
    if not torch.equal(first, second if value.name == ROPE[0] else -second):
        raise InputError(f"{path}: {value.name} does not rotate pairs by one angle; export it again")
    return second


def _tensor(data: NDArray[Any], scale: NDArray[Any], bits: int) -> QuantizedTensor:
    scales = torch.from_numpy(scale.astype("float32"))
    group = data.shape[1] // scale.shape[1] if bits == 4 else None
    return QuantizedTensor(torch.from_numpy(data.copy()), scales, bits, group)
