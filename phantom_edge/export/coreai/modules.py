"""The three graphs as torch modules for ``torch.export``: weights and a mutable cache as buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import TorchOps, Weights
from phantom_edge.model.rope import static_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight, dense
from phantom_edge.numbers.grid import QuantizedTensor

MASKED = -1e4  # added to the score of a position that is not to be seen
EMBEDDING = "token_embedding.weight"


def cache_names(n: int) -> tuple[str, str]:
    """Names of a layer's key and value states."""
    return f"key_cache_{n}", f"value_cache_{n}"


@dataclass(frozen=True)
class Grid:
    """What a quantised weight's buffers mean."""

    bits: int
    group: int | None
    block: int


class Graph(nn.Module):
    """One graph over a folded model. Weights become buffers at its first call, which must not be a trace.

    ``grids`` are the weights by name in the order of their use, each with its grid if it is quantised.
    """

    def __init__(self, model: FoldedModel):
        super().__init__()
        self.spec, self.source = model.spec, model.weights
        self.grids: dict[str, Grid | None] = {}

    def hold(self, name: str) -> tuple[Grid | None, list[Tensor]]:
        """A weight's grid and its buffers: values and scales, or itself."""
        at = name.replace(".", "__")
        if name not in self.grids:
            weight = self.source[name]
            if isinstance(weight, QuantizedTensor):
                self.register_buffer(f"{at}__values", weight.values.contiguous())
                self.register_buffer(f"{at}__scales", weight.scales.contiguous())
                self.grids[name] = Grid(weight.bits, weight.group, weight.block)
            else:
                # Not float16 with a cast in the graph: the converter folds that, and is 1e-4 off.
                self.register_buffer(at, weight.detach().float().contiguous())
                self.grids[name] = None
        parts = [at] if self.grids[name] is None else [f"{at}__values", f"{at}__scales"]
        return self.grids[name], [self.get_buffer(part) for part in parts]


class VisionEncoder(Graph):
    """Pixels [1, 3, S, S] in 0..1 to image tokens [1, N, hidden]."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens: Tensor = graphs.vision_encoder(TracedOps(self), self.spec, pixel_values)
        return tokens


class TokenEmbedding(Graph):
    """Ids [1, S] to embeddings [1, S, hidden]."""

    def forward(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = graphs.token_embedding(TracedOps(self), input_ids)
        return rows


class TextDecoder(Graph):
    """Embeddings [1, S, hidden] at positions [S] to logits [1, 1, vocab] of the last; extends the cache."""

    def __init__(self, model: FoldedModel, context: int):
        super().__init__(model)
        d = model.config.decoder
        cos, sin = static_tables(d.rope, d.head_dim, context)  # [context, D/2]
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        for n in range(d.layers):
            for name in cache_names(n):
                self.register_buffer(name, torch.zeros(1, d.kv_heads, context, model.spec.width(n)))

    def forward(self, inputs_embeds: Tensor, position_ids: Tensor) -> Tensor:
        logits: Tensor = graphs.text_decoder(CachedOps(self, position_ids), self.spec, inputs_embeds)
        return logits


class TracedWeights(Mapping[str, Tensor]):
    """A graph's weights as the tensors that a trace sees: a buffer, or the dequantised integers of one."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def __getitem__(self, name: str) -> Tensor:
        grid, buffers = self.graph.hold(name)
        if grid is None:
            return buffers[0]
        kind = getattr(torch, "int4") if grid.bits == 4 else torch.int8  # noqa: B009 (no stub has it)
        dense: Tensor = torch.ops.coreai.constexpr_blockwise_shift_scale(*buffers, input_dtype=kind)
        return dense

    def __iter__(self) -> Iterator[str]:
        return iter(self.graph.source)

    def __len__(self) -> int:
        return len(self.graph.source)


class TracedOps(TorchOps):
    """:class:`TorchOps` over a graph's buffers."""

    def __init__(self, graph: Graph):
        weights: Weights = TracedWeights(graph)
        super().__init__(graph.spec, weights)
        self.graph = graph

    def product(self, x: Tensor, name: str, weight: Weight, bias: Tensor | None) -> Tensor:
        return F.linear(x, dense(weight), bias)  # in one piece: this is a graph, not a computation

    def embedding(self, ids: Tensor) -> Tensor:
        grid, buffers = self.graph.hold(EMBEDDING)
        if grid is None:
            return super().embedding(ids)
        # Rows are looked up before they are scaled: the whole table is never dequantised.
        values, scales = buffers
        rows = F.embedding(ids, values).float()
        rows = rows.reshape(*ids.shape, -1, grid.block)  # [1, S, blocks, block]
        return (rows * F.embedding(ids, scales).unsqueeze(-1)).flatten(-2)  # [1, S, hidden]


class CachedOps(TracedOps):
    """:class:`TracedOps` at the positions [S] of one call of the decoder."""

    def __init__(self, graph: TextDecoder, positions: Tensor):
        super().__init__(graph)
        self.positions = positions
        buffers = dict(graph.named_buffers(recurse=False))
        self.tables = buffers["cos"][positions], buffers["sin"][positions]  # [S, D/2]
        columns = torch.arange(buffers[cache_names(0)[0]].shape[2])
        seen = columns[None] <= positions[:, None]  # [S, context]
        self.mask = torch.where(seen, 0.0, MASKED)

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        keys, values = (getattr(self.graph, name) for name in cache_names(layer))  # [1, Hkv, context, W]
        keys.index_copy_(2, self.positions, k.transpose(1, 2))
        values.index_copy_(2, self.positions, v.transpose(1, 2))
        steps, group = q.shape[1], q.shape[2] // k.shape[2]
        q = q.transpose(1, 2).reshape(1, k.shape[2], group * steps, -1)  # [1, Hkv, group*S, W]
        mask = self.mask.repeat(group, 1)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=scale)
        return out.reshape(1, group * k.shape[2], steps, -1).transpose(1, 2)  # [1, S, H, W]


def build(graph: str, model: FoldedModel, context: int) -> Graph:
    """The module of one of :data:`phantom_edge.export.base.GRAPHS`."""
    if graph == "text_decoder":
        return TextDecoder(model, context)
    return {"vision_encoder": VisionEncoder, "token_embedding": TokenEmbedding}[graph](model)


def attention_ops(graph: str, spec: FoldedSpec) -> int:
    """Attention ops in one function of ``graph``."""
    layers = {"vision_encoder": spec.config.vision.layers, "text_decoder": spec.config.decoder.layers}
    return layers.get(graph, 0)
