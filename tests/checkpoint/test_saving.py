"""Weights written in the published format are those that were trained, in every family's layout."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from phantom_edge.checkpoint import saving
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.tune.trainable import TrainableModel
from recipes.synthetic import TINY_FAMILIES


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_a_saved_checkpoint_opens_with_the_same_tensors(tiny_dirs, tmp_path, family, monkeypatch):
    source = Pretrained.open(tiny_dirs[family])
    weights = TrainableModel(source.config, source.checkpoint).weights
    generator = torch.Generator().manual_seed(0)
    changed = {name: w + torch.randn(w.shape, generator=generator) for name, w in weights.items()}
    monkeypatch.setattr(saving, "MAX_SHARD_BYTES", 100_000)
    for name, kept in (("same", weights), ("changed", changed)):
        saving.save_checkpoint(tmp_path / name, tiny_dirs[family], source.config, kept, torch.float32)
        opened = Pretrained.open(tmp_path / name)
        assert len(opened.checkpoint.files) > 3
        assert all(torch.equal(opened.checkpoint[key], weight) for key, weight in kept.items())
        assert opened.tokenizer.to_json() == source.tokenizer.to_json()
    stored = load_file(tiny_dirs[family] / "model.safetensors")
    files = Checkpoint.open(tmp_path / "same").files
    written = {key: tensor for file in files for key, tensor in load_file(file).items()}
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[key], stored[key]) for key in stored)  # the published layout, row by row
