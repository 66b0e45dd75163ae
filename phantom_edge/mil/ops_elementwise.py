"""Element-wise ops and activations. Semantics: coremltools ``elementwise_unary`` and ``_binary``,
``activation``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from phantom_edge.mil.registry import op
from phantom_edge.mil.types import BY_NAME, convert

_BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.true_divide,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,  # sign of the divisor, as numpy
    "pow": torch.pow,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
_PICK = {"maximum": torch.maximum, "minimum": torch.minimum}
_UNARY = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "round": torch.round,  # half to even, as numpy
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}


def _register_tables() -> None:
    for name, function in _BINARY.items():
        op(name)(lambda x, y, function=function: function(x, y))
    for name, function in _PICK.items():
        op(name, moves=True, fresh=True)(lambda x, y, function=function: function(x, y))
    for name, function in _UNARY.items():
        op(name)(lambda x, function=function: function(x))


_register_tables()


@op("log", host="epsilon")
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


@op("rsqrt", host="epsilon")
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


@op("inverse", host="epsilon")
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return torch.reciprocal(x + epsilon)


@op("clip", host="alpha beta")
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.clamp(x, alpha, beta)


@op("gelu", host="mode")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])


@op("softmax", host="axis")
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


@op("cast", host="dtype", fresh=False)
def cast(x: Tensor, dtype: str) -> Tensor:
    """To fp16 the interpreter rounds afterwards, by the declared type, and only in typed mode."""
    return convert(x, BY_NAME[dtype])


@op("select", moves=True, fresh=True)
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


@op("identity", moves=True)
def identity(x: Tensor) -> Tensor:
    return x
