"""Where a checkpoint was opened: enough to open the same one again, from any folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from phantom_edge.records import limits

EMBEDDED, FOLDER, HUB = "embedded", "folder", "hub"


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
