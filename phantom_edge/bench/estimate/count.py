"""What one call of a graph reads and computes: the folded graphs run over an
:class:`~phantom_edge.model.ops.Ops` whose values are shapes, and which counts. So an estimate and an artifact
are made of the same description of the model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from phantom_edge.bench.estimate.shapes import Shape, folded_shapes, goes_on_a_grid, is_module
from phantom_edge.errors import InputError
from phantom_edge.model import graphs
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import Recipe

FORMATS = ("onnx", "executorch", "coreml")  # that are modelled
SCALE_BYTES = {"onnx": 4, "executorch": 2, "coreml": 2}  # of a group's scale, as each exporter writes it
# As multiplied: fp16 weights are widened where arithmetic is fp32.
FLOAT_BYTES = {"onnx": 4, "executorch": 4, "coreml": 2}
CACHE_BYTES = {"onnx": 4, "executorch": 4, "coreml": 2}


@dataclass
class Work:
    """What a call does.

    ``weights`` are bytes and ``products`` operations (two per multiply-add), both by kind of weight
    (``int4``, ``int8``, ``float``); ``attention`` are its operations and ``cached`` the bytes of the KV cache
    that it reads; ``elements`` are values that anything writes; ``calls`` operations of any kind.
    """

    weights: Counter[str] = field(default_factory=Counter)
    products: Counter[str] = field(default_factory=Counter)
    attention: int = 0
    cached: int = 0
    elements: int = 0
    calls: int = 0

    @property
    def kinds(self) -> set[str]:
        return set(self.weights)

    @property
    def main(self) -> str:
        """The kind that has most of the weights' bytes."""
        return max(self.weights, key=lambda kind: self.weights[kind])


def modelled(format_name: str) -> str:
    """The format, if it is modelled. Raises :class:`InputError` for another."""
    if format_name not in FORMATS:
        raise InputError(f"the speed of format {format_name!r} is not modelled, only of {', '.join(FORMATS)}")
    return format_name


@dataclass(frozen=True)
class Model:
    """What an estimate needs of a model: dimensions, recipe, format, and whether its KV cache is int8."""

    spec: FoldedSpec
    recipe: Recipe
    format: str
    int8_cache: bool = False

    @property
    def cache_value(self) -> int:
        """Bytes of one value in the KV cache."""
        return 1 if self.int8_cache else CACHE_BYTES[self.format]

    def kind(self, name: str, shape: Shape) -> str:
        """The kind of a weight matrix: ``int4``, ``int8`` or ``float``."""
        if not is_module(name, shape):
            return "float"
        precision = self.recipe.resolve(name.removesuffix(".weight"), (shape[0], shape[1]))
        return f"int{precision.bits}" if precision.is_integer else "float"

    def bytes(self, name: str, shape: Shape) -> int:
        """Bytes that a call reads of a weight."""
        count = math.prod(shape)
        if self.kind(name, shape) == "float":
            return count * FLOAT_BYTES[self.format]
        precision = self.recipe.resolve(name.removesuffix(".weight"), (shape[0], shape[1]))
        scales = count // precision.group if precision.group else shape[0]
        return count * precision.bits // 8 + scales * SCALE_BYTES[self.format]

    def vision(self) -> Work:
        """One tile through the vision encoder."""
        shape = (1, 3, self.spec.config.vision.image_size, self.spec.config.vision.image_size)
        return self._count(lambda ops: graphs.vision_encoder(ops, self.spec, shape))

    def embedding(self, tokens: int) -> Work:
        """Ids to embeddings."""
        return self._count(lambda ops: graphs.token_embedding(ops, (1, tokens)))

    def decoder(self, tokens: int, cached: int) -> Work:
        """One call with ``tokens`` new tokens on a cache that holds ``cached``."""
        shape = (1, tokens, self.spec.config.decoder.hidden_size)
        return self._count(lambda ops: graphs.text_decoder(ops, self.spec, shape), cached)

    def cache_bytes(self, context: int) -> int:
        """Size of the KV cache at ``context`` tokens."""
        return self.spec.cache_bytes(context, self.cache_value)

    def stored_bytes(self) -> int:
        """Bytes of all weights as an artifact stores them: floats in the recipe's type, vectors in fp32."""
        return sum(self.stored_kinds().values())

    def stored_kinds(self) -> Counter[str]:
        """The same by kind of weight."""
        bytes_by_kind: Counter[str] = Counter()
        for name, shape in folded_shapes(self.spec).items():
            bytes_by_kind[self.kind(name, shape)] += self._stored(name, shape)
        return bytes_by_kind

    def operations(self) -> int:
        """Operations of the three graphs together, of any kind."""
        return self.vision().calls + self.embedding(1).calls + self.decoder(1, 0).calls

    def _stored(self, name: str, shape: Shape) -> int:
        if self.kind(name, shape) != "float":
            return self.bytes(name, shape)
        bits = self.recipe.float_type.bits if goes_on_a_grid(name, shape) else 32
        return self.bytes(name, shape) // FLOAT_BYTES[self.format] * bits // 8

    def _count(self, graph: Callable[[CountOps], object], cached: int = 0) -> Work:
        ops = CountOps(self, folded_shapes(self.spec), cached)
        graph(ops)
        return ops.work


class CountOps:
    """:class:`~phantom_edge.model.ops.Ops` over shapes."""

    def __init__(self, model: Model, shapes: Mapping[str, Shape], cached: int):
        self.model, self.shapes, self.start, self.work = model, shapes, cached, Work()

    def _wrote(self, shape: Shape) -> Shape:
        self.work.calls += 1
        self.work.elements += math.prod(shape)
        return shape

    def _multiplied(self, x: Shape, name: str, shape: Shape) -> Shape:
        kind = self.model.kind(name, shape)
        self.work.weights[kind] += self.model.bytes(name, shape)
        self.work.products[kind] += 2 * math.prod(x) * shape[0]
        return self._wrote((*x[:-1], shape[0]))

    # --- matmuls
    def linear(self, x: Shape, name: str) -> Shape:
        return self._multiplied(x, f"{name}.weight", self.shapes[f"{name}.weight"])

    def project(self, x: Shape, name: str) -> Shape:
        return self._multiplied(x, name, self.shapes[name])

    # --- one value out per value in
    def scale(self, x: Shape, name: str) -> Shape:
        return self._wrote(x)

    def layer_norm(self, x: Shape, name: str, eps: float) -> Shape:
        return self._wrote(x)

    def rms_norm(self, x: Shape, name: str, eps: float) -> Shape:
        return self._wrote(x)

    def gelu(self, x: Shape) -> Shape:
        return self._wrote(x)

    silu = sigmoid = softmax = rope = gelu

    def add(self, a: Shape, b: Shape) -> Shape:
        return self._wrote(a)

    mul = add

    # --- shapes
    def split(self, x: Shape, sizes: Sequence[int]) -> list[Shape]:
        self._wrote(x)
        return [(*x[:-1], size) for size in sizes]

    def concat(self, values: Sequence[Shape]) -> Shape:
        return self._wrote((*values[0][:-1], sum(value[-1] for value in values)))

    def split_heads(self, x: Shape, heads: int) -> Shape:
        self.work.calls += 1
        return (*x[:-1], heads, x[-1] // heads)  # [B, S, H, D]

    def merge_heads(self, x: Shape) -> Shape:
        self.work.calls += 1
        return (*x[:-2], x[-2] * x[-1])  # [B, S, H*D]

    def last(self, x: Shape) -> Shape:
        return self._wrote((x[0], 1, x[2]))

    # --- vision
    def patches(self, pixels: Shape) -> Shape:
        v, name = self.model.spec.config.vision, "vision_encoder.patch_embedding.weight"
        rows = v.grid**2
        self.work.weights["float"] += self.model.bytes(name, self.shapes[name])
        self.work.products["float"] += 2 * rows * math.prod(self.shapes[name])
        return self._wrote((pixels[0], rows + 1, v.hidden_size))

    def full_attention(self, q: Shape, k: Shape, v: Shape) -> Shape:
        self.work.attention += 4 * q[1] * k[1] * q[2] * q[3]  # scores and mixing, in multiply-adds of two
        return self._wrote(q)

    def shuffle(self, x: Shape) -> Shape:
        config = self.model.spec.config
        return self._wrote((x[0], config.tokens_per_tile, config.projector_width))

    # --- decoder
    def embedding(self, ids: Shape) -> Shape:
        return self._wrote((*ids, self.shapes["token_embedding.weight"][1]))

    def cached_attention(self, q: Shape, k: Shape, v: Shape, layer: int, scale: float) -> Shape:
        steps, end = q[1], self.start + q[1]
        seen = self.start + (steps + 1) / 2  # on average, because attention is causal
        self.work.attention += round(4 * steps * seen * q[2] * q[3])
        self.work.cached += 2 * end * k[2] * k[3] * self.model.cache_value
        return self._wrote(q)
