"""The pictures that triples name: each is decoded once, before any work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.images import load_image
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import read_json
from phantom_edge.training.run_folder import MAX_JSON_BYTES
from phantom_edge.training.triples import Triples


@dataclass(frozen=True)
class PictureFile:
    """A picture's file as it was when it was decoded; width and height in pixels, once it is upright."""

    bytes: int
    mtime_ns: int
    sha256: str
    width: int
    height: int


Pictures = Mapping[str, PictureFile]
"""By the names that the triples give them."""


def survey(
    triples: Triples, known: Pictures, progress: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, PictureFile]:
    """Decode every picture once, so that a damaged one is noticed before any work.

    ``known`` is what an earlier survey returned: a file whose size and time of change are still those is not
    read again. Raises :class:`InputError` naming the line of a picture that cannot be used.
    """
    pictures, images = {}, triples.images()
    for done, (name, line) in enumerate(images.items(), start=1):
        pictures[name] = _look(triples.picture(name), known.get(name), triples.where(line))
        progress(done, len(images))
    return pictures


def _look(path: Path, known: PictureFile | None, where: str) -> PictureFile:
    try:
        status = os.stat(path)
        size, changed = status.st_size, status.st_mtime_ns
        if known is not None and (known.bytes, known.mtime_ns) == (size, changed):
            return known
        image = load_image(path)
        return PictureFile(size, changed, file_sha256(path), image.width, image.height)
    except OSError as error:
        raise InputError(f"{where}: {path} cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def data_sha256(triples: Triples, pictures: Pictures) -> str:
    """One hash of the lines and of every picture's bytes."""
    digest = hashlib.sha256(triples.sha256.encode())
    for name in sorted(pictures):
        digest.update(f"\n{name}\t{pictures[name].sha256}".encode())
    return digest.hexdigest()


def to_json(pictures: Pictures) -> dict[str, dict[str, Any]]:
    """A survey as plain values."""
    return {name: asdict(picture) for name, picture in pictures.items()}


def read_known(path: Path) -> dict[str, PictureFile]:
    """The survey that an earlier attempt wrote to a JSON file; nothing where that cannot be read."""
    try:
        return {name: PictureFile(**values) for name, values in read_json(path, MAX_JSON_BYTES).items()}
    except (InputError, TypeError):
        return {}
