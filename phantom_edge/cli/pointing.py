"""A point of the picture on the command line: what the model then sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.cli.printing import say
from phantom_edge.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from phantom_edge.crop import Crop
    from phantom_edge.runtime.session import Chat


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


def say_seen(chat: Chat, crop: Crop | None) -> None:
    """Say on stderr which part the model sees, or that its only tile holds a picture that is no square."""
    if crop is not None:
        say(f"sees {crop.side}x{crop.side} pixels from {crop.left},{crop.top}")
    elif (
        chat.image is not None and chat.session.spec.max_tiles == 1 and chat.image.width != chat.image.height
    ):
        size = f"{chat.image.width}x{chat.image.height}"
        say(
            f"sees all {size} pixels, squeezed into a square; --at 0.5,0.5,1 gives the largest square instead"
        )


@contextmanager
def _named() -> Iterator[None]:
    """Name the option in what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--at: {error}") from None
