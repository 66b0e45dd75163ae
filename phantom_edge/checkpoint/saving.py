"""Trained weights back into the published format, beside the config and tokenizer they came with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.key_map import tensor_sources
from phantom_edge.checkpoint.stored import INDEX

MAX_SHARD_BYTES = 2 << 30
COPIED = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt",
)  # fmt: skip


def save_checkpoint(
    folder: Path, source: Path, config: PhantomConfig, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> None:
    """Write canonical ``weights`` under published keys, with ``source``'s other files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    write_shards(folder, _shards(published_tensors(config, weights, dtype)))


def write_shards(folder: Path, shards: Sequence[dict[str, Tensor]]) -> None:
    """Write published tensors as one file, or as one per shard with their index."""
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    places: dict[str, str] = {}
    for number, tensors in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
    size = sum(tensor.nbytes for tensors in shards for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")


def published_tensors(
    config: PhantomConfig, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Canonical tensors taken apart into the published ones: the inverse of reading a checkpoint."""
    out: dict[str, Tensor] = {}
    for name, source in tensor_sources(config).items():
        if name not in weights and name == "text_decoder.head.weight":  # tied: the embedding is already there
            continue
        for key, part in zip(source.keys, source.take_apart(weights[name].detach()), strict=True):
            out[key] = part.to(dtype).contiguous()
    return out


def _shards(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > MAX_SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][key] = tensor
        size += tensor.nbytes
    return shards
