"""Random checkpoints of the published sizes, cut short: what is written must be what the toolkit itself can
open.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from benchmarks.make_checkpoint import header, make_checkpoint, split_shards, write_wide_tokenizer
from benchmarks.sizes import PUBLISHED, published
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from recipes.synthetic import TINY_FAMILIES


def small(family: str):
    """A tiny model with a vocabulary that is mostly spare tokens."""
    return replace(TINY_FAMILIES[family], vocabulary=2000, context=512)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sizes")
    return {name: make_checkpoint(root / name, small(name), shard_bytes=100_000) for name in TINY_FAMILIES}


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_the_toolkit_opens_what_was_written(folders, family):
    source = Pretrained.open(folders[family])
    assert source.tokenizer.vocab_size == source.config.decoder.vocab_size == 2000
    assert len(source.checkpoint.files) > 2
    assert source.checkpoint.dtypes == ("BF16",)
    assert source.tokenizer.decode(source.tokenizer.encode("Is it red?")) == "Is it red?"


def test_the_spare_tokens_are_never_produced(folders):
    tokenizer = Pretrained.open(folders["qwen2"]).tokenizer
    # No merge leads to a spare token: its own text becomes the pieces that it is written with.
    assert tokenizer.token_id("<spare_1999>") == 1999
    assert len(tokenizer.encode("<spare_1999>")) > 1


def test_values_do_not_depend_on_the_shards(folders, tmp_path):
    whole = Checkpoint.open(make_checkpoint(tmp_path / "whole", small("qwen2")))
    cut = Checkpoint.open(folders["qwen2"])
    assert len(whole.files) == 1
    for name in ("token_embedding.weight", "text_decoder.layers.1.qkv.weight"):
        assert torch.equal(whole[name], cut[name])


def test_the_phantom_dimension_matters(folders):
    source = Pretrained.open(folders["qwen2"])
    ids = torch.tensor([[source.first_id, *range(20, 40)]])
    exact, off = (
        FoldedModel.of(source.config, source.checkpoint, Fold(kind), source.first_id)
        for kind in ("exact", "off")
    )
    a, b = (m.decode(m.embed(ids), m.make_cache(32)) for m in (exact, off))
    assert (a - b).abs().max() > 0.1


def test_a_header_is_what_safetensors_reads(tmp_path):
    shapes = {"a": (2, 3), "b": (4,)}
    values = np.arange(10, dtype=np.uint16) + 0x3F80  # bf16 from 1.0 up
    (tmp_path / "x.safetensors").write_bytes(header(shapes) + values.tobytes())
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.get_tensor("a").shape == (2, 3)
        assert file.get_tensor("b")[0].item() == pytest.approx(1 + 6 / 128)


def test_shards_hold_every_tensor_in_order_and_stay_small():
    shapes = {"a": (10,), "b": (30,), "c": (5,), "d": (100,), "e": (1,)}
    shards = list(split_shards(shapes, 80))  # bytes: 40 values
    assert [list(s) for s in shards] == [["a", "b"], ["c"], ["d"], ["e"]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tokenizers_have_the_true_size(name, tmp_path):
    sizes = published(name)
    ids = write_wide_tokenizer(tmp_path, sizes)
    assert max(ids.values()) < sizes.vocabulary
    path = tmp_path / "tokenizer.json"
    if path.exists():
        data = json.loads(path.read_text())
        known = {**data["model"]["vocab"], **{t["content"]: t["id"] for t in data["added_tokens"]}}
        assert sorted(known.values()) == list(range(sizes.vocabulary))


def test_sizes_are_the_published_ones():
    # shared/phantom.md: hidden, heads / kv, head dim, layers
    table = {"0.5b": (896, 14, 2, 64, 24), "1.8b": (2048, 16, 8, 128, 24)}
    table |= {"3.8b": (3072, 32, 32, 96, 32), "7b": (4096, 32, 8, 128, 32)}
    for name, wanted in table.items():
        s = PUBLISHED[name]
        assert (s.hidden, s.heads, s.kv_heads, s.hidden // s.heads, s.layers) == wanted
    assert published("7b", 3).layers == published("7b", 3).vision_layers == 3


@pytest.mark.parametrize(("name", "layers"), [("0.6b", None), ("0.5b", 25), ("0.5b", 0)])
def test_other_sizes_are_refused(name, layers):
    with pytest.raises(InputError):
        published(name, layers)
