"""Questions with their pictures and the answers to them, as a page shows them: few, small, and inside it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

MOST: Final = 12
"""Examples on a page: with pictures of :data:`MOST_BYTES` it stays below half a megabyte."""
SIDE: Final = 240  # pixels of a picture's longer side
MOST_BYTES: Final = 24_000
QUALITIES: Final = (80, 60, 40, 20)
MOST_CHARACTERS: Final = 400


@dataclass(frozen=True)
class Reply:
    """What one model answered; ``right`` is null where nobody judges it, ``note`` is said beside it."""

    by: str
    text: str
    right: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Example:
    """A question about a picture, and the replies to it: the original's before the artifact's.

    ``picture`` is a data URI of :func:`thumbnail`, or empty for a question without one. ``expected`` is the
    known answer, where there is one.
    """

    question: str
    picture: str
    replies: tuple[Reply, ...]
    task: str = ""
    expected: str = ""


def thumbnail(image: Image) -> str:
    """A small copy as the data URI of a JPEG, at most :data:`SIDE` pixels a side and :data:`MOST_BYTES`.

    >>> from PIL import Image
    >>> from phantom_edge.report.examples import thumbnail
    >>> thumbnail(Image.new("RGB", (2000, 500), "red"))[:23]
    'data:image/jpeg;base64,'
    """
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    data = b""
    for quality in QUALITIES:
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return f"data:image/jpeg;base64,{b64encode(data).decode('ascii')}"


def brief(text: str) -> str:
    """A text of others as a page shows it: at most :data:`MOST_CHARACTERS`.

    >>> from phantom_edge.report.examples import brief
    >>> brief("a circle"), len(brief("a" * 9999))
    ('a circle', 400)
    """
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 2]} …"
