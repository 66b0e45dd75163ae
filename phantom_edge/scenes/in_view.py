"""Scenes as they come before a camera: on papers and screens, before textures, cut out around a pin, or none.

>>> seen = make_view("test", 3, "paper")
>>> image, triples = seen.render(192), seen.triples()
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.scenes import paint
from phantom_edge.scenes.backdrop import backdrop
from phantom_edge.scenes.canvas import Canvas
from phantom_edge.scenes.colours import RGB, named
from phantom_edge.scenes.further import ask_in_view
from phantom_edge.scenes.geometry import Pose, compose
from phantom_edge.scenes.light import photograph
from phantom_edge.scenes.parts import Part, Triple
from phantom_edge.scenes.scene import Scene, check_size, make_scene, stream
from phantom_edge.scenes.surround import clutter, surrounded
from phantom_edge.scenes.texture import photograph_of
from phantom_edge.scenes.view import CONDITIONS, View, draw_view, is_visible


@dataclass(frozen=True)
class SceneInView:
    """A scene under a condition; `parts` are in the coordinates of the picture, and may lie outside of it."""

    scene: Scene
    view: View
    parts: tuple[Part, ...]

    def _stream(self, purpose: str) -> random.Random:
        scene = self.scene
        return stream(scene.seed, scene.split, scene.index, self.view.condition, purpose)

    def render(self, size: int = 224, photographs: Sequence[Image.Image] = ()) -> Image.Image:
        """The RGB picture [size, size], always the same for the same photographs to take backgrounds from.

        Without photographs the backgrounds are made. Raises InputError outside 32..2048.
        """
        check_size(size)
        rng = self._stream("look")
        drawn = self._drawn if self.parts else self._empty
        image = drawn(rng, size, photographs)
        return photograph(self._stream("camera"), image)

    def _empty(self, rng: random.Random, size: int, photographs: Sequence[Image.Image]) -> Image.Image:
        if rng.random() < 0.25:
            return clutter(rng, backdrop(rng, size, [])[0])
        image = photograph_of(rng, size, photographs)
        return clutter(rng, image) if rng.random() < 0.3 else image

    def _drawn(self, rng: random.Random, size: int, photographs: Sequence[Image.Image]) -> Image.Image:
        """The picture before light and camera."""
        poses: Sequence[Pose] = self.scene.poses
        placed = zip(self.parts, poses, strict=True)
        things = [(p, q) for p, q in placed if p.kind not in ("letter", "digit") and is_visible(p)]
        colours = [named(rng, part.colour) if part.colour else None for part, _ in things]
        if self.view.texture:
            behind, base = photograph_of(rng, size, photographs), None
        else:
            behind, base = backdrop(rng, size, [colour for colour in colours if colour])
        image = surrounded(rng, behind, self.view, photographs)
        bases = [base or _mean_around(image, part) for part, _ in things]
        canvas = Canvas(image)
        camera = compose(self.view.matrix, self.scene.camera.matrix())
        paint.paint_all(rng, canvas, things, colours, camera, bases)
        return canvas.finish()

    def triples(self) -> tuple[Triple, ...]:
        """Questions on the picture that have one unambiguous answer, in a fixed order."""
        return ask_in_view(
            self.scene.kind, self.parts, self.view.condition == "crop", self._stream("questions")
        )


def _mean_around(image: Image.Image, part: Part) -> RGB:
    """The mean colour of what a part will cover."""
    size, r = image.width, part.radius
    left, top, right, bottom = (
        min(max(round(at * size), 0), size) for at in (part.x - r, part.y - r, part.x + r, part.y + r)
    )
    box = (left, top, max(right, left + 1), max(bottom, top + 1))
    mean = np.asarray(image.crop(box), np.float32).mean((0, 1))
    red, green, blue = mean.round().astype(int).tolist()
    return red, green, blue


def make_view(
    split: str, index: int, condition: str, seed: int = 0, kinds: Mapping[str, float] | None = None
) -> SceneInView:
    """Scene ``index`` of a split under one of ``CONDITIONS``.

    Raises: InputError for an unknown condition, split, or a negative index.

    >>> make_view("test", 7, "nothing").triples()[0].answer
    'nothing that I know'
    """
    if condition not in CONDITIONS:
        raise InputError(f"there is no condition '{condition}': give one of {', '.join(CONDITIONS)}")
    scene = make_scene(split, index, seed, kinds)
    if condition == "nothing":
        return SceneInView(scene, View(condition), ())
    view = draw_view(stream(seed, split, index, condition, "view"), condition, scene.parts)
    return SceneInView(scene, view, tuple(view.part(part) for part in scene.parts))
