"""A checkpoint cut to a deployment: fewer rows of vocabulary, smaller tiles. All else stays as trained.

Everything to the right of the checkpoint (the fold, quantisation, exporters, verification) sees an ordinary
checkpoint with another config.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.loading import Checkpoint

if TYPE_CHECKING:
    import torch

VOCABULARY_ROWS = ("token_embedding.weight", "text_decoder.head.weight")
POSITIONS = "vision_encoder.position_embedding"


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
        super().__init__(whole.folder, whole.config, whole.stored)
        self.tailoring = tailoring
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


def resized_positions(table: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings [1, 1 + P, C] for ``grid`` x ``grid`` patches, the class token's as it is.

    Bicubic over the square of patches, computed in fp32 and given back in the table's type:
    ``_get_pos_embed`` of InternVL's published ``modeling_intern_vit.py``.
    """
    import torch
    from torch.nn.functional import interpolate

    side = round((table.shape[1] - 1) ** 0.5)
    if side == grid:
        return table
    patches = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)  # [1, C, H, W]
    resized = interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat(
        [table[:, :1], resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1
    )  # [1, 1 + P, C]
