"""The patches' targets: placed by hand, and in the order in which the pixel shuffle hands patches on."""

from __future__ import annotations

import torch

from phantom_edge.scenes.parts import Part
from recipes.nano.dense import CLASSES, COLOUR_CLASSES, DenseHeads, dense_targets


def grid_of(values: torch.Tensor) -> torch.Tensor:
    """[1, 4, 4] of a 4 x 4 grid back to rows and columns: block by block, each block row by row."""
    return torch.stack(
        [values[0, (r // 2) * 2 + c // 2, (r % 2) * 2 + c % 2] for r in range(4) for c in range(4)]
    )


def test_a_part_is_named_where_it_lies():
    circle = Part("object", "circle", "red", x=0.375, y=0.625, radius=0.1)  # the centre of row 2, column 1
    targets = dense_targets([[circle]], grid=4)
    things = grid_of(targets.things).view(4, 4)
    assert things[2, 1] == CLASSES["circle"]
    assert grid_of(targets.colours).view(4, 4)[2, 1] == COLOUR_CLASSES["red"]
    assert (things > 0).sum() == 1
    offsets = grid_of(targets.offsets).view(4, 4, 4)
    torch.testing.assert_close(offsets[2, 1], torch.tensor([0.0, 0.0, 0.4, 0.0]))


def test_the_smaller_part_lies_in_front_and_a_dial_carries_its_reading():
    gauge = Part("gauge", "42", "", x=0.5, y=0.5, radius=0.5)
    letter = Part("letter", "Q", "", x=0.125, y=0.5, radius=0.06)
    targets = dense_targets([[letter, gauge]], grid=8)
    assert CLASSES["Q"] in targets.things
    assert CLASSES["gauge"] in targets.things
    dial = targets.things == CLASSES["gauge"]
    assert set(targets.offsets[..., 3][dial].tolist()) == {torch.tensor(0.42).item()}
    assert (targets.offsets[..., 3][~dial] == 0).all()


def test_the_heads_learn_to_name_patches():
    """Features that spell out the class: the loss falls far below that of guessing."""
    torch.manual_seed(0)
    parts = [Part("object", s, c, x, 0.5, 0.12) for s, c, x in (("star", "blue", 0.2), ("ring", "red", 0.7))]
    targets = dense_targets([parts], grid=4)
    code = torch.randn(len(CLASSES) + 1, 32)
    features = code[targets.things].flatten(-2)  # [1, N, 4 * C]
    heads = DenseHeads(32, torch.Generator().manual_seed(0))
    for weight in heads.weights.values():
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(heads.weights.values(), lr=0.05)
    before = heads.loss(features, targets)
    for _ in range(40):
        optimizer.zero_grad()
        heads.loss(features, targets).backward()
        optimizer.step()
    assert heads.loss(features, targets) < 0.2 * before
