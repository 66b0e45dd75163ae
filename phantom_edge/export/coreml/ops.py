"""The graphs' operations as MIL, iOS 18: arithmetic, weights and the vision encoder's own operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phantom_edge.export.coreml.mil import Var, mb, types
from phantom_edge.export.coreml.readback import mil_name
from phantom_edge.export.half_constants import FloatConstants
from phantom_edge.model.ops import Weights
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor

NUMPY = {"fp16": np.float16, "fp32": np.float32}


Shared = dict[str, np.ndarray]
"""Arrays by name, for the functions of one program: each made, kept and written once."""


class MilOps:
    """Emits MIL operations for :mod:`phantom_edge.model.graphs`; a value is a MIL variable in ``float_type``.

    ``shared`` holds the weights that an earlier function of the same program has stored already.
    """

    def __init__(self, spec: FoldedSpec, weights: Weights, float_type: str, shared: Shared | None = None):
        self.spec, self.weights, self.float_type = spec, weights, float_type
        self.number = NUMPY[float_type]  # a Python number in the program's float type
        self.constants = FloatConstants(spec, weights, float_type)
        self.shared: Shared = {} if shared is None else shared

    # --- weights --------------------------------------------------------------------------------------------

    def const(self, name: str, repeat: int = 1) -> Var:
        """The float weight ``name``, repeated along its only axis."""
        key = f"{name} x{repeat}"
        if key not in self.shared:
            array = self.constants.stored(name).numpy()
            self.shared[key] = np.tile(array, repeat) if repeat > 1 else array
        return self.array(self.shared[key], mil_name(name), key)

    def array(self, array: np.ndarray, name: str, key: str) -> Var:
        """``array`` as a constant; equal keys in several functions are one blob of the weight file."""
        const = mb.const(val=array, name=name)
        const.op.weight_id = key
        return const

    def _weight(self, name: str) -> Var:
        if f"{name} data" not in self.shared:
            weight = self.weights[name]
            if not isinstance(weight, QuantizedTensor):
                return self.const(name)
            self._store(name, weight)
        # Core ML keeps int4 without an offset in -8..7 and forms data * scale: the integers as they are.
        data, scale = (self.shared[f"{name} {part}"] for part in ("data", "scale"))
        weight = mb.constexpr_blockwise_shift_scale(data=data, scale=scale, name=mil_name(name))
        for part in ("data", "scale"):
            weight.op.inputs[part].op.weight_id = f"{name} {part}"
        return weight

    def _store(self, name: str, weight: QuantizedTensor) -> None:
        self.constants.read.add(name)
        values = weight.values.contiguous().numpy()
        if weight.bits == 4:
            # int8 that says it is int4; ``astype`` would drop the remark.
            values = values.view(types.np_int4_dtype)
        self.shared[f"{name} data"] = values
        self.shared[f"{name} scale"] = weight.scales.contiguous().numpy().astype(self.number)

    # --- arithmetic -----------------------------------------------------------------------------------------

    def linear(self, x: Var, name: str) -> Var:
        if name.endswith(".gate"):
            return self._gate(x, name)
        weight = self._weight(f"{name}.weight")
        if f"{name}.bias" in self.weights:
            return mb.linear(x=x, weight=weight, bias=self.const(f"{name}.bias"))
        y = mb.linear(x=x, weight=weight)  # with zeros for a bias
        y.op.bias.op.weight_id = f"zeros {y.op.bias.shape[0]}"
        return y

    def _gate(self, x: Var, name: str) -> Var:
        # [1, S, H, D + r] has one axis more than ``linear`` takes.
        y = mb.matmul(x=x, y=self.const(f"{name}.weight"), transpose_y=True)
        return mb.add(x=y, y=self.const(f"{name}.bias"))

    def project(self, x: Var, name: str) -> Var:
        y = mb.matmul(x=x, y=self.const(name), transpose_y=True)
        after = self.constants.scaling(name).after
        return y if after == 1.0 else mb.mul(x=y, y=self.number(after))

    def scale(self, x: Var, name: str) -> Var:
        return mb.mul(x=x, y=self.const(name))

    def layer_norm(self, x: Var, name: str, eps: float) -> Var:
        gamma, beta = self.const(f"{name}.weight"), self.const(f"{name}.bias")
        return mb.layer_norm(x=x, axes=[-1], gamma=gamma, beta=beta, epsilon=self.number(eps))

    def rms_norm(self, x: Var, name: str, eps: float) -> Var:
        """Layer norm of [x | -x], whose mean is zero and whose variance is the mean square of x.

        The square of 256 is beyond float16. Inside the one layer_norm op the runtime squares in its own wider
        type and only the normalised result is rounded, once; dividing first would be five roundings.
        """
        both = mb.concat(values=[x, mb.mul(x=x, y=self.number(-1.0))], axis=-1)
        gamma = self.const(f"{name}.weight", repeat=2)
        both = mb.layer_norm(x=both, axes=[-1], gamma=gamma, epsilon=self.number(eps))
        return mb.split(x=both, num_splits=2, axis=-1)[0]

    def gelu(self, x: Var) -> Var:
        return mb.gelu(x=x, mode="EXACT")

    def silu(self, x: Var) -> Var:
        return mb.silu(x=x)

    def sigmoid(self, x: Var) -> Var:
        return mb.sigmoid(x=x)

    def softmax(self, x: Var) -> Var:
        return mb.softmax(x=x, axis=-1)

    def add(self, a: Var, b: Var) -> Var:
        return mb.add(x=a, y=b)

    def mul(self, a: Var, b: Var) -> Var:
        return mb.mul(x=a, y=b)

    def split(self, x: Var, sizes: Sequence[int]) -> Sequence[Var]:
        return list(mb.split(x=x, split_sizes=list(sizes), axis=-1))

    def concat(self, values: Sequence[Var]) -> Var:
        return mb.concat(values=list(values), axis=-1)

    def split_heads(self, x: Var, heads: int) -> Var:
        return mb.reshape(x=x, shape=[1, -1, heads, x.shape[-1] // heads])  # [1, S, H, D]

    def merge_heads(self, x: Var) -> Var:
        return mb.reshape(x=x, shape=[1, -1, x.shape[-2] * x.shape[-1]])  # [1, S, H*D]

    # --- vision ---------------------------------------------------------------------------------------------

    def patches(self, pixels: Var) -> Var:
        at, v = "vision_encoder", self.spec.config.vision
        weight, bias = self.const(f"{at}.patch_embedding.weight"), self.const(f"{at}.patch_embedding.bias")
        x = mb.conv(
            x=pixels, weight=weight, bias=bias, strides=[v.patch_size] * 2, pad_type="valid"
        )  # [1, C, G, G]
        x = mb.reshape(x=x, shape=[1, v.hidden_size, v.grid**2])  # [1, C, P]
        x = mb.transpose(x=x, perm=[0, 2, 1])  # [1, P, C]
        x = mb.concat(values=[self.const(f"{at}.class_embedding"), x], axis=1)  # [1, 1 + P, C]
        return mb.add(x=x, y=self.const(self.spec.positions(self.spec.config.tile_size)))

    def full_attention(self, q: Var, k: Var, v: Var) -> Var:
        q, k, v = (mb.transpose(x=x, perm=[0, 2, 1, 3]) for x in (q, k, v))  # [1, H, N, D]
        x = mb.scaled_dot_product_attention(query=q, key=k, value=v)
        return mb.transpose(x=x, perm=[0, 2, 1, 3])  # [1, N, H, D]

    def shuffle(self, x: Var) -> Var:
        grid, f, channels = self.spec.config.vision.grid, self.spec.config.downsample, x.shape[-1]
        x = mb.slice_by_index(
            x=x, begin=[0, 1, 0], end=[0, 0, 0], begin_mask=[True, False, True], end_mask=[True] * 3
        )
        small = grid // f
        x = mb.reshape(x=x, shape=[small, f, small, f * channels])  # [row, in-row, column, (in-column, C)]
        x = mb.transpose(x=x, perm=[0, 2, 1, 3])  # [row, column, in-row, (in-column, C)]
        return mb.reshape(x=x, shape=[1, small * small, f * f * channels])  # [1, tokens, 4C]

    # --- token embedding ------------------------------------------------------------------------------------

    def embedding(self, ids: Var) -> Var:
        table = self._weight("token_embedding.weight")
        return mb.gather(x=table, indices=ids, axis=0, validate_indices=False)
