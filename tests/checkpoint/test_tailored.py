"""A checkpoint cut to a deployment."""

import json

import pytest
import torch

from phantom_edge import InputError, Pretrained
from phantom_edge.checkpoint.tailored import TailoredCheckpoint, Tailoring, resized_positions


def test_kept_rows_are_the_checkpoints_rows_in_the_new_order():
    whole = Pretrained.open().checkpoint
    config = whole.config
    kept = (7, config.image_token_id, 3, *config.end_ids)
    cut = TailoredCheckpoint(whole, Tailoring(kept_ids=kept))
    name = "token_embedding.weight"
    assert torch.equal(cut[name], whole[name][list(kept)])
    assert cut.shape(name) == tuple(cut[name].shape)
    assert cut.config.decoder.vocab_size == len(kept)
    assert (cut.config.image_token_id, cut.config.end_ids) == (1, (3,))
    other = "text_decoder.layers.0.qkv.weight"
    assert torch.equal(cut[other], whole[other])


def test_positions_of_a_smaller_tile_are_between_those_of_the_whole():
    whole = Pretrained.open().checkpoint
    vision, name = whole.config.vision, "vision_encoder.position_embedding"
    size = vision.image_size - 2 * vision.patch_size
    cut = TailoredCheckpoint(whole, Tailoring(tile_size=size))
    assert cut.config.tile_size == size
    assert (
        cut.shape(name)
        == tuple(cut[name].shape)
        == (1, (size // vision.patch_size) ** 2 + 1, vision.hidden_size)
    )
    assert torch.equal(cut[name][:, 0], whole[name][:, 0])
    assert torch.equal(resized_positions(whole[name], vision.grid), whole[name])


def test_positions_that_rise_evenly_rise_evenly_at_any_size():
    """Cubic interpolation reproduces a plane away from the border, where pixels repeat."""
    row = torch.arange(16.0)
    plane = (row[:, None] + 10 * row[None, :]).reshape(1, 256, 1)
    table = torch.cat([torch.zeros(1, 1, 1), plane], dim=1)
    resized = resized_positions(table, 8)[:, 1:].reshape(8, 8)
    centres = 2 * torch.arange(8.0) + 0.5
    expected = centres[:, None] + 10 * centres[None, :]
    torch.testing.assert_close(resized[2:6, 2:6], expected[2:6, 2:6])


def test_what_is_cached_by_the_source_knows_the_kept_ids(tiny_dirs):
    source = Pretrained.open(tiny_dirs["qwen2"])
    size = source.config.decoder.vocab_size
    ordinary = source.tokenizer.encode("cube")[0]
    some, whole = tuple(n for n in range(size) if n != ordinary), tuple(range(size))
    hashes = [source.sha256(), *(source.trimmed(kept).sha256() for kept in (some, whole))]
    assert hashes[0].items() < hashes[1].items()
    assert len({json.dumps(one) for one in hashes}) == 3


def test_ids_that_no_vocabulary_has_are_refused(tiny_dirs):
    source = Pretrained.open(tiny_dirs["qwen2"])
    size = source.config.decoder.vocab_size
    for kept, message in (
        ((0, 0), "not different ones below"),
        ((size,), "not different ones below"),
        ((-1,), "not different ones below"),
        ((5,), "lack .*which prompts or answers need"),
    ):
        with pytest.raises(InputError, match=message):
            source.trimmed(kept)


def test_a_vocabulary_and_a_size_of_tiles_go_together_in_any_order():
    source = Pretrained.open()
    kept = tuple(sorted({*range(300), *source.needed_ids, *source.tokenizer.control_tokens}))
    one, other = source.trimmed(kept).at_tile(128), source.at_tile(128).trimmed(kept)
    assert one.config == other.config
    assert (one.kept_ids, one.config.tile_size) == (kept, 128)
    for name in ("token_embedding.weight", "vision_encoder.position_embedding"):
        assert torch.equal(one.checkpoint[name], other.checkpoint[name])
    assert one.sha256() == other.sha256()
