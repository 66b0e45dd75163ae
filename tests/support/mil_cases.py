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
    table = {
        "abs": np.abs,
        "ceil": np.ceil,
        "cos": np.cos,
        "exp": np.exp,
        "exp2": np.exp2,
        "floor": np.floor,
        "round": np.round,
        "sign": np.sign,
        "sin": np.sin,
        "square": np.square,
        "tan": np.tan,
        "tanh": np.tanh,
        "erf": lambda x: torch.erf(T(x)),
        "sigmoid": lambda x: torch.sigmoid(T(x)),
        "silu": lambda x: F.silu(T(x)),
        "relu": lambda x: F.relu(T(x)),
        "softplus": lambda x: F.softplus(T(x)),
        "softsign": lambda x: F.softsign(T(x)),
    }
    cases = [
        Case(name, {"x": X}, lambda t, x, name=name: getattr(mb, name)(x=x), lambda x, f=f: f(x))
        for name, f in table.items()
    ]
    return [
        *cases,
        Case(
            "round",
            {"x": np.float32([-1.5, -0.5, 0.5, 1.5, 2.5])},
            lambda t, x: mb.round(x=x),
            lambda x: np.float32([-2, -0.0, 0, 2, 2]),
            "halves_to_even",
        ),
        Case("sqrt", {"x": POSITIVE}, lambda t, x: mb.sqrt(x=x), np.sqrt),
        Case("log", {"x": POSITIVE}, lambda t, x: mb.log(x=x, epsilon=t(0.125)), lambda x: np.log(x + 0.125)),
        Case("log", {"x": POSITIVE}, lambda t, x: mb.log(x=x), np.log, "default"),
        Case(
            "rsqrt",
            {"x": POSITIVE},
            lambda t, x: mb.rsqrt(x=x, epsilon=t(0.125)),
            lambda x: 1 / np.sqrt(x + np.float32(0.125)),
        ),
        Case(
            "inverse",
            {"x": POSITIVE},
            lambda t, x: mb.inverse(x=x, epsilon=t(0.125)),
            lambda x: 1 / (x + np.float32(0.125)),
        ),
        Case(
            "clip",
            {"x": X},
            lambda t, x: mb.clip(x=x, alpha=t(-0.5), beta=t(1)),
            lambda x: np.clip(x, -0.5, 1),
        ),
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
            {"x": X},
            lambda t, x: mb.cast(x=mb.cast(x=mb.floor(x=x), dtype="bool"), dtype="int32"),
            lambda x: (np.floor(x) != 0).astype(np.int32),
            "bool",
        ),
        Case(
            "cast",
            {"x": INTS},
            lambda t, x: mb.cast(x=mb.cast(x=x, dtype="uint16"), dtype="int32"),
            lambda x: x.astype(np.uint16).astype(np.int32),
            "uint16_wraps",
        ),
        Case("identity", {"x": X}, lambda t, x: mb.identity(x=x), lambda x: x),
        Case(
            "logical_not",
            {"p": P},
            lambda t, p: mb.cast(x=mb.logical_not(x=p), dtype="int32"),
            lambda p: (~p).astype(np.int32),
        ),
    ]


def _binary() -> list[Case]:
    table = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "maximum": np.maximum,
        "minimum": np.minimum,
    }
    cases = [
        Case(
            name,
            {"x": X, "y": Y},
            lambda t, x, y, name=name: getattr(mb, name)(x=x, y=y),
            lambda x, y, f=f: f(x, y),
        )
        for name, f in table.items()
    ]
    compared = {
        "equal": np.equal,
        "not_equal": np.not_equal,
        "less": np.less,
        "less_equal": np.less_equal,
        "greater": np.greater,
        "greater_equal": np.greater_equal,
    }
    cases += [
        Case(
            name,
            {"x": INTS, "y": INTS[::-1].copy()},
            lambda t, x, y, name=name: mb.cast(x=getattr(mb, name)(x=x, y=y), dtype="int32"),
            lambda x, y, f=f: f(x, y).astype(np.int32),
        )
        for name, f in compared.items()
    ]
    logical = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
    cases += [
        Case(
            name,
            {"p": P, "q": Q},
            lambda t, p, q, name=name: mb.cast(x=getattr(mb, name)(x=p, y=q), dtype="int32"),
            lambda p, q, f=f: f(p, q).astype(np.int32),
        )
        for name, f in logical.items()
    ]
    return [
        *cases,
        Case("real_div", {"x": X, "y": POSITIVE}, lambda t, x, y: mb.real_div(x=x, y=y), np.divide),
        Case("pow", {"x": POSITIVE, "y": Y}, lambda t, x, y: mb.pow(x=x, y=y), np.power),
        Case(
            "floor_div", {"x": INTS, "y": DIVISORS}, lambda t, x, y: mb.floor_div(x=x, y=y), np.floor_divide
        ),
        Case("mod", {"x": INTS, "y": DIVISORS}, lambda t, x, y: mb.mod(x=x, y=y), np.mod),
        Case(
            "select",
            {"p": P, "x": INTS, "y": DIVISORS},
            lambda t, p, x, y: mb.select(cond=p, a=x, b=y),
            np.where,
        ),
    ]


def _reductions() -> list[Case]:
    table = {
        "reduce_mean": np.mean,
        "reduce_sum": np.sum,
        "reduce_max": np.max,
        "reduce_min": np.min,
        "reduce_l2_norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
        "reduce_sum_square": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
        "reduce_log_sum_exp": lambda x, axis, keepdims: np.log(
            np.sum(np.exp(x), axis=axis, keepdims=keepdims)
        ),
    }
    cases = [
        Case(
            name,
            {"x": X},
            lambda t, x, name=name: getattr(mb, name)(x=x, axes=[0, -1], keep_dims=True),
            lambda x, f=f: f(x, axis=(0, -1), keepdims=True),
        )
        for name, f in table.items()
    ]
    return [
        *cases,
        Case("reduce_sum", {"x": X}, lambda t, x: mb.reduce_sum(x=x), lambda x: np.sum(x), "all"),
        Case(
            "reduce_argmax", {"x": X}, lambda t, x: mb.reduce_argmax(x=x, axis=1), lambda x: np.argmax(x, 1)
        ),
        Case(
            "reduce_argmin",
            {"x": X},
            lambda t, x: mb.reduce_argmin(x=x, axis=-1, keep_dims=True),
            lambda x: np.argmin(x, -1)[..., None],
        ),
        Case("cumsum", {"x": INTS}, lambda t, x: mb.cumsum(x=x, axis=1), lambda x: np.cumsum(x, 1)),
        Case(
            "cumsum",
            {"x": X},
            lambda t, x: mb.cumsum(x=x, axis=1, exclusive=True, reverse=True),
            lambda x: np.flip(np.cumsum(np.flip(x, 1), 1), 1) - x,
            "exclusive_reverse",
        ),
        Case(
            "topk",
            {"x": X},
            lambda t, x: mb.topk(x=x, k=2, axis=2)[0],
            lambda x: -np.sort(-x, 2)[..., :2],
            "values",
        ),
        Case(
            "topk",
            {"x": X},
            lambda t, x: mb.topk(x=x, k=2, axis=2, ascending=True)[1],
            lambda x: np.argsort(x, 2, kind="stable")[..., :2],
            "places",
        ),
    ]


def _same_padding(x: np.ndarray, before: list[int], after: list[int]) -> torch.Tensor:
    return T(np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1]))))


def _math() -> list[Case]:
    q, k, v, mask = _floats(1, 2, 3, 8), _floats(1, 2, 5, 8), _floats(1, 2, 5, 6), _floats(3, 5)
    allowed = np.tril(np.ones((3, 5), bool), 1)
    left, right = _floats(2, 4, 3), _floats(2, 5, 4)
    mean, variance, gamma, beta = _floats(3), _floats(3, low=0.5), _floats(3), _floats(3)
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
            "batch_norm",
            {"x": IMAGE},
            lambda t, x: mb.batch_norm(
                x=x,
                mean=t(mean),
                variance=t(np.abs(variance)),
                gamma=t(gamma),
                beta=t(beta),
                epsilon=t(EPSILON),
            ),
            lambda x: F.batch_norm(T(x), T(mean), T(np.abs(variance)), T(gamma), T(beta), eps=EPSILON),
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
            "einsum",
            {"x": _floats(1, 2, 3, 4), "y": _floats(1, 4, 3, 5)},
            lambda t, x, y: mb.einsum(values=[x, y], equation="nchw,nwhu->nchu"),
            lambda x, y: np.einsum("nchw,nwhu->nchu", x, y),
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
    blocks = np.arange(1 * 2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6)
    spread = (
        blocks.reshape(1, 2, 2, 2, 3, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3)
    )  # TensorFlow's order
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
        Case("squeeze", {"x": X[:1, :, None]}, lambda t, x: mb.squeeze(x=x, axes=[2]), lambda x: x[:, :, 0]),
        Case("squeeze", {"x": X[:1, :, None]}, lambda t, x: mb.squeeze(x=x), lambda x: x[0, :, 0], "all"),
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
        Case(
            "stack",
            {"x": X, "y": -X},
            lambda t, x, y: mb.stack(values=[x, y], axis=-1),
            lambda x, y: np.stack([x, y], -1),
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
        Case("reverse", {"x": X}, lambda t, x: mb.reverse(x=x, axes=[0, 2]), lambda x: np.flip(x, (0, 2))),
        Case(
            "pixel_shuffle",
            {"x": _floats(1, 8, 2, 3)},
            lambda t, x: mb.pixel_shuffle(x=x, upscale_factor=2),
            lambda x: F.pixel_shuffle(T(x), 2),
        ),
        Case(
            "pixel_unshuffle",
            {"x": IMAGE},
            lambda t, x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)),
            lambda x: F.pixel_unshuffle(T(x), 2),
        ),
        Case(
            "space_to_depth",
            {"x": blocks},
            lambda t, x: mb.space_to_depth(x=x, block_size=2),
            lambda x: spread,
        ),
        Case(
            "depth_to_space",
            {"x": spread},
            lambda t, x: mb.depth_to_space(x=x, block_size=2),
            lambda x: blocks,
        ),
        Case(
            "pad",
            {"x": X},
            lambda t, x: mb.pad(x=x, pad=[1, 0, 2, 3], constant_val=t(0.5)),
            lambda x: np.pad(x, ((0, 0), (1, 0), (2, 3)), constant_values=0.5),
        ),
        Case(
            "pad",
            {"x": X},
            lambda t, x: mb.pad(x=x, pad=[1, 2, 3, 1], mode="reflect"),
            lambda x: np.pad(x, ((0, 0), (1, 2), (3, 1)), mode="reflect"),
            "reflect",
        ),
        Case(
            "pad",
            {"x": X},
            lambda t, x: mb.pad(x=x, pad=[1, 2], mode="replicate"),
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2)), mode="edge"),
            "replicate",
        ),
        Case(
            "band_part",
            {"x": _floats(4, 5)},
            lambda t, x: mb.band_part(x=x, lower=1, upper=2),
            lambda x: np.triu(np.tril(x, 2), -1),
        ),
        Case(
            "band_part",
            {"x": _floats(4, 5)},
            lambda t, x: mb.band_part(x=x, lower=-1, upper=0),
            np.tril,
            "lower",
        ),
        Case("shape", {"x": X}, lambda t, x: mb.shape(x=x), lambda x: np.int32(x.shape)),
        Case(
            "fill",
            {"x": X},
            lambda t, x: mb.fill(shape=mb.shape(x=x), value=t(0.25)),
            lambda x: np.full_like(x, 0.25),
        ),
        Case(
            "fill_like",
            {"x": X},
            lambda t, x: mb.fill_like(ref_tensor=x, value=np.int32(3)),
            lambda x: np.full(x.shape, 3, np.int32),
        ),
        Case(
            "range_1d",
            {"n": np.int32([7])},
            lambda t, n: mb.range_1d(start=1, end=mb.squeeze(x=n), step=2),
            lambda n: np.arange(1, 7, 2),
        ),
    ]


def _indexing() -> list[Case]:
    places, rows = np.int32([2, 0, 2]), np.int32([[0, 2], [1, 1], [1, 0]])
    along = _ints(2, 2, 4, high=3)
    updates = _floats(2, 2, 4)

    def after(x: np.ndarray, where: Any, values: Any) -> np.ndarray:
        result = x.copy()
        result[where] = values
        return result

    def added(x: np.ndarray, where: Any, values: np.ndarray) -> np.ndarray:
        result = x.copy()
        np.add.at(result, where, values)
        return result

    def at_most(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        result = x.copy()
        np.minimum.at(result, ([0, 1, 1], [2, 1, 0]), u)
        return result

    return [
        Case(
            "slice_by_index",
            {"x": X},
            lambda t, x: mb.slice_by_index(
                x=x,
                begin=[0, 2, 1],
                end=[2, 0, -1],
                stride=[1, -1, 1],
                begin_mask=[True, False, False],
                end_mask=[False, True, False],
            ),
            lambda x: x[:2, 2::-1, 1:-1],
        ),
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
            "slice_update",
            {"x": X, "u": updates[:, 0]},
            lambda t, x, u: mb.slice_update(
                x=x,
                update=u,
                begin=[0, 1, 0],
                end=[2, 0, 0],
                stride=[1, 1, -1],
                squeeze_mask=[False, True, False],
                begin_mask=[False, False, True],
                end_mask=[False, False, True],
            ),
            lambda x, u: after(x, np.s_[:, 1, ::-1], u),
            "backwards",
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
        Case(
            "gather",
            {"x": X, "i": np.int32([[1, 0], [2, 2]])},
            lambda t, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
            lambda x, i: np.stack([x[0][i[0]], x[1][i[1]]]),
            "batch",
        ),
        Case(
            "gather_along_axis",
            {"x": X, "i": along},
            lambda t, x, i: mb.gather_along_axis(x=x, indices=i, axis=1),
            lambda x, i: np.take_along_axis(x, i, 1),
        ),
        Case(
            "gather_nd",
            {"x": X, "i": rows},
            lambda t, x, i: mb.gather_nd(x=x, indices=i),
            lambda x, i: x[i[:, 0], i[:, 1]],
        ),
        Case(
            "gather_nd",
            {"x": X, "i": np.int32([[[1], [0]], [[2], [2]]])},
            lambda t, x, i: mb.gather_nd(x=x, indices=i, batch_dims=1),
            lambda x, i: np.stack([x[0][i[0, :, 0]], x[1][i[1, :, 0]]]),
            "batch",
        ),
        Case(
            "scatter",
            {"x": X, "u": _floats(2, 3, 4)},
            lambda t, x, u: mb.scatter(data=x, indices=places, updates=u, axis=1, mode="add"),
            lambda x, u: added(x, np.s_[:, places], u),
            "add",
        ),
        Case(
            "scatter",
            {"x": X, "u": updates},
            lambda t, x, u: mb.scatter(data=x, indices=[2, 0], updates=u, axis=1, mode="update"),
            lambda x, u: after(x, np.s_[:, [2, 0]], u),
            "update",
        ),
        Case(
            "scatter_along_axis",
            {"x": X, "u": updates},
            lambda t, x, u: mb.scatter_along_axis(data=x, indices=along, updates=u, axis=1, mode="add"),
            lambda x, u: T(x).scatter_add(1, T(along).long(), T(u)),
        ),
        Case(
            "scatter_nd",
            {"x": X, "u": _floats(3, 4)},
            lambda t, x, u: mb.scatter_nd(data=x, indices=rows, updates=u, mode="min"),
            at_most,
            "min",
        ),
        Case("non_zero", {"x": INTS}, lambda t, x: mb.non_zero(x=x), lambda x: np.argwhere(x)),
    ]


CASES = [*_unary(), *_binary(), *_reductions(), *_math(), *_shapes(), *_indexing()]
