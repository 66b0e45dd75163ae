"""The square around a point of a picture: what the model looks at where someone points.

The libraries in Swift, Kotlin and TypeScript have the same rule; `tests/support/crop_vectors.json` holds all
to it, pixel by pixel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image

from phantom_edge.errors import InputError, shown
from phantom_edge.images import load_image

DEFAULT_SIZE: Final = 0.4
LEAST_SIZE: Final = 0.1
"""Least side of the square over the picture's shorter side: below it little is left to be recognised."""

_NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))"
_SPOT = re.compile(rf"\s*{_NUMBER}(px)?\s*,\s*{_NUMBER}(px)?\s*(?:,\s*{_NUMBER}\s*)?", re.ASCII)
_HOW = "give X,Y or X,Y,SIZE, such as 0.3,0.7 or 412px,96px,0.25"


@dataclass(frozen=True)
class Crop:
    """A square of a picture, in whole pixels from its left and its top."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, x: float, y: float, size: float = DEFAULT_SIZE, *, width: int, height: int) -> Crop:
        """The square around a point of a picture of this size, moved into it where the point is near an edge.

        ``x`` and ``y`` are 0 to 1 from the left and the top; ``size`` is the square's side over the picture's
        shorter side, 0.1 to 1. Raises :class:`InputError` for numbers beyond that, NaN too.

        >>> Crop.around(0.5, 0.5, width=640, height=480)
        Crop(left=224, top=144, side=192)
        >>> Crop.around(1, 0, 0.1, width=640, height=480)
        Crop(left=592, top=0, side=48)
        """
        _check(x, y, size)
        return cls._at(x * width, y * height, size, width, height)

    @classmethod
    def _at(cls, x: float, y: float, size: float, width: int, height: int) -> Crop:
        """Around a point in pixels."""
        side = max(1, math.floor(size * min(width, height) + 0.5))
        return cls(_place(x, side, width), _place(y, side, height), side)

    def of(self, image: Image.Image) -> Image.Image:
        """These pixels of a picture."""
        return image.crop((self.left, self.top, self.left + self.side, self.top + self.side))


@dataclass(frozen=True)
class Spot:
    """A point of a picture as `run --at` takes it, and the size of the square around it.

    ``x`` and ``y`` are 0 to 1, or count pixels from 0 where ``in_pixels``.
    """

    x: float
    y: float
    size: float = DEFAULT_SIZE
    in_pixels: bool = False

    @classmethod
    def parse(cls, text: str) -> Spot:
        """``X,Y`` or ``X,Y,SIZE``. Raises :class:`InputError` for anything else, and for what lies outside.

        >>> Spot.parse("0.3,0.7"), Spot.parse("412px,96px,0.25").in_pixels
        (Spot(x=0.3, y=0.7, size=0.4, in_pixels=False), True)
        """
        match = _SPOT.fullmatch(text)
        if match is None:
            raise InputError(f"{shown(text)} is no point: {_HOW}")
        x, x_unit, y, y_unit, size = match.groups()
        if x_unit != y_unit:
            raise InputError(f"{shown(text)} has one number in pixels and one without px: {_HOW}")
        if x_unit and not (x.isdecimal() and y.isdecimal()):
            raise InputError(f"{shown(text)}: pixels are whole numbers from 0: {_HOW}")
        spot = cls(float(x), float(y), DEFAULT_SIZE if size is None else float(size), x_unit is not None)
        _check(*((0, 0) if spot.in_pixels else (spot.x, spot.y)), spot.size)
        return spot

    def crop(self, width: int, height: int) -> Crop:
        """The square of a picture of this size. Raises :class:`InputError` for a pixel beyond its edges."""
        if not self.in_pixels:
            return Crop.around(self.x, self.y, self.size, width=width, height=height)
        if self.x >= width or self.y >= height:
            raise InputError(
                f"pixel {self.x:g},{self.y:g} is outside of the picture, which has {width}x{height}: "
                f"give 0 to {width - 1} and 0 to {height - 1}"
            )
        # The middle of that pixel.
        return Crop._at(self.x + 0.5, self.y + 0.5, self.size, width, height)


def crop_around(
    image: str | Path | BinaryIO | Image.Image, x: float, y: float, size: float = DEFAULT_SIZE
) -> Image.Image:
    """The square around a point of a picture, for a session to be asked about: upright RGB.

    ``x`` and ``y`` are 0 to 1 from the left and the top; ``size`` is the square's side over the picture's
    shorter side, 0.1 to 1. Raises :class:`InputError` for what lies outside of these, and as
    :func:`.load_image` does.

    >>> pe.crop_around("photo.jpg", 0.3, 0.7, size=0.5).size
    (112, 112)
    """
    picture = load_image(image)
    return Crop.around(x, y, size, width=picture.width, height=picture.height).of(picture)


def _check(x: float, y: float, size: float) -> None:
    for name, value in (("x", x), ("y", y)):
        if not 0 <= value <= 1:  # NaN too
            edges = "0 (left) to 1 (right)" if name == "x" else "0 (top) to 1 (bottom)"
            raise InputError(f"{name} is {value:g}, outside of the picture: give {edges}")
    if not LEAST_SIZE <= size <= 1:
        raise InputError(f"the crop's size is {size:g}: give {LEAST_SIZE} to 1 of the picture's shorter side")


def _place(point: float, side: int, length: int) -> int:
    """Where the square begins along one axis."""
    return min(max(math.floor(point - side / 2 + 0.5), 0), length - side)
