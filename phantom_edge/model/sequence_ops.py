"""A whole sequence with its picture as a model's input, and the operations of the graphs over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.model.ops import CacheScales, TorchOps, Weights
from phantom_edge.model.rope import rotary_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight, dense, is_module
from phantom_edge.numbers.activations import ActivationGrid, GridOf, fake_quantize

Observer = Callable[[str, Tensor, Tensor], None]
"""Called after every module with its name, input [..., in] and output [..., out], and before every attention
of the decoder with ``text_decoder.layers.N.attention``, its keys and its values [B, S, Hkv, W]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelInput:
    """A picture and one sequence of tokens, read whole.

    Attributes:
        name: for messages.
        ids: [1, S].
        sources: positions [N] whose next token is predicted: logits are computed there only.
        pixels: tiles [T, 3, size, size] of RGB in 0..1, if there is a picture.
        image_places: bool [1, S], where the image tokens take the place of the embeddings.
        positions: [S] for the rotary embedding; None counts from zero.
        mask: bool [S, S], True where a position may look; None looks at all before it.
        calls: tokens that a runtime takes in each call, for grids that span a call; None is all at once.
    """

    name: str
    ids: Tensor
    sources: Tensor
    pixels: Tensor | None = None
    image_places: Tensor | None = None
    positions: Tensor | None = None
    mask: Tensor | None = None
    calls: Sequence[int] | None = None

    def join(self, embeds: Tensor, image: Tensor | None) -> Tensor:
        """Embeddings [1, S, hidden] with image tokens [T, tokens, hidden] in their places."""
        if image is None or self.image_places is None:
            return embeds
        return embeds.masked_scatter(self.image_places[..., None], image.flatten(0, 1).to(embeds.dtype))


class SequenceOps(TorchOps):
    """:class:`TorchOps` over whole sequences, without a cache.

    ``calls`` are the sizes of a runtime's calls along ``axis`` of the activations. ``matrices`` keeps the
    modules' weights in fp32.
    """

    def __init__(
        self,
        spec: FoldedSpec,
        weights: Weights,
        *,
        activation: GridOf | None = None,
        kv: CacheScales | None = None,
        sequence: ModelInput | None = None,
        calls: Sequence[int] | None = None,
        axis: int = 0,
        observe: Observer | None = None,
        matrices: dict[str, Tensor] | None = None,
    ):
        super().__init__(spec, weights, activation=activation, kv=kv)
        self._calls, self._axis, self._observe = calls, axis, observe
        self._matrices = {} if matrices is None else matrices
        if sequence is not None:
            d, length = spec.config.decoder, sequence.ids.shape[1]
            positions = torch.arange(length) if sequence.positions is None else sequence.positions
            self.tables = rotary_tables(d.rope, d.head_dim, positions, int(positions.max()) + 1)
            self._mask = sequence.mask

    def linear(self, x: Tensor, name: str) -> Tensor:
        y = super().linear(x, name)
        if self._observe is not None:
            self._observe(name, x, y)
        return y

    def on_grid(self, x: Tensor, grid: ActivationGrid, group: int | None) -> Tensor:
        if grid is not ActivationGrid.TENSOR_UINT8 or self._calls is None:  # the others span a row at most
            return fake_quantize(x, grid, group)
        parts = torch.split(x, list(self._calls), dim=self._axis)
        return torch.cat([fake_quantize(part, grid, group) for part in parts], dim=self._axis)

    def product(self, x: Tensor, name: str, weight: Weight, bias: Tensor | None) -> Tensor:
        matrix = self._matrices.get(name)
        if matrix is None:
            matrix = dense(weight)
            if is_module(f"{name}.weight"):  # the gate is of one model's fold
                self._matrices[name] = matrix
        return F.linear(x, matrix, bias)

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        if self._observe is not None:
            self._observe(f"text_decoder.layers.{layer}.attention", k, v)
        if self.kv is not None:
            k, v = self.kv.round(layer, k, v)
        group = q.shape[2] // k.shape[2]
        q, k, v = (t.transpose(1, 2) for t in (q, *(t.repeat_interleave(group, dim=2) for t in (k, v))))
        causal = self._mask is None  # the same numbers as with a mask of that form, in less time
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask, is_causal=causal, scale=scale)
        return out.transpose(1, 2)  # [B, S, H, W]
