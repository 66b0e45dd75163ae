"""A bundle: one folder with everything that an app needs, written whole or not at all.

manifest.json        what is inside, how it was made, how it was verified, and a SHA-256 of every file
tokenizer.json       the tokenizer
vocabulary.json      the checkpoint's ids that are left, where its vocabulary was trimmed
golden.safetensors   inputs with expected outputs, for an app to test itself on the device
...                  the artifact's own files
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from phantom_edge.bundle.manifest import MANIFEST, FileEntry, Manifest
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, one_line
from phantom_edge.system.files import file_sha256
from phantom_edge.system.outputs import SYSTEMS_OWN, check_bundle_folder
from phantom_edge.system.reading import is_file, reading
from phantom_edge.system.writing import mend, replacing_folder

TOKENIZER = "tokenizer.json"
HUBS_OWN: Final = ("README.md", ".gitattributes")
"""Files that a bundle's folder may hold besides its own, when it came from a hub: its card, and git's."""
HUBS_FOLDERS: Final = (".cache", ".git")
"""What `hf download` and `git` keep beside what they have brought."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and its parsed manifest.

    >>> bundle = pe.Bundle.open("nano-desktop")
    >>> bundle.manifest.format, bundle.manifest.context
    ('onnx', 2048)
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path, *, check: bool = True) -> Bundle:
        """Read the manifest and, unless ``check`` is False, compare every file's size and SHA-256 with it.

        Raises :class:`InputError` for a wrong manifest, for a file that is missing, changed or not listed,
        and for a link: a bundle is one folder of files that nothing else shares.
        """
        folder = Path(folder)
        if not is_bundle(folder):
            raise InputError(f"{folder}: not a bundle (no {MANIFEST}); make one with `phantom-edge export`")
        names = _files(folder)
        bundle = cls(folder, Manifest.read(folder / MANIFEST))
        if extra := sorted(set(names) - set(bundle.manifest.files) - {MANIFEST}):
            raise InputError(f"{folder}: {one_line(extra[0], 120)} is not listed in {MANIFEST}; remove it")
        if check:
            bundle.check_files()
        return bundle

    @property
    def browser(self) -> bool:
        """Whether a browser can run its files: ONNX, made for that."""
        kind, _, _ = self.manifest.format.partition("-")  # onnx, and variants of it for one device
        return kind == "onnx" and self.manifest.browser

    @property
    def bytes(self) -> int:
        """Size of all its files but the manifest."""
        return sum((self.folder / name).stat().st_size for name in _files(self.folder) if name != MANIFEST)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the manifest, and so of every file that it names."""
        return hashlib.sha256(self.manifest.to_json().encode()).hexdigest()

    def source(self) -> Pretrained:
        """The checkpoint that it says it was made from. Raises :class:`InputError` where that is not here."""
        recorded = self.manifest.source
        return Pretrained.reopen(recorded.origin or Pretrained.origin_of(recorded.name))

    def check_files(self) -> None:
        """Raise :class:`InputError` naming the first file that is missing or changed."""
        for name, entry in self.manifest.files.items():
            path = self.folder / name
            if not is_file(path):
                raise InputError(f"{self.folder}: {one_line(name, 120)} is missing; export the bundle again")
            if path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
                what = f"{one_line(name, 120)} is not the file that was exported (SHA-256 differs)"
                raise InputError(f"{self.folder}: {what}; export the bundle again")


def is_bundle(folder: str | Path) -> bool:
    """Whether a folder claims to be a bundle; one that a kill caught on its way to its place is put there."""
    if not os.path.lexists(folder):
        mend(Path(folder))
    return is_file(Path(folder) / MANIFEST)


def writing(output: Path) -> AbstractContextManager[Path]:
    """A temporary sibling of ``output`` that takes its place when the block ends without an error.

    ``output`` may not exist, be empty, or be an earlier bundle, which stays untouched until the new one is
    complete; anything else is refused. Whatever goes wrong, nothing is left behind.
    """
    return replacing_folder(output, check_bundle_folder)


def finish(folder: Path, manifest: Manifest) -> Bundle:
    """Write the manifest over the files now in ``folder``, with their sizes and hashes."""
    paths = [name for name in _files(folder) if name != MANIFEST]
    files = {n: FileEntry((folder / n).stat().st_size, file_sha256(folder / n)) for n in paths}
    (folder / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8")
    return Bundle.open(folder, check=False)


def _files(folder: Path) -> list[str]:
    """Every file of a bundle by its path below it, without what a hub adds.

    Raises :class:`InputError` for links and devices.
    """
    names, folders = [], [folder]
    while folders:
        with reading(folders[-1]), os.scandir(folders.pop()) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(folder).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    if name not in HUBS_FOLDERS:
                        folders.append(Path(entry.path))
                elif name not in HUBS_OWN and not _is_litter(entry.name):
                    _check_alone(folder, name, entry.stat(follow_symlinks=False))
                    names.append(name)
    return sorted(names)


def _is_litter(name: str) -> bool:
    """Whether a file is what an operating system leaves in folders that it shows."""
    return name in SYSTEMS_OWN or name.startswith("._")


def _check_alone(folder: Path, name: str, status: os.stat_result) -> None:
    """Every runtime has rules of its own for links, and some read past them: so there are none."""
    if stat.S_ISLNK(status.st_mode) or status.st_nlink > 1:
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "a hard link"
        raise InputError(
            f"{folder}: {one_line(name, 120)} is {kind}, which not every runtime reads; copy the bundle "
            "with `cp -rL`, or download it with --local-dir"
        )
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{folder}: {one_line(name, 120)} is no ordinary file; remove it")
