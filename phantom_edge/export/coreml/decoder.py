"""The text decoder's own operations: positions, rotary embedding, KV cache as state, attention."""

from __future__ import annotations

import math

import numpy as np

from phantom_edge.export.base import ExportOptions
from phantom_edge.export.coreml.mil import Var, mb, types
from phantom_edge.export.coreml.ops import MilOps, Shared
from phantom_edge.export.half_constants import factors
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rope import static_tables

# Subtracted from the scores of positions not yet reached; finite, because the Neural Engine fails on -inf.
MASKED = 1e4


def cache_names(n: int) -> tuple[str, str]:
    """Names of the two states of layer ``n``."""
    return f"key_cache_{n}", f"value_cache_{n}"


class DecoderOps(MilOps):
    """At int32 ``positions`` [S], over ``states`` by name, each fp16 [1, Hkv, context, width]."""

    def __init__(
        self,
        model: FoldedModel,
        options: ExportOptions,
        positions: Var,
        states: dict[str, Var],
        shared: Shared,
    ):
        super().__init__(model.spec, model.weights, options.float_type, shared)
        self.context, self.positions, self.caches = options.context, positions, states
        self.group = model.config.decoder.heads // model.config.decoder.kv_heads
        self.tables = self._rotary_tables()
        self.mask = self._mask()
        self.begin, self.end = self._slice()

    def _rotary_tables(self) -> tuple[Var, Var]:
        """cos and signed sin [1, S, 1, D] of this call's positions.

        The tables stay fp32 and are rounded after the look-up, once per call: the program then holds the same
        numbers as every other export, and each layer works in its own type.
        """
        d = self.spec.config.decoder
        cos, sin = (t.numpy() for t in static_tables(d.rope, d.head_dim, self.context))  # [context, D/2]
        tables = {"cos": np.concatenate([cos, cos], -1), "sin": np.concatenate([-sin, sin], -1)}
        rows = []
        for name, table in tables.items():
            const = self.array(table.astype(np.float32), f"rope_{name}", f"rope_{name}")
            row = mb.gather(x=const, indices=self.positions, axis=0, validate_indices=False)  # [S, D]
            rows.append(mb.expand_dims(x=self._cast(row, self.float_type), axes=[0, 2]))  # [1, S, 1, D]
        return rows[0], rows[1]

    def _mask(self) -> Var:
        """[1, 1, S*group, context]: 0 up to a row's position, -1e4 beyond; ``group`` rows a position."""
        rows = mb.expand_dims(x=self.positions, axes=[0, 2])  # [1, S, 1]
        if self.group > 1:
            rows = mb.tile(x=rows, reps=[1, 1, self.group])  # [1, S, group]
        rows = mb.reshape(x=rows, shape=[1, 1, -1, 1])  # [1, 1, S*group, 1]
        columns = np.arange(self.context, dtype=np.int32).reshape(1, 1, 1, -1)
        reached = mb.less_equal(x=self.array(columns, "cache_positions", "cache_positions"), y=rows)
        reached = self._cast(reached, self.float_type)
        return mb.mul(x=mb.sub(x=reached, y=self.number(1.0)), y=self.number(MASKED))

    def _slice(self) -> tuple[Var, Var]:
        """Begin and end, over [1, Hkv, context, width], of where this call's keys and values go."""
        start = mb.slice_by_size(x=self.positions, begin=[0], size=[1])  # [1]
        steps = mb.shape(x=self.positions)  # [1]
        zero = np.zeros(1, np.int32)
        begin = mb.concat(values=[zero, zero, start, zero], axis=0)
        return begin, mb.concat(values=[zero, zero, mb.add(x=start, y=steps), zero], axis=0)

    def _cast(self, x: Var, float_type: str) -> Var:
        return x if types.builtin_to_string(x.dtype) == float_type else mb.cast(x=x, dtype=float_type)

    def rope(self, x: Var) -> Var:
        cos, sin = self.tables
        first, second = mb.split(x=x, num_splits=2, axis=-1)
        swapped = mb.concat(values=[second, first], axis=-1)
        return mb.add(x=mb.mul(x=x, y=cos), y=mb.mul(x=swapped, y=sin))

    def cached_attention(self, q: Var, k: Var, v: Var, layer: int, scale: float) -> Var:
        """One attention op over the whole cache.

        The group of query heads that share a key head goes into the row axis, [1, Hkv, S*group, W], so that
        the cache is never repeated: the same numbers, without ``group`` copies of keys and values.
        """
        heads, width = q.shape[-2], q.shape[-1]
        # The op divides by sqrt(width) and loses its fused form when given another scale.
        on_query, on_key = self._factors(scale * math.sqrt(width))
        key_cache, value_cache = (self.caches[name] for name in cache_names(layer))
        keys, values = self._extend(key_cache, self._times(k, on_key)), self._extend(value_cache, v)
        rows = mb.reshape(x=self._times(q, on_query), shape=[1, -1, heads // self.group, self.group * width])
        rows = mb.transpose(x=rows, perm=[0, 2, 1, 3])  # [1, Hkv, S, group*W]
        rows = mb.reshape(x=rows, shape=[1, heads // self.group, -1, width])  # [1, Hkv, S*group, W]
        x = mb.scaled_dot_product_attention(query=rows, key=keys, value=values, attn_mask=self.mask)
        x = mb.reshape(x=x, shape=[1, heads // self.group, -1, self.group * width])  # [1, Hkv, S, group*W]
        x = mb.transpose(x=x, perm=[0, 2, 1, 3])  # [1, S, Hkv, group*W]
        return mb.reshape(x=x, shape=[1, -1, heads, width])  # [1, S, H, W]

    def _factors(self, target: float) -> tuple[float, float]:
        if self.float_type == "fp32" or math.isclose(target, 1.0, rel_tol=1e-12):
            return target, 1.0
        return factors(target)

    def _times(self, x: Var, factor: float) -> Var:
        return x if self.number(factor) == 1.0 else mb.mul(x=x, y=self.number(factor))

    def _extend(self, cache: Var, x: Var) -> Var:
        """Write [1, S, Hkv, W] at this call's positions; the whole cache [1, Hkv, context, W] afterwards."""
        update = mb.transpose(x=x, perm=[0, 2, 1, 3])  # [1, Hkv, S, W]
        whole = [True, True, False, True]
        places = {"begin": self.begin, "end": self.end, "begin_mask": whole, "end_mask": whole}
        x = mb.read_state(input=cache)
        updated = mb.slice_update(x=x, update=self._cast(update, "fp16"), **places)
        updated = mb.coreml_update_state(state=cache, value=updated)
        return self._cast(updated, self.float_type)

    def last(self, x: Var) -> Var:
        # [1, 1, C]
        return mb.slice_by_index(
            x=x, begin=[0, -1, 0], end=[0, 0, 0], begin_mask=[True, False, True], end_mask=[True] * 3
        )
