"""``--tile-size``: the sizes of tiles that a bundle is made for, and what follows from them."""

from __future__ import annotations

from phantom_edge.bundle.manifest import MAX_SIZES, TilePolicy, TileSize
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.tailored import at_tile_size, check_tile_size
from phantom_edge.errors import InputError, shown
from phantom_edge.export.base import Exported, vision_graph
from phantom_edge.images import check_tile_policy
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.targets import FORMATS, Format


def parse_tile_sizes(text: str | None) -> tuple[int, ...]:
    """``448,336`` as numbers, none for None. Raises :class:`InputError`.

    >>> parse_tile_sizes("448,336")
    (448, 336)
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        raise InputError(f"--tile-size {shown(text)}: give sides of tiles in pixels, such as 336 or 448,336")
    return tuple(map(int, parts))


def check_format(sizes: tuple[int, ...], artifact_format: Format) -> None:
    """Raise :class:`InputError` for sizes that no bundle of this format holds, whatever the checkpoint."""
    if twice := [size for size in sizes if sizes.count(size) > 1]:
        raise InputError(f"--tile-size: {twice[0]} stands there twice; give each size once")
    if len(sizes) > MAX_SIZES + 1:
        raise InputError(f"--tile-size: {len(sizes)} sizes; a bundle holds at most {MAX_SIZES + 1}")
    if len(sizes) > 1 and not artifact_format.several_tiles:
        able = ", ".join(name for name, known in FORMATS.items() if known.several_tiles)
        raise InputError(
            f"--tile-size: {artifact_format.title} holds one size of tiles; give one, or export several for "
            f"a target of another format ({able})"
        )


def at_first_size(source: Pretrained, sizes: tuple[int, ...], max_tiles: int) -> Pretrained:
    """The checkpoint with tiles of the first of ``sizes``, or as it is without any.

    Raises :class:`InputError` for one that its patches do not give, or of which ``max_tiles`` are too large.
    """
    trained = at_tile_size(source.checkpoint, None).config
    for size in sizes:
        try:
            check_tile_size(trained, size)
            check_tile_policy(size, max_tiles)
        except InputError as error:
            raise InputError(f"--tile-size: {error}") from None
    return source.at_tile(sizes[0]) if sizes else source


def tile_policy(
    source: Pretrained, spec: PromptSpec, sizes: tuple[int, ...], exported: Exported
) -> TilePolicy:
    """What a manifest says of tiles; ``sizes`` are the further ones."""
    trained = at_tile_size(source.checkpoint, None).config.tile_size
    return TilePolicy(
        spec.tile_size,
        spec.tokens_per_tile,
        spec.max_tiles,
        thumbnail=True,
        trained=None if trained == spec.tile_size else trained,
        others=tuple(_entry(source.config, size, exported) for size in sizes),
    )


def _entry(config: PhantomConfig, size: int, exported: Exported) -> TileSize:
    return TileSize(size, config.tokens_of(size), exported.files[vision_graph(size)].as_posix())
