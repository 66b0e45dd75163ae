"""Reading other people's data: sizes limited, names kept in their folder, every fault one line that names the
file.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_JSON_BYTES = 256 << 20  # ScienceQA's problems.json, the largest of them, has 30 MB
MAX_LINE_BYTES = 1 << 20
MAX_LINES = 5_000_000


def read_json(path: Path, kind: type) -> Any:
    """A JSON file that holds a ``kind`` (list or dict). Raises :class:`InputError`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path}: larger than {MAX_JSON_BYTES >> 20} MiB, which no such file is")
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, kind):
        raise InputError(f"{path}: holds a {type(data).__name__}, expected a {kind.__name__}")
    return data


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers from 1 and the JSON object of each line that is not empty. Raises :class:`InputError`."""
    try:
        with path.open("rb") as file:
            for number in range(1, MAX_LINES + 1):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                if len(line) > MAX_LINE_BYTES:
                    raise InputError(f"{path}: line {number} is longer than {MAX_LINE_BYTES >> 20} MiB")
                if line.strip():
                    yield number, _object(path, number, line)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    raise InputError(f"{path}: has more than {MAX_LINES:,} lines")


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path}: line {number} is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: line {number} is no JSON object")
    return data


def field_of(data: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One field of a JSON object, of the wanted type. Raises :class:`InputError` that says ``where``."""
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise InputError(f"{where}: {name!r} is missing or of another type than published")
    return value


def texts_of(data: Any, name: str, where: str) -> list[str]:
    """A field that is a list of strings."""
    values = field_of(data, name, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise InputError(f"{where}: {name!r} must be a list of texts")
    return values


def find_folder(data: str | Path, wanted: str, places: Sequence[str], layout: str) -> Path:
    """The first of ``places`` below ``data`` that holds the file ``wanted``.

    Raises :class:`InputError` with the expected ``layout`` when there is none.
    """
    data = Path(data)
    if not data.exists():
        raise InputError(f"{data}: not found; give --data the folder with {layout}")
    for place in places:
        if (data / place / wanted).is_file():
            return data / place
    raise InputError(f"{data}: no {wanted} in it; expected is {layout}")


def inside(folder: Path, name: str, where: str) -> Path:
    """The file called ``name`` below ``folder``; a name from a data file may not lead out of it."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise InputError(f"{where}: {name!r} is no plain file name")
    return folder / name


def picture_file(path: Path, where: str, layout: str) -> Picture:
    """A picture on disk, read when it is asked about. Raises :class:`InputError` when it is not there."""
    if not path.is_file():
        raise InputError(f"{where}: its picture {path} is missing; expected is {layout}")

    def load(size: int) -> Image:
        from phantom_edge.images import load_image

        return load_image(path)

    return Picture(str(path), load)


def decode_image(text: str, name: str) -> Image:
    """A base64 picture as RGB, with the limits of :func:`phantom_edge.images.load_image`.

    Raises :class:`InputError` for what is no base64, or no picture in one of the formats that are read.
    """
    import PIL.Image as pil

    from phantom_edge.images import SAFE_FORMATS, load_image

    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{name} is not base64: copy or download the file again") from None
    with warnings.catch_warnings():
        warnings.simplefilter("error", pil.DecompressionBombWarning)
        try:
            pil.init()
            picture = pil.open(io.BytesIO(data), formats=[f for f in SAFE_FORMATS if f in pil.OPEN])
        except (pil.DecompressionBombError, pil.DecompressionBombWarning):
            raise InputError(f"{name} has far too many pixels") from None
        except Exception:  # Pillow's plugins raise almost anything on a broken header
            raise InputError(
                f"{name} is no picture in a known format: copy or download the file again"
            ) from None
        return _named(load_image, picture, name)


def _named(load, picture: Image, name: str) -> Image:
    try:
        return load(picture)
    except InputError as error:
        raise InputError(str(error).replace("the image", name, 1)) from None
