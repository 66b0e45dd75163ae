"""How a scene comes before the camera: in a margin, on a paper or a screen, or cut out around a pin."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from phantom_edge.scenes.geometry import Camera, compose, magnification, project
from phantom_edge.scenes.parts import Part
from phantom_edge.scenes.shapes import REACH

# "plain" fills the picture; "crop" is what a pin cuts out; in "nothing" there is none of the things.
CONDITIONS = ("plain", "margin", "small", "texture", "paper", "screen", "crop", "nothing")
EDGE = 0.015  # least distance of a scene to the picture's edge
CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
BESIDE = 0.15  # a pin this close to a thing's rim means the thing
FAR = 0.25  # a pin this far from all things means none of them
CLEARLY = 0.12  # how much closer than the next one

Matrix = tuple[tuple[float, ...], ...]
IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class View:
    """Where a scene's unit square lies in the picture [3, 3], on what (``placing``), and before what.

    placing: full, margin, paper or screen. texture: whether a photographic texture is behind the things.
    """

    condition: str
    placing: str = "full"
    texture: bool = False
    square: Matrix = IDENTITY

    @property
    def matrix(self) -> np.ndarray:
        """[3, 3], from the scene's square to the picture."""
        return np.array(self.square)

    def part(self, part: Part) -> Part:
        """The part where it lies in the picture; its centre may be outside of 0..1."""
        x, y = project(self.matrix, np.array([[part.x, part.y]]))[0].tolist()
        return replace(part, x=x, y=y, radius=part.radius * magnification(self.matrix, part.x, part.y))


def draw_view(rng: random.Random, condition: str, parts: Sequence[Part]) -> View:
    """A view of a scene with these parts under a condition."""
    if condition == "crop":
        placing = rng.choices(("full", "margin", "paper", "screen"), weights=(70, 10, 12, 8))[0]
        view = _placed(rng, condition, placing, (0.7, 0.95))
        view = replace(view, texture=placing == "full" and rng.random() < 0.3)
        return _cut_out(rng, view, parts)
    if condition in ("margin", "small"):
        return _placed(rng, condition, "margin", (0.7, 0.95) if condition == "margin" else (0.5, 0.72))
    if condition in ("paper", "screen"):
        return _placed(rng, condition, condition, (0.6, 0.9))
    return View(condition, texture=condition == "texture")


def _placed(rng: random.Random, condition: str, placing: str, scale: tuple[float, float]) -> View:
    if placing == "full":
        return View(condition)
    is_tilted = placing != "margin"
    turn, tilt = (12.0, 0.28) if is_tilted else (2.0, 0.0)
    camera = Camera(rng.uniform(-turn, turn), rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt)).matrix()
    size = rng.uniform(*scale)
    while True:
        matrix = compose(_scaling(size), camera)
        corners = project(matrix, CORNERS)
        low, high = corners.min(0), corners.max(0)
        if (high - low).max() < 1 - 2 * EDGE:
            shift = [rng.uniform(EDGE - a, 1 - EDGE - b) for a, b in zip(low, high, strict=True)]
            matrix = compose(np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]]), matrix)
            return View(condition, placing, square=_rows(matrix))
        size *= 0.97


def _scaling(size: float) -> np.ndarray:
    """About the picture's centre."""
    move = 0.5 - size / 2
    return np.array([[size, 0, move], [0, size, move], [0, 0, 1.0]])


def _rows(matrix: np.ndarray) -> Matrix:
    matrix = matrix / matrix[2, 2]
    return tuple(tuple(map(float, row)) for row in matrix.tolist())


def reach(part: Part) -> float:
    """How far a part extends from its centre, at most."""
    return part.radius * (REACH if part.kind in ("object", "arrow") else 1.1)


def _cut_out(rng: random.Random, view: View, parts: Sequence[Part]) -> View:
    """The square around a tap on a thing, or now and then on none; moved into the picture, never shrunk."""
    things = [view.part(part) for part in parts if part.kind not in ("letter", "digit")]
    if things and rng.random() < 0.88:
        target = rng.choice(things)
        least = reach(target) * (2.1 if target.kind != "object" or rng.random() < 0.8 else 1.7)
        angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.5) * min(target.radius, 0.1)
        x, y = target.x + away * math.cos(angle), target.y + away * math.sin(angle)
    else:
        least, x, y = 0.2, rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95)
    least = min(max(least + 0.02, 0.16), 0.95)
    side = math.exp(rng.uniform(math.log(least), math.log(min(0.95, max(least * 1.01, least * 3)))))
    left, top = (min(max(at - side / 2, 0.0), 1 - side) for at in (x, y))
    cut = np.array([[1 / side, 0, -left / side], [0, 1 / side, -top / side], [0, 0, 1.0]])
    return replace(view, square=_rows(compose(cut, view.matrix)))


def is_whole(part: Part) -> bool:
    """Whether nothing of a part is outside the picture."""
    r = reach(part)
    return all(r <= at <= 1 - r for at in (part.x, part.y))


def is_visible(part: Part) -> bool:
    """Whether anything of a part may be in the picture."""
    r = reach(part)
    return all(-r < at < 1 + r for at in (part.x, part.y))


def at_pin(things: Sequence[Part]) -> tuple[bool, Part | None]:
    """Whether it is clear what "this" is, and the thing in the middle, or the only one; None for nothing."""
    seen = [part for part in things if is_visible(part)]
    if not seen:
        return True, None
    rims = sorted((max(0.0, math.hypot(p.x - 0.5, p.y - 0.5) - p.radius), n) for n, p in enumerate(seen))
    first = seen[rims[0][1]]
    clear = len(rims) == 1 or rims[1][0] - rims[0][0] >= CLEARLY
    if rims[0][0] <= BESIDE and clear:
        clear = is_whole(first) or _mostly(first)
        return clear, first if clear else None
    if len(seen) == 1 and is_whole(first):
        return True, first
    return rims[0][0] >= FAR and not any(map(is_whole, seen)), None


def _mostly(part: Part) -> bool:
    """An object whose missing edge hides neither its shape nor its colour."""
    r = part.radius * 0.8
    return part.kind == "object" and all(r <= at <= 1 - r for at in (part.x, part.y))
