"""Pictures that a request carries in itself: ``data:image/png;base64,…``."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from phantom_edge.serve.api_error import ApiError

TYPES: Final = ("image/png", "image/jpeg", "image/jpg", "image/webp")


def picture_of(url: str) -> bytes:
    """The encoded picture of a data URL. Raises :class:`ApiError`; what it holds is seen when it is decoded.

    >>> from phantom_edge.serve.data_url import picture_of
    >>> picture_of("data:image/png;base64,iVBORw0KGgo=")[1:4]
    b'PNG'
    """
    head, comma, data = url.partition(",")
    kind, *options = head[len("data:") :].lower().split(";")
    if not comma or "base64" not in options:
        raise refused("the picture's data URL is not in base64; write data:image/png;base64,…")
    if kind not in TYPES:
        raise refused("the picture's data URL is of no known type; send image/png, image/jpeg or image/webp")
    try:
        picture = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise refused("the picture's data URL is damaged: it is no base64; encode the file again") from None
    if not picture:
        raise refused("the picture's data URL is empty; encode the file again")
    return picture


def refused(message: str) -> ApiError:
    """A picture that is none."""
    return ApiError(400, message, param="messages", code="invalid_image_url")
