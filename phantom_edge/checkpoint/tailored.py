"""A checkpoint cut to a deployment: fewer rows of vocabulary, smaller tiles. All else stays as trained.

Everything to the right of the checkpoint (the fold, quantisation, exporters, verification) sees an ordinary
checkpoint with another config.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.errors import InputError

if TYPE_CHECKING:
    import torch

VOCABULARY_ROWS = ("token_embedding.weight", "text_decoder.head.weight")
POSITIONS = "vision_encoder.position_embedding"
LARGEST = 2
"""Times the side of the tiles that a checkpoint was trained with, at most. Beyond it more than three of four
position embeddings would be new, and attention over patches would take over 16 times as long."""


@dataclass(frozen=True)
class Tailoring:
    """What of a checkpoint a deployment needs; None keeps what the checkpoint has.

    ``kept_ids`` are the checkpoint's token ids in the order of the new ids: row ``i`` of the new embedding
    and head is row ``kept_ids[i]`` of the checkpoint's. ``tile_size`` is the side of a tile in pixels.
    """

    kept_ids: tuple[int, ...] | None = None
    tile_size: int | None = None

    def config(self, config: PhantomConfig) -> PhantomConfig:
        """The checkpoint's ``config`` with what follows from this. The ids that it names must be kept."""
        if self.tile_size is not None:
            config = replace(config, vision=replace(config.vision, image_size=self.tile_size))
        if self.kept_ids is None:
            return config
        new_ids = {old: new for new, old in enumerate(self.kept_ids)}
        return replace(
            config,
            decoder=replace(config.decoder, vocab_size=len(self.kept_ids)),
            image_token_id=new_ids[config.image_token_id],
            end_ids=tuple(new_ids[index] for index in config.end_ids),
        )


class TailoredCheckpoint(Checkpoint):
    """A checkpoint seen through a :class:`Tailoring`: the same files, tensors cut as they are read."""

    def __init__(self, whole: Checkpoint, tailoring: Tailoring):
        super().__init__(whole.folder, whole.config, whole.stored, whole.knows)
        if tailoring.tile_size is not None:
            check_tile_size(whole.config, tailoring.tile_size)
        self.whole, self.tailoring = whole, tailoring
        self.config = tailoring.config(whole.config)

    def __getitem__(self, name: str) -> torch.Tensor:
        import torch

        tensor = super().__getitem__(name)
        kept, size = self.tailoring.kept_ids, self.tailoring.tile_size
        if name in VOCABULARY_ROWS and kept is not None:
            return tensor.index_select(0, torch.tensor(kept))
        if name == POSITIONS and size is not None:
            return resized_positions(tensor, self.config.vision.grid)
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        rows, *rest = super().shape(name)
        if name in VOCABULARY_ROWS:
            return self.config.decoder.vocab_size, *rest
        if name == POSITIONS:
            return rows, self.config.vision.tokens, *rest[1:]
        return rows, *rest


def at_tile_size(checkpoint: Checkpoint, size: int | None) -> Checkpoint:
    """The same checkpoint, tailored otherwise as it is, at another size of tiles; None is the trained one.

    Raises :class:`InputError` as :func:`check_tile_size`.
    """
    whole, tailoring = _parts(checkpoint)
    tailoring = replace(tailoring, tile_size=None if size == whole.config.tile_size else size)
    return whole if tailoring == Tailoring() else TailoredCheckpoint(whole, tailoring)


def with_kept_ids(checkpoint: Checkpoint, kept_ids: tuple[int, ...]) -> TailoredCheckpoint:
    """The same checkpoint, tailored otherwise as it is, with these rows of vocabulary."""
    whole, tailoring = _parts(checkpoint)
    return TailoredCheckpoint(whole, replace(tailoring, kept_ids=kept_ids))


def _parts(checkpoint: Checkpoint) -> tuple[Checkpoint, Tailoring]:
    if isinstance(checkpoint, TailoredCheckpoint):
        return checkpoint.whole, checkpoint.tailoring
    return checkpoint, Tailoring()


def check_tile_size(config: PhantomConfig, size: int) -> None:
    """Raise :class:`InputError` for tiles that do not become whole image tokens, or are out of reach.

    ``config`` is the checkpoint's.

    >>> check_tile_size(pe.Pretrained.open().config, 100)
    Traceback (most recent call last):
    phantom_edge.errors.InputError: tiles of 100 pixels: their side must be a multiple of 32, from 32 to 384 \
(2 x 2 patches of 16 pixels become one image token); the nearest are 96 and 128
    """
    step, most = config.tile_step, LARGEST * config.tile_size
    if size % step == 0 and step <= size <= most:
        return
    below = min(max(size // step * step, step), most)
    near = [side for side in (below, below + step) if side <= most] if step < size < most else [below]
    nearest = f"nearest are {near[0]} and {near[1]}" if len(near) > 1 else f"nearest is {near[0]}"
    patches = f"{config.downsample} x {config.downsample} patches of {config.vision.patch_size} pixels"
    raise InputError(
        f"tiles of {size} pixels: their side must be a multiple of {step}, from {step} to {most} "
        f"({patches} become one image token); the {nearest}"
    )


def resized_positions(table: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings [1, 1 + P, C] for ``grid`` x ``grid`` patches, the class token's as it is.

    Bicubic over the square of patches: ``_get_pos_embed`` of InternVL's published
    ``modeling_intern_vit.py``. What is interpolated is fp32, of a table of any type.
    """
    import torch
    from torch.nn.functional import interpolate

    side = round((table.shape[1] - 1) ** 0.5)
    if side == grid:
        return table
    table = table.float()
    patches = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)  # [1, C, H, W]
    resized = interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)  # [1, 1 + P, C]
