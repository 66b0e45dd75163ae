"""A scene: what is in it, the picture of it, and the questions it answers."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.scenes import paint
from phantom_edge.scenes.backdrop import backdrop
from phantom_edge.scenes.canvas import Canvas
from phantom_edge.scenes.colours import named
from phantom_edge.scenes.geometry import Camera, Pose
from phantom_edge.scenes.layout import KINDS, draw_layout
from phantom_edge.scenes.light import photograph
from phantom_edge.scenes.parts import SPLITS, Part, Triple
from phantom_edge.scenes.questions import ask

_SHARES = {"train": range(90), "validation": range(90, 95), "test": range(95, 100)}  # of contents, in percent
SMALLEST_SIZE, LARGEST_SIZE = 32, 2048
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _number(*words: object) -> int:
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def stream(*words: object) -> random.Random:
    """Random numbers that depend on these words alone."""
    return random.Random(_number(*words))


def check_size(size: int) -> None:
    """Raises InputError for a side of a picture, in pixels, outside 32..2048."""
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InputError(f"a picture of {size} pixels: give a size of {SMALLEST_SIZE} to {LARGEST_SIZE}")


def split_of(parts: Sequence[Part]) -> str:
    """The one split a content belongs to, whatever the seed.

    A sign's text, or a number of three digits or more on a display, decides alone, so that no text is read in
    two splits. Anything else goes by all it shows: kinds, labels, colours and ninths of the picture.
    """
    texts = [p.label for p in parts if p.kind == "sign" or (p.kind == "display" and len(p.label) > 2)]
    shown = (p for p in parts if p.kind not in ("letter", "digit"))
    rows = sorted((p.kind, p.label, p.colour, int(p.x * 3), int(p.y * 3)) for p in shown)
    content: Sequence[object] = texts or rows
    bucket = _number("content", content) % 100
    return next(split for split, share in _SHARES.items() if bucket in share)


@dataclass(frozen=True)
class Scene:
    """One picture and its truth; `parts` are in image coordinates, letters and digits last."""

    split: str
    index: int
    kind: str
    parts: tuple[Part, ...]
    seed: int = 0
    camera: Camera = field(default_factory=Camera, repr=False)
    poses: tuple[Pose, ...] = field(default=(), repr=False)

    def _stream(self, purpose: str) -> random.Random:
        return stream(self.seed, self.split, self.index, purpose)

    def render(self, size: int = 224) -> Image.Image:
        """The RGB picture [size, size], always the same. Raises InputError outside 32..2048."""
        check_size(size)
        image = self._drawn(size, self._stream("look"))
        return photograph(self._stream("camera"), image)

    def _drawn(self, size: int, rng: random.Random) -> Image.Image:
        """The picture before light and camera."""
        placed = zip(self.parts, self.poses, strict=True)
        things = [(p, q) for p, q in placed if p.kind not in ("letter", "digit")]
        colours = [named(rng, part.colour) if part.colour else None for part, _ in things]
        image, base = backdrop(rng, size, [colour for colour in colours if colour])
        canvas = Canvas(image)
        paint.paint_all(rng, canvas, things, colours, self.camera.matrix(), [base] * len(things))
        return canvas.finish()

    def triples(self) -> tuple[Triple, ...]:
        """Questions on the scene that have one unambiguous answer, in a fixed order."""
        return ask(self.kind, self.parts, self._stream("questions"))


def make_scene(split: str, index: int, seed: int = 0, kinds: Mapping[str, float] | None = None) -> Scene:
    """Scene `index` of an endless split; no content is in two splits, whatever their seeds.

    ``kinds``: other shares of the kinds of scene than ``KINDS``, for training on what is hard.

    Raises: InputError for an unknown split or a negative index.

    >>> make_scene("test", 7) == make_scene("test", 7)
    True
    """
    if split not in SPLITS:
        raise InputError(f"there is no split '{split}': give one of {', '.join(SPLITS)}")
    if index < 0:
        raise InputError(f"scenes are numbered from 0, and {index} is less: give a number from 0 on")
    rng = random.Random(_number(seed, split, index, "content"))
    kinds = kinds or KINDS
    kind = rng.choices(list(kinds), weights=list(kinds.values()))[0]
    while True:
        camera, placed = draw_layout(rng, kind, lambda device: _text(rng, split, device))
        parts = tuple(part for part, _ in placed)
        if split_of(parts) == split:
            return Scene(split, index, kind, parts, seed, camera, tuple(pose for _, pose in placed))


def _text(rng: random.Random, split: str, device: str) -> str:
    """A sign's letters or a display's digits that may appear in the split."""
    length = rng.choices((2, 3, 4), weights=(12, 76, 12))[0] if device == "sign" else rng.randint(1, 4)
    while True:
        if device == "sign":
            text = "".join(rng.choices(_LETTERS, k=length))
        else:
            text = str(rng.randint(10 ** (length - 1) if length > 1 else 0, 10**length - 1))
        free = device == "display" and length < 3  # too few numbers to be divided among the splits
        if free or split_of([Part(device, text, "", 0.5, 0.5, 0.1)]) == split:
            return text
