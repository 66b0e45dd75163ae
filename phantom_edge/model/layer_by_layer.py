"""Folded models on whole sequences, layer by layer: what a check needs of a model that is larger than memory.

Attention is causal, so that all tokens at once give what a prefill and cached steps give, up to the order of
summation; where a runtime's activation grid spans one call, the calls are told. Every layer's weights are
made once, for all sequences and for all models that share them, and gone when the next layer begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel, is_module
from phantom_edge.model.ops import TorchOps
from phantom_edge.model.original import causal_attention
from phantom_edge.model.rope import rotary_tables
from phantom_edge.numbers.activations import ActivationGrid, fake_quantize

TILES_AT_ONCE = 4
Calls = Sequence[int]


class Stream:
    """Decoder layers, in order, of models whose recipe's modules hold the same weights.

    The models may differ in their fold, its constants and the activation grid. :meth:`forget` ends a layer.
    """

    def __init__(self) -> None:
        self._dense: dict[str, torch.Tensor] = {}

    def forget(self) -> None:
        """A layer is done: let go of its matrices."""
        self._dense.clear()

    @torch.inference_mode()
    def decoder_layer(
        self, model: FoldedModel, n: int, x: torch.Tensor, calls: Calls | None = None
    ) -> torch.Tensor:
        """Layer ``n`` of whole sequences [B, S, hidden], which the runtime sees in ``calls`` of so many
        tokens.
        """
        return graphs.decoder_layer(self._ops(model, calls, x.shape[1]), model.spec, n, x)

    @torch.inference_mode()
    def logits(self, model: FoldedModel, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, S, vocab] after the last layer; a runtime computes each position's in a call of its
        own.
        """
        ops = self._ops(model, [1] * x.shape[1], x.shape[1])
        x = ops.rms_norm(x, "text_decoder.norm", model.config.decoder.rms_norm_eps)
        return ops.linear(x, "text_decoder.head")

    def _ops(self, model: FoldedModel, calls: Calls | None, length: int) -> _StreamOps:
        return _StreamOps(model, self._dense, calls, length)


@torch.inference_mode()
def encode_tiles(model: FoldedModel, pixels: torch.Tensor) -> torch.Tensor:
    """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], several at once, each a runtime's own
    call.
    """

    def encode(tiles: torch.Tensor) -> torch.Tensor:
        ops = _StreamOps(model, None, [1] * len(tiles), axis=0)
        return graphs.vision_encoder(ops, model.spec, tiles)

    return torch.cat([encode(tiles) for tiles in pixels.split(TILES_AT_ONCE)])


class _StreamOps(TorchOps):
    """:class:`TorchOps` over whole sequences. ``calls`` are the sizes of a runtime's calls along ``axis``."""

    def __init__(
        self,
        model: FoldedModel,
        dense: dict[str, torch.Tensor] | None,
        calls: Calls | None,
        length: int | None = None,
        axis: int = 1,
    ):
        super().__init__(model.spec, model.weights, activation=model.activation, kv=model.kv)
        self._dense, self._calls, self._axis = dense, calls, axis
        if length is not None:
            d = model.config.decoder
            self.tables = rotary_tables(d.rope, d.head_dim, torch.arange(length), length)

    def on_grid(self, x, grid, group):
        if (
            grid is not ActivationGrid.TENSOR_UINT8 or self._calls is None
        ):  # the other grids span a row at most
            return fake_quantize(x, grid, group)
        parts = x.split(list(self._calls), dim=self._axis)
        return torch.cat([fake_quantize(part, grid, group) for part in parts], dim=self._axis)

    def product(self, x, name, weight, bias):
        return F.linear(x, self.dense(name, weight), bias)

    def dense(self, name, weight):
        if self._dense is None or not is_module(f"{name}.weight"):
            return super().dense(name, weight)
        if name not in self._dense:
            self._dense[name] = super().dense(name, weight)
        return self._dense[name]

    def cached_attention(self, q, k, v, layer, scale):
        if self.kv is not None:
            k, v = self.kv.round(layer, k, v)
        group = q.shape[2] // k.shape[2]
        k, v = (t.repeat_interleave(group, dim=2) for t in (k, v))
        return causal_attention(q, k, v, scale)
