"""Where a checkpoint was opened: enough to open the same one again, from any folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Final

from phantom_edge.records import limits

EMBEDDED, FOLDER, HUB = "embedded", "folder", "hub"
_SNAPSHOT: Final = re.compile(r"models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]+$")
_DIGEST: Final = re.compile(r"[-_]?(?=\d*[a-f])[0-9a-f]{12,64}$")  # not a date


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint was opened."""

    kind: Annotated[str, limits(enum=(EMBEDDED, FOLDER, HUB))]
    name: str
    """The embedded model's name, a folder's absolute path, or a Hugging Face id."""
    revision: str | None = None
    """The branch, tag or commit of the id that was asked for."""
    commit: str | None = None
    """The commit of the id that it was then."""

    @classmethod
    def named(cls, name: str) -> Origin:
        """What an earlier bundle tells, which has the name alone: a folder where one is there, else an id."""
        return cls.of_folder(Path(name)) if Path(name).is_dir() else cls(HUB, name)

    @classmethod
    def of_folder(cls, folder: Path) -> Origin:
        return cls(FOLDER, str(folder.expanduser().absolute()))

    @classmethod
    def of_hub(cls, name: str, revision: str | None, snapshot: Path) -> Origin:
        """``snapshot`` is the folder in the hub's cache, which is named after the commit."""
        return cls(HUB, name, revision, snapshot.name)


def short_name(name: str) -> str:
    """What people call a model: an id as it is, of a folder its last part, of a cached one no digest.

    >>> from phantom_edge.checkpoint.origin import short_name
    >>> short_name("BK-Lee/Phantom-0.5B"), short_name("/srv/models/phantom-1.8b")
    ('BK-Lee/Phantom-0.5B', 'phantom-1.8b')
    >>> short_name("/home/me/.cache/phantom-edge/bundles/phantom-nano-web-0123456789abcdef")
    'phantom-nano-web'
    """
    if match := _SNAPSHOT.search(name):
        return f"{match[1]}/{match[2]}"
    path = PurePath(name)
    if len(path.parts) == 2 and not path.is_absolute() and not _DIGEST.search(path.name):
        return name  # an id, or a folder in one
    for part in reversed(path.parts):
        if rest := _DIGEST.sub("", part):
            return rest
    return name
