"""The ids of the checkpoint whose rows a bundle with a trimmed vocabulary has: ``vocabulary.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.config import MAX_DIMENSION
from phantom_edge.errors import InputError
from phantom_edge.system.reading import read_json

KEPT: Final = "vocabulary.json"
MAX_BYTES: Final = 16 << 20


def write_kept(folder: Path, ids: Sequence[int]) -> None:
    """Write ascending ids as pairs of first and last.

    >>> write_kept(Path("."), [0, 1, 2, 7])
    >>> Path(KEPT).read_text()
    '{"kept": [[0, 2], [7, 7]]}\\n'
    """
    text = json.dumps({"kept": list(_ranges(ids))})
    (folder / KEPT).write_text(text + "\n", encoding="utf-8")


def read_kept(bundle: Bundle) -> tuple[int, ...] | None:
    """The ids by which a bundle's were numbered anew; None where its vocabulary is the checkpoint's.

    Raises :class:`InputError`: the file is not what an export writes.
    """
    if bundle.manifest.vocabulary is None:
        return None
    path, end = bundle.folder / KEPT, 0
    kept: list[int] = []
    pairs = read_json(path, MAX_BYTES).get("kept")
    for pair in pairs if isinstance(pairs, list) else [None]:
        match pair:
            case [first, last] if type(first) is type(last) is int and end <= first <= last < MAX_DIMENSION:
                kept += range(first, last + 1)
                end = last + 1
            case _:
                raise InputError(f"{path}: no list of ascending ranges of ids; export the bundle again")
    if len(kept) != bundle.manifest.vocabulary.kept:
        number = f"holds {len(kept)} ids, the manifest says {bundle.manifest.vocabulary.kept}"
        raise InputError(f"{path}: {number}; export the bundle again")
    return tuple(kept)


def _ranges(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = None
    for index, following in zip(ids, [*ids[1:], None], strict=True):
        first = index if first is None else first
        if following != index + 1:
            yield first, index
            first = None
