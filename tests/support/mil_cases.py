"""One or more cases for each MIL op: inputs, the op, and what torch or numpy says the answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from coremltools.converters.mil.mil import Builder as mb

T = torch.from_numpy
_random = np.random.default_rng(7)
EPSILON = 2.0**-10  # fp16 holds it exactly


def _floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Random fp32 numbers that fp16 holds exactly, so that both precisions get the same input."""
    return _random.uniform(low, high, shape).astype(np.float16).astype(np.float32)


def _ints(*shape: int, low: int = 0, high: int = 4) -> np.ndarray:
    return _random.integers(low, high, shape).astype(np.int32)


@dataclass(frozen=True)
class Case:
    """`make(t, **vars)` builds the op, `t` makes float constants of the tested precision; `expect(*arrays)`
    answers.
    """

    op: str
    arrays: dict[str, np.ndarray]
    make: Callable[..., Any]
    expect: Callable[..., Any]
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.op}_{self.note}" if self.note else self.op


X = _floats(2, 3, 4)
Y = _floats(3, 4)
POSITIVE = _floats(2, 3, 4, low=0.25, high=3.0)
INTS, DIVISORS = _ints(2, 5, low=-9, high=9), _ints(2, 5, low=1, high=5)
P, Q = _ints(2, 5, high=2).astype(bool), _ints(5, high=2).astype(bool)
IMAGE = _floats(1, 3, 6, 8)
WEIGHT, BIAS = _floats(4, 3, 3, 2), _floats(4)


def _unary() -> list[Case]:
    table = {"sigmoid": lambda x: torch.sigmoid(T(x)), "silu": lambda x: F.silu(T(x))}
    cases = [
        Case(name, {"x": X}, lambda t, x, name=name: getattr(mb, name)(x=x), lambda x, f=f: f(x))
        for name, f in table.items()
    ]
    return [
        *cases,
        Case("gelu", {"x": X}, lambda t, x: mb.gelu(x=x, mode="EXACT"), lambda x: F.gelu(T(x)), "exact"),
        Case(
            "gelu",
            {"x": X},
            lambda t, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
            lambda x: F.gelu(T(x), approximate="tanh"),
            "tanh",
        ),
        Case(
            "gelu",
            {"x": X},
            lambda t, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
            lambda x: x / (1 + np.exp(-1.702 * x)),
            "sigmoid",
        ),
        Case("softmax", {"x": X}, lambda t, x: mb.softmax(x=x, axis=1), lambda x: torch.softmax(T(x), 1)),
        Case(
            "cast",
            {"x": X},
            lambda t, x: mb.cast(x=x, dtype="int32"),
            lambda x: np.trunc(x).astype(np.int32),
            "int",
        ),
        Case(
            "cast",
            {"x": INTS},
            lambda t, x: mb.cast(x=mb.cast(x=x, dtype="uint16"), dtype="int32"),
            lambda x: x.astype(np.uint16).astype(np.int32),
            "uint16_wraps",
        ),
    ]


def _binary() -> list[Case]:
    table = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
    cases = [
        Case(
            name,
            {"x": X, "y": Y},
            lambda t, x, y, name=name: getattr(mb, name)(x=x, y=y),
            lambda x, y, f=f: f(x, y),
        )
        for name, f in table.items()
    ]
    return [
        *cases,
        Case(
            "less_equal",
            {"x": INTS, "y": INTS[::-1].copy()},
            lambda t, x, y: mb.cast(x=mb.less_equal(x=x, y=y), dtype="int32"),
            lambda x, y: (x <= y).astype(np.int32),
        ),
    ]


def _same_padding(x: np.ndarray, before: list[int], after: list[int]) -> torch.Tensor:
    return T(np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1]))))


def _math() -> list[Case]:
    q, k, v, mask = _floats(1, 2, 3, 8), _floats(1, 2, 5, 8), _floats(1, 2, 5, 6), _floats(3, 5)
    allowed = np.tril(np.ones((3, 5), bool), 1)
    left, right = _floats(2, 4, 3), _floats(2, 5, 4)
    gamma = _floats(3)
    wide = _floats(4, 3)
    return [
        Case(
            "layer_norm",
            {"x": X},
            lambda t, x: mb.layer_norm(x=x, axes=[-1], gamma=t(BIAS), beta=t(BIAS), epsilon=t(EPSILON)),
            lambda x: F.layer_norm(T(x), (4,), T(BIAS), T(BIAS), EPSILON),
        ),
        Case(
            "layer_norm",
            {"x": X},
            lambda t, x: mb.layer_norm(x=x, axes=[1], gamma=t(gamma), epsilon=t(EPSILON)),
            lambda x: F.layer_norm(T(x).transpose(1, 2), (3,), T(gamma), None, EPSILON).transpose(1, 2),
            "inner_axis",
        ),
        Case(
            "linear",
            {"x": X},
            lambda t, x: mb.linear(x=x, weight=t(wide.T.copy()), bias=t(gamma)),
            lambda x: F.linear(T(x), T(wide).T, T(gamma)),
        ),
        Case(
            "linear",
            {"x": X},
            lambda t, x: mb.linear(x=x, weight=t(wide.T.copy())),
            lambda x: x @ wide,
            "no_bias",
        ),
        Case("matmul", {"x": X, "y": left}, lambda t, x, y: mb.matmul(x=x, y=y), np.matmul),
        Case(
            "matmul",
            {"x": left, "y": right},
            lambda t, x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True),
            lambda x, y: x.swapaxes(1, 2) @ y.swapaxes(1, 2),
            "transposed",
        ),
        Case(
            "conv",
            {"x": IMAGE},
            lambda t, x: mb.conv(
                x=x,
                weight=t(WEIGHT),
                bias=t(BIAS),
                pad_type="custom",
                pad=[1, 0, 2, 1],
                strides=[2, 1],
                dilations=[1, 2],
            ),
            lambda x: F.conv2d(_same_padding(x, [1, 2], [0, 1]), T(WEIGHT), T(BIAS), (2, 1), 0, (1, 2)),
            "custom",
        ),
        Case(
            "conv",
            {"x": IMAGE},
            lambda t, x: mb.conv(x=x, weight=t(WEIGHT), pad_type="same"),
            lambda x: F.conv2d(T(x), T(WEIGHT), padding="same"),
            "same",
        ),
        Case(
            "conv",
            {"x": IMAGE},
            lambda t, x: mb.conv(x=x, weight=t(WEIGHT), pad_type="same_lower"),
            lambda x: F.conv2d(_same_padding(x, [1, 1], [1, 0]), T(WEIGHT)),
            "same_lower",
        ),
        Case(
            "conv",
            {"x": IMAGE},
            lambda t, x: mb.conv(x=x, weight=t(WEIGHT[:3, :1]), pad_type="valid", groups=3),
            lambda x: F.conv2d(T(x), T(WEIGHT[:3, :1]), groups=3),
            "depthwise",
        ),
        Case(
            "conv",
            {"x": X},
            lambda t, x: mb.conv(x=x, weight=t(WEIGHT[..., 0]), pad_type="valid"),
            lambda x: F.conv1d(T(x), T(WEIGHT[..., 0])),
            "one_dimension",
        ),
        Case(
            "scaled_dot_product_attention",
            {"q": q, "k": k, "v": v},
            lambda t, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
            lambda q, k, v: F.scaled_dot_product_attention(T(q), T(k), T(v)),
        ),
        Case(
            "scaled_dot_product_attention",
            {"q": q, "k": k, "v": v, "m": mask},
            lambda t, q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
            lambda q, k, v, m: F.scaled_dot_product_attention(T(q), T(k), T(v), T(m)),
            "float_mask",
        ),
        Case(
            "scaled_dot_product_attention",
            {"q": q, "k": k, "v": v, "m": allowed},
            lambda t, q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
            lambda q, k, v, m: F.scaled_dot_product_attention(T(q), T(k), T(v), T(m)),
            "bool_mask",
        ),
    ]


def _shapes() -> list[Case]:
    return [
        Case("reshape", {"x": X}, lambda t, x: mb.reshape(x=x, shape=[3, -1]), lambda x: x.reshape(3, -1)),
        Case(
            "reshape",
            {"x": X},
            lambda t, x: mb.reshape(x=x, shape=[1, -1, 0]),
            lambda x: x.reshape(1, 6, 4),
            "zero",
        ),
        Case(
            "reshape",
            {"x": X, "y": INTS},
            lambda t, x, y: mb.reshape(
                x=x,
                shape=mb.concat(
                    values=[mb.slice_by_size(x=mb.shape(x=y), begin=[0], size=[1]), [-1]], axis=0
                ),
            ),
            lambda x, y: x.reshape(2, -1),
            "computed",
        ),
        Case(
            "transpose",
            {"x": X},
            lambda t, x: mb.transpose(x=x, perm=[2, 0, -2]),
            lambda x: x.transpose(2, 0, 1),
        ),
        Case(
            "expand_dims",
            {"x": X},
            lambda t, x: mb.expand_dims(x=x, axes=[-1, 1]),
            lambda x: x[:, None, ..., None],
        ),
        Case(
            "concat",
            {"x": X, "y": X[:, :1]},
            lambda t, x, y: mb.concat(values=[x, y], axis=1),
            lambda x, y: np.concatenate([x, y], 1),
        ),
        Case(
            "concat",
            {"x": X, "y": -X},
            lambda t, x, y: mb.concat(values=[x, y], axis=1, interleave=True),
            lambda x, y: np.stack([x, y], 2).reshape(2, 6, 4),
            "interleave",
        ),
        Case("split", {"x": X}, lambda t, x: mb.split(x=x, num_splits=2, axis=-1)[1], lambda x: x[..., 2:]),
        Case(
            "split",
            {"x": X},
            lambda t, x: mb.split(x=x, split_sizes=[1, 3], axis=2)[1],
            lambda x: x[..., 1:],
            "sizes",
        ),
        Case("tile", {"x": X}, lambda t, x: mb.tile(x=x, reps=[1, 2, 3]), lambda x: np.tile(x, (1, 2, 3))),
        Case("shape", {"x": X}, lambda t, x: mb.shape(x=x), lambda x: np.int32(x.shape)),
    ]


def _indexing() -> list[Case]:
    places = np.int32([2, 0, 2])
    updates = _floats(2, 2, 4)

    def after(x: np.ndarray, where: Any, values: Any) -> np.ndarray:
        result = x.copy()
        result[where] = values
        return result

    return [
        Case(
            "slice_by_index",
            {"x": X},
            lambda t, x: mb.slice_by_index(
                x=x, begin=[-1, 0, 0], end=[0, 9, 4], stride=[1, 2, 3], squeeze_mask=[True, False, False]
            ),
            lambda x: x[-1, 0:9:2, 0:4:3],
            "squeeze",
        ),
        Case(
            "slice_by_index",
            {"x": X, "n": np.int32([1])},
            lambda t, x, n: mb.slice_by_index(
                x=x, begin=mb.concat(values=[[0, 0], n], axis=0), end=[2, 3, 4]
            ),
            lambda x, n: x[..., 1:],
            "computed",
        ),
        Case(
            "slice_update",
            {"x": X, "u": updates},
            lambda t, x, u: mb.slice_update(
                x=x,
                update=u,
                begin=[0, 1, 0],
                end=[0, 3, 0],
                begin_mask=[True, False, True],
                end_mask=[True, False, True],
            ),
            lambda x, u: after(x, np.s_[:, 1:3], u),
        ),
        Case(
            "slice_by_size",
            {"x": X},
            lambda t, x: mb.slice_by_size(x=x, begin=[0, 1, -3], size=[2, -1, 2]),
            lambda x: x[:, 1:, 1:3],
        ),
        Case(
            "gather",
            {"x": X, "i": places},
            lambda t, x, i: mb.gather(x=x, indices=i, axis=-2),
            lambda x, i: np.take(x, i, 1),
        ),
    ]


CASES = [*_unary(), *_binary(), *_math(), *_shapes(), *_indexing()]
