"""Tiles of another size than a checkpoint was trained with: its position embeddings between its patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phantom_edge import Pretrained
from phantom_edge.checkpoint.tailored import (
    POSITIONS,
    TailoredCheckpoint,
    Tailoring,
    at_tile_size,
    check_tile_size,
    resized_positions,
)
from phantom_edge.errors import InputError
from phantom_edge.model.original import PhantomModel

SIDES = [(16, 12), (16, 8), (12, 8), (12, 4), (12, 2), (4, 6), (12, 24), (7, 7)]


def cubic(distance: float) -> float:
    """The cubic convolution kernel with a = -3/4, piece by piece (Keys 1981)."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def cubic_matrix(size: int, grid: int) -> np.ndarray:
    """Weights [grid, size] of ``size`` samples at the centres of ``grid`` cells; the border is repeated."""
    weights = np.zeros((grid, size))
    for row in range(grid):
        centre = (row + 0.5) * size / grid - 0.5
        for near in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[row, min(max(near, 0), size - 1)] += cubic(centre - near)
    return weights


def by_hand(table: np.ndarray, grid: int) -> np.ndarray:
    """Position embeddings [1, 1 + grid^2, C] in float64, without any library's resizing."""
    side = round((table.shape[1] - 1) ** 0.5)
    square = table[0, 1:].astype(np.float64).reshape(side, side, -1)
    across = cubic_matrix(side, grid)
    resized = np.einsum("ar,bc,rcd->abd", across, across, square)
    return np.concatenate([table[:, :1], resized.reshape(1, grid * grid, -1)], axis=1)


def random_table(side: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1 + side * side, 5)).astype("f4"))


@pytest.mark.parametrize(("side", "grid"), SIDES)
def test_the_interpolation_is_bicubic_as_worked_out_by_hand(side, grid):
    table = random_table(side)
    expected = by_hand(table.numpy(), grid)
    assert np.abs(resized_positions(table, grid).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(("side", "grid"), SIDES)
def test_the_interpolation_is_that_of_internvl_in_transformers(side, grid):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    from transformers.models.internvl.modeling_internvl import InternVLVisionEmbeddings

    config = transformers.InternVLVisionConfig(
        hidden_size=5, image_size=[14 * side] * 2, patch_size=[14, 14], num_attention_heads=1
    )
    theirs = InternVLVisionEmbeddings(config)
    table = random_table(side)
    theirs.position_embeddings.data.copy_(table)
    states = torch.zeros(1, 1 + grid * grid, 5)
    expected = theirs.interpolate_pos_encoding(states, 14 * grid, 14 * grid).detach()
    assert torch.equal(resized_positions(table, grid), expected)


def test_a_table_in_half_precision_is_interpolated_in_fp32():
    table = random_table(12).bfloat16()
    resized = resized_positions(table, 8)
    assert resized.dtype == torch.float32
    assert np.abs(resized.numpy() - by_hand(table.float().numpy(), 8)).max() < 1e-5


@pytest.mark.parametrize("size", [192, 128, 256])
def test_the_original_interpolates_by_itself(size):
    """The oracle on the checkpoint as trained, and on one whose table was worked out by hand."""
    checkpoint = Pretrained.open().checkpoint
    grid = size // checkpoint.config.vision.patch_size
    table = torch.from_numpy(by_hand(checkpoint[POSITIONS].float().numpy(), grid).astype("f4"))
    other = at_tile_size(checkpoint, size)
    weights = {name: other[name] for name in other if name.startswith("vision_encoder.")}
    pixels = torch.from_numpy(np.random.default_rng(1).random((2, 3, size, size), np.float32))
    expected = PhantomModel(other.config, {**weights, POSITIONS: table}).encode_image(pixels)
    assert expected.shape[1] == checkpoint.config.tokens_of(size)
    own = PhantomModel(checkpoint.config, checkpoint).encode_image(pixels)
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_size_is_chosen_anew_beside_a_vocabulary():
    whole = Pretrained.open().checkpoint
    config = whole.config
    kept = (7, config.image_token_id, 3, *config.end_ids)
    cut = TailoredCheckpoint(whole, Tailoring(kept_ids=kept, tile_size=128))
    larger, trained = at_tile_size(cut, 160), at_tile_size(cut, None)
    assert (larger.config.tile_size, trained.config.tile_size) == (160, 192)
    assert larger.config.decoder.vocab_size == trained.config.decoder.vocab_size == len(kept)
    assert torch.equal(larger[POSITIONS], at_tile_size(whole, 160)[POSITIONS])
    assert at_tile_size(at_tile_size(whole, 96), 192) is whole


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        (100, "nearest are 96 and 128"),
        (1, "nearest is 32"),
        (0, "nearest is 32"),
        (-64, "nearest is 32"),
        (385, "nearest is 384"),
        (383, "nearest are 352 and 384"),
        (10**9, "nearest is 384"),
    ],
)
def test_a_size_that_gives_no_whole_tokens_names_the_nearest(size, nearest):
    source = Pretrained.open()
    with pytest.raises(InputError, match="must be a multiple of 32, from 32 to 384") as caught:
        source.at_tile(size)
    assert str(caught.value).endswith(nearest)
    assert len(str(caught.value)) < 300


def test_every_multiple_up_to_twice_the_trained_side_is_taken():
    config = Pretrained.open().config
    for size in range(config.tile_step, 2 * config.tile_size + 1, config.tile_step):
        check_tile_size(config, size)
        assert config.tokens_of(size) == (size // 32) ** 2
