"""What a folded model is made of, apart from its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from phantom_edge.checkpoint.config import PhantomConfig

ETA = 1e-4  # strength of the phantom dimension, ``XAttention(eta=1e-4)`` in the published ``utils.py``


@dataclass(frozen=True)
class FoldedSpec:
    """Dimensions of a folded model.

    ``phantom_dims`` holds, per layer, how many directions carry the phantom dimension: ``head_dim`` where the
    fold is exact, less where it was compressed, 0 where a layer has none.
    """

    config: PhantomConfig
    phantom_dims: tuple[int, ...]

    def width(self, layer: int) -> int:
        """Head dimension of the fused attention and of the cache: head_dim + phantom_dim."""
        return self.config.decoder.head_dim + self.phantom_dims[layer]

    def compressed(self, layer: int) -> bool:
        """Whether the layer's phantom half is expressed in a basis of fewer directions."""
        return self.phantom_dims[layer] < self.config.decoder.head_dim

    def cache_bytes(self, context: int, bytes_per_value: int) -> int:
        """Size of the KV cache at ``context`` tokens."""
        d = self.config.decoder
        return sum(2 * d.kv_heads * self.width(n) for n in range(d.layers)) * context * bytes_per_value
