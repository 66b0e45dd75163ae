"""The folded graphs' operations as XNNPACK nodes, and as kernels where ExecuTorch keeps the KV cache.

Everything between two attention ops is one subgraph, so a decoder of L layers is L + 2 delegates and the
vision encoder is one. Means over the last axis are products with a row of 1/C: XNNPACK's delegate has no such
reduction, and a norm left outside it would cut every layer in three.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
from executorch.backends.xnnpack.utils.xnnpack_constants import XNN_INVALID_VALUE_ID

from phantom_edge.export.base import float_tensor
from phantom_edge.export.executorch.program import Method
from phantom_edge.export.executorch.xnnpack import Steps, Subgraph, Value
from phantom_edge.model.ops import Weights
from phantom_edge.model.rope import static_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight
from phantom_edge.numbers.grid import RANGES, QuantizedTensor, pack_nibbles

END = torch.iinfo(torch.int64).max  # "to the end" of a slice


class XnnOps:
    """:class:`~phantom_edge.model.ops.Ops` that write a method.

    Matrices are stored in the type they have; XNNPACK multiplies fp16 ones in fp32. Other constants (norms,
    biases, positions) become fp32, which changes no value.
    """

    def __init__(self, method: Method, spec: FoldedSpec, weights: Weights, context: int):
        self.method, self.spec, self.weights, self.context = method, spec, weights, context
        self.graph = Subgraph(method.constants)
        self.start: Value | None = None
        self.end: Value | None = None
        self.mask: Value | None = None
        self.tables: tuple[Value, Value] | None = None

    def begin_decoder(self, embeds: Value, positions: Value) -> None:
        """Read the start position, cut the rotary tables to this call's positions and make the causal mask.

        Only ``positions[0]`` counts: ExecuTorch's runner passes either every position or just the first.
        """
        call, config = self.method.call, self.spec.config.decoder
        first = call("aten::select_copy.int_out", positions, 0, 0, out=self.method.tensor((), torch.int64))
        self.start = call("aten::_local_scalar_dense", first, out=self.method.integer())
        count = call("aten::sym_size.int", embeds, 1, out=self.method.integer())
        self.end = call("executorch_prim::add.Scalar", self.start, count, out=self.method.integer())
        tables = static_tables(config.rope, config.head_dim, self.context)
        cos, sin = (self._rows(table[:, None], embeds.shape[1]) for table in tables)  # [S, 1, D/2]
        self.tables = cos, sin
        self.mask = self._causal_mask(embeds.shape[1])

    def finish(self, output: Value) -> None:
        """Close the last subgraph."""
        self.method.slot(output)
        self._close()

    # --- arithmetic shared by both graphs
    def linear(self, x: Value, name: str) -> Value:
        weight = self.weights[f"{name}.weight"]
        bias = self.weights.get(f"{name}.bias")
        if isinstance(weight, QuantizedTensor):
            x = self.graph.token_int8(x)
        named = None if bias is None else (f"{name}.bias", float_tensor(bias, name))
        return self._product(x, f"{name}.weight", weight, named)

    def project(self, x: Value, name: str) -> Value:
        return self._product(x, name, self.weights[name])

    def scale(self, x: Value, name: str) -> Value:
        return self.graph.binary(schema.XNNMultiply, x, self._constant(name))

    def layer_norm(self, x: Value, name: str, eps: float) -> Value:
        centred = self.graph.binary(schema.XNNSubtract, x, self._mean(x))
        scaled = self._unit_variance(centred, f"{name}.weight", eps)
        return self.graph.binary(schema.XNNAdd, scaled, self._constant(f"{name}.bias"))

    def rms_norm(self, x: Value, name: str, eps: float) -> Value:
        return self._unit_variance(x, f"{name}.weight", eps)

    def gelu(self, x: Value) -> Value:
        return self.graph.unary(schema.XNNGelu, x)

    def silu(self, x: Value) -> Value:
        return self.mul(x, self.sigmoid(x))

    def sigmoid(self, x: Value) -> Value:
        return self.graph.unary(schema.XNNSigmoid, x)

    def softmax(self, x: Value) -> Value:
        return self.graph.unary(schema.XNNSoftmax, x)

    def add(self, a: Value, b: Value) -> Value:
        return self.graph.binary(schema.XNNAdd, a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self.graph.binary(schema.XNNMultiply, a, b)

    def split(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        starts, axis = [sum(sizes[:i]) for i in range(len(sizes))], len(x.shape) - 1
        return [self.graph.narrow(x, axis, at, size) for at, size in zip(starts, sizes, strict=True)]

    def concat(self, values: Sequence[Value]) -> Value:
        first, *rest = values
        for value in rest:
            first = self.graph.concat(first, value)
        return first

    def split_heads(self, x: Value, heads: int) -> Value:
        return self.graph.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads))  # [B, S, H, D]

    def merge_heads(self, x: Value) -> Value:
        return self.graph.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]))  # [B, S, H*D]

    # --- vision: one tile, [1, ...]
    def patches(self, pixels: Value) -> Value:
        at, v = "vision_encoder", self.spec.config.vision
        p, g, graph = v.patch_size, v.grid, self.graph
        x = graph.transpose(graph.reshape(pixels, (3, g, p, g, p)), (1, 3, 0, 2, 4))  # [row, column, 3, p, p]
        x = graph.reshape(x, (1, g * g, 3 * p * p))
        weight = self._tensor(f"{at}.patch_embedding.weight").flatten(1)  # [C, 3*p*p]
        bias = (f"{at}.patch_embedding.bias", self._tensor(f"{at}.patch_embedding.bias"))
        x = self._product(x, f"{at}.patch_embedding.weight", weight, bias)
        # The class token and the positions are both constants: one table is added, its first row to zeros.
        name = self.spec.positions(v.image_size)
        table = self._tensor(name).float().clone()  # [1, 1 + P, C]
        table[:, :1] += self._tensor(f"{at}.class_embedding").float()
        x = graph.pad_front(x, 1, 1)
        return graph.binary(schema.XNNAdd, x, graph.tensor(name, table))

    def full_attention(self, q: Value, k: Value, v: Value) -> Value:
        graph = self.graph
        q = graph.transpose(self._scaled(q, q.shape[-1] ** -0.5), (0, 2, 1, 3))  # [B, H, N, D]
        weights = self.softmax(graph.matmul(q, graph.transpose(k, (0, 2, 3, 1))))  # [B, H, N, N]
        mixed = graph.matmul(weights, graph.transpose(v, (0, 2, 1, 3)))  # [B, H, N, D]
        return graph.transpose(mixed, (0, 2, 1, 3))  # [B, N, H, D]

    def shuffle(self, x: Value) -> Value:
        grid, factor, graph = self.spec.config.vision.grid, self.spec.config.downsample, self.graph
        small, channels = grid // factor, x.shape[-1]
        x = graph.narrow(x, 1, 1, grid * grid)
        x = graph.transpose(graph.reshape(x, (small, factor, small, factor, channels)), (0, 2, 1, 3, 4))
        return graph.reshape(x, (1, small * small, factor * factor * channels))

    # --- decoder
    def embedding(self, ids: Value) -> Value:
        weight, call = self.weights["token_embedding.weight"], self.method.call
        shape = (*ids.shape, weight.shape[1])
        if isinstance(weight, QuantizedTensor):
            return self._gather(weight, ids, self.method.tensor(shape))
        out = self.method.tensor(shape, weight.dtype)
        rows = call("aten::embedding.out", self.method.constant(weight), ids, -1, False, False, out=out)
        if weight.dtype == torch.float32:
            return rows
        return call("dim_order_ops::_to_dim_order_copy.out", rows, False, None, out=self.method.tensor(shape))

    def rope(self, x: Value) -> Value:
        half, graph = x.shape[-1] // 2, self.graph
        first, second = self.split(x, [half, half])
        assert self.tables is not None, "begin_decoder comes first"
        steps = self.tables[0].shape[0]
        cos, sin = (graph.reshape(table, (1, steps, 1, half)) for table in self.tables)  # [1, S, 1, D/2]
        left = graph.binary(schema.XNNSubtract, self.mul(first, cos), self.mul(second, sin))
        return graph.concat(left, self.add(self.mul(second, cos), self.mul(first, sin)))

    def cached_attention(self, q: Value, k: Value, v: Value, layer: int, scale: float) -> Value:
        """Products with the filled part of the cache, once for all query heads that share a key-value head.

        The rows of such a product are the steps of the call times those heads, so that a key is read once.
        """
        q = self._scaled(q, scale)
        by_head = [self.graph.transpose(value, (2, 1, 0, 3)) for value in (k, v)]  # [Hkv, S, 1, W]
        for value in by_head:
            self.method.slot(value)
        self._close()
        names = (f"layers.{layer}.{part}" for part in ("keys", "values"))
        keys, values = map(self._cached, by_head, names)
        graph, (_, steps, heads, width) = self.graph, q.shape
        group, mixed = heads // len(keys), []
        assert self.mask is not None, "begin_decoder comes first"
        for n, (key, value) in enumerate(zip(keys, values, strict=True)):
            rows = graph.narrow(q, 2, n * group, group)  # [1, S, G, W]
            rows = graph.reshape(rows, (1, Steps(steps * group), width))
            scores = self.add(graph.matmul(rows, key, transposed=True), self.mask)  # [1, S*G, N]
            mixed.append(graph.reshape(graph.matmul(self.softmax(scores), value), (1, steps, group * width)))
        return self.split_heads(self.concat(mixed), heads)

    def last(self, x: Value) -> Value:
        self.method.slot(x)
        self._close()
        out = self.method.tensor((1, 1, x.shape[-1]))
        return self.method.call("aten::slice_copy.Tensor_out", x, 1, -1, END, 1, out=out)

    # --- parts
    def _cached(self, value: Value, name: str) -> list[Value]:
        """Append [Hkv, S, 1, W] to a cache of its own; what is filled of it, [1, N, W] of each head."""
        assert self.end is not None, "begin_decoder comes first"
        cache = self.method.state((value.shape[0], self.context, 1, value.shape[3]), name)
        out = self.method.tensor((1,))
        self.method.call("llama::update_cache.out", value, cache, self.start, out=out)
        return [self.method.window(cache, head, self.end) for head in range(value.shape[0])]

    def _causal_mask(self, steps: int) -> Value:
        """[1, S*G, N]: 0 where a row may look and at most -2**30 elsewhere; rows of G heads share a step."""
        call, graph, config = self.method.call, self.graph, self.spec.config.decoder
        group, numbers = config.heads // config.kv_heads, []
        for start, count in ((self.start, steps), (0, self.context)):
            out = self.method.tensor((Steps(count),))
            numbers.append(call("aten::arange.start_out", start, self.end, 1, out=out))
        row = graph.reshape(numbers[0], (1, Steps(steps), 1))
        rows = graph.reshape(self.concat([row] * group), (1, Steps(steps * group), 1))
        later = graph.binary(schema.XNNSubtract, rows, graph.reshape(numbers[1], (1, 1, Steps(self.context))))
        far = self._scaled(later, 2.0**30)  # exact: positions are below 2**24
        return graph.binary(schema.XNNMinimum, far, graph.tensor("zero", torch.zeros(1)))

    def _product(
        self, x: Value, key: str, weight: Weight, bias: tuple[str, torch.Tensor] | None = None
    ) -> Value:
        bias_id = XNN_INVALID_VALUE_ID if bias is None else self.graph.tensor(bias[0], bias[1].float())
        return self.graph.linear(x, self.graph.matrix(key, weight), weight.shape[0], bias_id)

    def _gather(self, weight: QuantizedTensor, ids: Value, out: Value) -> Value:
        if weight.bits == 8:
            op, table, scales = "byte", weight.values, weight.scales[:, 0]
        else:  # rows of bytes, an even column in the high half
            op, table, scales = "4bit", pack_nibbles(weight.values, high_first=True, offset=8), weight.scales
        stored = [self.method.constant(table), self.method.constant(scales)]
        name = f"quantized_decomposed::embedding_{op}.out"
        return self.method.call(name, *stored, None, *RANGES[weight.bits], ids, out=out)

    def _tensor(self, name: str) -> torch.Tensor:
        return float_tensor(self.weights[name], name)

    def _scaled(self, x: Value, factor: float) -> Value:
        constant = self.graph.tensor(f"scale.{factor}", torch.tensor([factor]))
        return self.graph.binary(schema.XNNMultiply, x, constant)

    def _constant(self, name: str) -> int:
        return self.graph.tensor(name, self._tensor(name).float())

    def _mean(self, x: Value) -> Value:
        size = x.shape[-1]
        return self.graph.linear(x, self.graph.tensor(f"mean.{size}", torch.full((1, size), 1 / size)), 1)

    def _unit_variance(self, x: Value, weight: str, eps: float) -> Value:
        graph = self.graph
        variance = self._mean(graph.unary(schema.XNNSquare, x))  # [B, S, 1]
        shifted = graph.binary(schema.XNNAdd, variance, graph.tensor(f"eps.{eps}", torch.tensor([eps])))
        x = graph.binary(schema.XNNMultiply, x, graph.unary(schema.XNNReciprocalSquareRoot, shifted))
        return graph.binary(schema.XNNMultiply, x, self._constant(weight))

    def _rows(self, table: torch.Tensor, steps: int) -> Value:
        out = self.method.tensor((steps, *table.shape[1:]))
        constant = self.method.constant(table)
        return self.method.call("aten::slice_copy.Tensor_out", constant, 0, self.start, self.end, 1, out=out)

    def _close(self) -> None:
        if self.graph:
            self.method.delegate(self.graph)
        self.graph = Subgraph(self.method.constants)


def dynamic(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    """``shape`` with ``axis`` as a bound instead of a length."""
    return tuple(Steps(n) if i == axis else n for i, n in enumerate(shape))
