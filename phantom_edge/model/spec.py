"""What a folded model is made of, apart from its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.tailored import POSITIONS

ETA = 1e-4  # strength of the phantom dimension, ``XAttention(eta=1e-4)`` in the published ``utils.py``


@dataclass(frozen=True)
class FoldedSpec:
    """Dimensions of a folded model.

    ``phantom_dims`` holds, per layer, how many directions carry the phantom dimension: ``head_dim`` where the
    fold is exact, less where it was compressed, 0 where a layer has none. ``other_tiles`` are further sizes
    of tiles, each with position embeddings of its own; all else of the vision encoder serves every size.
    """

    config: PhantomConfig
    phantom_dims: tuple[int, ...]
    other_tiles: tuple[int, ...] = ()

    def positions(self, tile_size: int) -> str:
        """The name of the position embeddings of tiles of that side.

        >>> nano = pe.Pretrained.open().config
        >>> FoldedSpec(nano, (32,) * 4, other_tiles=(128,)).positions(128)
        'vision_encoder.position_embedding_128'
        """
        return f"{POSITIONS}_{tile_size}" if tile_size in self.other_tiles else POSITIONS

    def at_tile(self, size: int) -> FoldedSpec:
        """The same model for tiles of that side alone, one of the config's own and ``other_tiles``."""
        vision = replace(self.config.vision, image_size=size)
        return replace(self, config=replace(self.config, vision=vision))

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
