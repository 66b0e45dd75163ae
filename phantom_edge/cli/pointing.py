"""A point of the picture on the command line: what the model then sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from phantom_edge.crop import Crop


def seen_part(image: Path | None, at: str | None) -> tuple[Path | Image.Image | None, Crop | None]:
    """What the model sees: the picture as it is, or the square of it around a point, and which one that is.

    Raises :class:`InputError` for a point that is none, that is outside, or that has no picture.
    """
    if at is None:
        return image, None
    from phantom_edge.crop import Spot
    from phantom_edge.images import load_image

    if image is None:
        raise InputError("--at points into a picture; give that with --image")
    with _named():
        spot = Spot.parse(at)
    picture = load_image(image)
    with _named():
        crop = spot.crop(picture.width, picture.height)
    return crop.of(picture), crop


@contextmanager
def _named() -> Iterator[None]:
    """Name the option in what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--at: {error}") from None
