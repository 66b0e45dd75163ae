"""What a run keeps in memory whatever its batches are: weights, gradients, moments."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.stored import FLOAT_TYPES
from phantom_edge.errors import NoRoomError
from phantom_edge.tune.lora import is_adapted
from phantom_edge.tune.trainable import TIED, learns_first, stays_stored

FP32 = 4
LEARNING = 4 * FP32  # bytes: a weight, its gradient and AdamW's two moments


def learning_parameters(checkpoint: Checkpoint, stage: int, lora: int | None) -> int:
    """Number of parameters that learn in step ``stage`` (1 or 2), adapters of rank ``lora`` included."""
    return sum(learns for learns, _ in _parameters(checkpoint, stage, lora))


def resident_bytes(checkpoint: Checkpoint, stage: int, lora: int | None) -> int:
    """Bytes of weights, gradients and moments in step ``stage`` of the recipe."""
    return sum(LEARNING * learns + rest for learns, rest in _parameters(checkpoint, stage, lora))


def _parameters(checkpoint: Checkpoint, stage: int, lora: int | None) -> Iterator[tuple[int, int]]:
    """Per weight: how many parameters learn for it, and the bytes of what is frozen."""
    for name, source in checkpoint.sources.items():
        if checkpoint.config.decoder.tied_head and name == TIED:
            continue
        shape = checkpoint.shape(name)
        count = math.prod(shape)
        if learns_first(name) or (stage == 2 and lora is None):
            yield count, 0
            continue
        stored = FLOAT_TYPES[checkpoint.stored[source.keys[0]].dtype]
        adapter = min(lora, *shape) * sum(shape) if stage == 2 and lora and is_adapted(name) else 0
        yield adapter, count * (stored if stays_stored(name, len(shape)) else FP32)


def check_memory(checkpoint: Checkpoint, stages: Sequence[int], lora: int | None, room: int) -> None:
    """Raise :class:`NoRoomError` when one of these steps of the recipe needs more than ``room`` bytes."""
    needed = max(resident_bytes(checkpoint, stage, lora) for stage in stages)
    if needed > room:
        hint = "--lora 16 needs less" if lora is None and 2 in stages else "take one with more"
        sizes = f"{needed / 1e9:.1f} GB, this machine has {room / 1e9:.1f} GB"
        raise NoRoomError(f"weights, gradients and moments need {sizes}: {hint}")


def memory_of(device: str) -> int:
    """Bytes of memory that the machine (``cpu``) or the accelerator (``cuda``) has."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
