"""What a model's prompts are made of, from a checkpoint or from a bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.images import DEFAULT_MAX_TILES
from phantom_edge.text.prompt import PromptTemplate


@dataclass(frozen=True)
class PromptSpec:
    """What a prompt is made of, besides the text: the same facts from a checkpoint and from a bundle.

    ``first_id`` is the folded first token, or None when the model finds its state at run time.
    """

    template: PromptTemplate
    image_token_id: int
    end_ids: tuple[int, ...]
    first_id: int | None
    tile_size: int
    tokens_per_tile: int
    max_tiles: int

    @classmethod
    def of_source(cls, source: Pretrained, *, folded: bool, max_tiles: int | None = None) -> PromptSpec:
        """What a checkpoint's prompts are made of; ``max_tiles`` None takes what it was trained with."""
        c = source.config
        max_tiles = max_tiles or min(DEFAULT_MAX_TILES, c.max_tiles or DEFAULT_MAX_TILES)
        first = source.first_id if folded else None
        return cls(
            source.template, c.image_token_id, c.end_ids, first, c.tile_size, c.tokens_per_tile, max_tiles
        )

    @classmethod
    def of_bundle(cls, bundle: Bundle, tile_size: int | None = None) -> PromptSpec:
        """What a bundle's manifest says of its prompts, with tiles of one of its sizes; None is the default.

        Raises :class:`InputError` for a size that the bundle lacks.
        """
        m = bundle.manifest
        ids, tiles = m.ids, m.tiles
        spec = cls(m.prompt, ids.image, ids.end, ids.first, tiles.size, tiles.tokens, tiles.max)
        return spec if tile_size is None else spec.at_tile(tile_size, _tokens_of(bundle, tile_size))

    def at_tile(self, size: int, tokens: int) -> PromptSpec:
        """The same prompts with tiles of another size, each of ``tokens`` image tokens."""
        return replace(self, tile_size=size, tokens_per_tile=tokens)


def _tokens_of(bundle: Bundle, tile_size: int) -> int:
    """Image tokens of a tile of one of the bundle's further sizes. Raises :class:`InputError` for another."""
    tiles = bundle.manifest.tiles
    sizes = {tiles.size: tiles.tokens, **{other.size: other.tokens for other in tiles.others}}
    if tile_size not in sizes:
        other = ""
        if tile_size % bundle.manifest.config.tile_step == 0:
            other = f", or export with --tile-size {','.join(map(str, [*sizes, tile_size]))}"
        has = f"it has {' and '.join(map(str, sizes))}"
        raise InputError(f"{bundle.folder}: no tiles of {tile_size} pixels: {has}; choose one of them{other}")
    return sizes[tile_size]
