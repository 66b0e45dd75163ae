"""Faults for a verification to catch: each spoils the files of a finished bundle in one way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.system.files import file_sha256


@dataclass(frozen=True)
class Fault:
    """One way to spoil a bundle.

    Attributes:
        name: what is wrong, in a few words.
        target: the export that it is made of: a target, with ``:`` and a format or a recipe where it is not
            the target's own, such as ``ios``, ``ios:executorch`` or ``desktop:fp32``.
        inject: changes files below the bundle's folder.
        check: a part of the name of the check that must fail.
    """

    name: str
    target: str
    inject: Callable[[Path], None]
    check: str

    def __str__(self) -> str:
        return f"{self.target}, {self.name}"


def correct_hashes(folder: Path) -> None:
    """Write the sizes and hashes of the files as they are into the manifest; new files are listed, too."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    manifest["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in files
        if name != MANIFEST
    }
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=2), encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8")
