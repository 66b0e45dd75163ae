"""Reading other people's data: sizes limited, names kept in their folder, faults name the file."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from phantom_edge.errors import InputError, one_line, shown
from phantom_edge.evaluate.items import Picture
from phantom_edge.system.reading import is_file, is_folder, read_json_value

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_JSON_BYTES = 256 << 20  # ScienceQA's problems.json, the largest of them, has 30 MB


def read_json(path: Path, kind: type) -> Any:
    """A JSON file that holds a ``kind`` (list or dict). Raises :class:`InputError`."""
    data = read_json_value(path, MAX_JSON_BYTES)
    if not isinstance(data, kind):
        raise InputError(f"{path}: holds a {type(data).__name__}, expected a {kind.__name__}")
    return data


def field_of(data: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One field of a JSON object, of its type. Raises :class:`InputError` that says ``where``."""
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise InputError(f"{where}: {name!r} is missing or of another type than published")
    return value


def texts_of(data: Any, name: str, where: str) -> list[str]:
    """A field that is a list of strings."""
    values = field_of(data, name, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise InputError(f"{where}: {name!r} must be a list of texts")
    return [str(value) for value in values]


def find_folder(data: str | Path, name: str, places: Sequence[str], layout: str) -> Path:
    """The first of ``places`` below ``data`` that holds the file ``name``.

    Raises :class:`InputError` with the expected ``layout`` when there is none.
    """
    data = Path(data)
    if not is_file(data) and not is_folder(data):
        raise InputError(f"{data}: not found; give --data the folder with {layout}")
    for place in places:
        if is_file(data / place / name):
            return data / place
    raise InputError(f"{data}: no {name} in it; expected is {layout}")


def inside(folder: Path, name: str, where: str) -> Path:
    """The file called ``name`` below ``folder``; a name from a data file may not lead out of it."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise InputError(f"{where}: {shown(name)} is no plain file name")
    return folder / name


def picture_file(path: Path, where: str, layout: str) -> Picture:
    """A picture on disk, read when its turn comes. Raises :class:`InputError` when it is not there."""
    if not is_file(path):
        end = one_line("/".join(path.parts[-2:]), 60)
        raise InputError(f"{where}: its picture {end} is missing; expected is {layout}")

    def load(size: int) -> Image:
        from phantom_edge.images import load_image

        return load_image(path)

    return Picture(str(path), load)


def decode_image(text: str, name: str) -> Image:
    """A base64 picture as RGB, with the limits of :func:`phantom_edge.images.load_image`.

    Raises :class:`InputError` for what is no base64, or no picture in one of the formats that are read.
    """
    from phantom_edge.images import load_image

    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{name} is not base64: copy or download the file again") from None
    return load_image(io.BytesIO(data), name)
