"""Dense supervision of a vision encoder that starts from nothing: what does each patch of a scene show?

A published Phantom begins with a trained InternViT. Phantom-Nano's encoder has no such start, and answers
alone teach it slowly; so while it learns, linear heads on its patches name the part that covers them, its
colour, where its centre lies, how large it is and what a dial reads. The heads are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from phantom_edge.model.original import pixel_shuffle
from phantom_edge.scenes.parts import COLOURS, DIRECTIONS, SHAPES, Part

LETTERS, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
THINGS = (*SHAPES, *LETTERS, *DIGITS, *DIRECTIONS, "gauge", "sign", "display")
CLASSES = {thing: n for n, thing in enumerate(THINGS, start=1)}  # 0 is the background
COLOUR_CLASSES = {colour: n for n, colour in enumerate(COLOURS, start=1)}
# Most patches are background; what has to be read covers few of the others.
_READ = {*LETTERS, *DIGITS, *DIRECTIONS}
_BALANCE = torch.tensor([0.25, *(3.0 if thing in _READ else 1.0 for thing in THINGS)])
OFFSETS = 4  # centre x, centre y and radius in patches, dial reading in 0..1


@dataclass(frozen=True)
class DenseTargets:
    """Per patch, in the order of the pixel shuffle, [T, N, 4]: class, colour; and [T, N, 4, 4]: offsets."""

    things: torch.Tensor
    colours: torch.Tensor
    offsets: torch.Tensor


def dense_targets(scenes: Sequence[Sequence[Part]], grid: int) -> DenseTargets:
    """Targets of each scene's parts on a grid of patches; the smallest part that covers a patch wins."""
    rows = [_on_grid(parts, grid) for parts in scenes]
    values = torch.from_numpy(np.stack(rows))  # [T, P, 2 + OFFSETS]
    things, colours = (pixel_shuffle(values[..., i : i + 1], grid, 2).long() for i in (0, 1))
    offsets = torch.stack(
        [pixel_shuffle(values[..., 2 + i : 3 + i], grid, 2) for i in range(OFFSETS)], dim=-1
    )
    return DenseTargets(things, colours, offsets)


def _on_grid(parts: Sequence[Part], grid: int) -> np.ndarray:
    at = (np.arange(grid) + 0.5) / grid
    y, x = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))  # [P]
    out = np.zeros((grid * grid, 2 + OFFSETS), dtype=np.float32)
    for part in sorted(parts, key=lambda part: -part.radius):
        reach = max(part.radius, 0.71 / grid)  # a small part covers at least the patch that its centre is in
        near = (x - part.x) ** 2 + (y - part.y) ** 2 <= reach**2
        name = part.kind if part.kind in ("gauge", "sign", "display") else part.label
        out[near, 0] = CLASSES[name]
        out[near, 1] = COLOUR_CLASSES.get(part.colour, 0)
        out[near, 2], out[near, 3] = (part.x - x[near]) * grid, (part.y - y[near]) * grid
        out[near, 4] = part.radius * grid
        out[near, 5] = float(part.label) / 100 if part.kind == "gauge" else 0
    return out


class DenseHeads:
    """Linear heads on patch features [T, N, 4 * C]; ``weights`` are trained with the encoder's."""

    def __init__(self, width: int, generator: torch.Generator):
        sizes = {"things": len(CLASSES) + 1, "colours": len(COLOUR_CLASSES) + 1, "offsets": OFFSETS}
        self._width = width
        self.weights = {name: torch.randn(n, width, generator=generator) * 0.02 for name, n in sizes.items()}

    def loss(self, features: torch.Tensor, targets: DenseTargets) -> torch.Tensor:
        """Cross-entropy of both classes plus the mean absolute error of the offsets on covered patches."""
        patches = F.layer_norm(features.unflatten(-1, (4, self._width)), (self._width,))  # [T, N, 4, C]
        things, colours, offsets = (
            F.linear(patches, self.weights[k]).float() for k in ("things", "colours", "offsets")
        )
        covered = targets.things > 0
        balance = _BALANCE[targets.things]
        named = F.cross_entropy(things.flatten(0, 2), targets.things.flatten(), reduction="none")
        coloured = F.cross_entropy(colours.flatten(0, 2), targets.colours.flatten(), reduction="none")
        classes = ((named + 0.5 * coloured) * balance.flatten()).sum() / balance.sum()
        scale = torch.tensor([0.2, 0.2, 0.2, 4.0])  # a dial's reading is a fraction, the others are patches
        missed = ((offsets - targets.offsets)[covered] * scale).abs().sum()
        return classes + missed / (OFFSETS * covered.sum()).clamp(min=1)
