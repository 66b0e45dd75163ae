"""A bundle: one folder with everything that an app needs, written whole or not at all.

manifest.json        what is inside, how it was made, how it was verified, and a SHA-256 of every file
tokenizer.json       the tokenizer
golden.safetensors   inputs with expected outputs, for an app to test itself on the device
...                  the artifact's own files
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from phantom_edge.bundle.manifest import MANIFEST, FileEntry, Manifest
from phantom_edge.errors import InputError
from phantom_edge.files import file_sha256, replacing_folder

TOKENIZER = "tokenizer.json"


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

        Raises :class:`InputError` for a wrong manifest, and a file that is missing, changed or not listed.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise InputError(f"{folder}: not a bundle (no {MANIFEST}); make one with `phantom-edge export`")
        bundle = cls(folder, Manifest.read(folder / MANIFEST))
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

    def check_files(self) -> None:
        """Raise :class:`InputError` naming the first file that is missing, changed or not listed."""
        for name, entry in self.manifest.files.items():
            path = self.folder / name
            if not path.is_file():
                raise InputError(f"{self.folder}: {name} is missing; export the bundle again")
            if path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
                raise InputError(f"{self.folder}: {name} is not the file that was exported (SHA-256 differs)")
        extra = sorted(set(_files(self.folder)) - set(self.manifest.files) - {MANIFEST})
        if extra:
            raise InputError(f"{self.folder}: {extra[0]} is not listed in {MANIFEST}; remove it")


def is_bundle(folder: str | Path) -> bool:
    """Whether a folder claims to be a bundle."""
    return (Path(folder) / MANIFEST).is_file()


def writing(output: Path) -> AbstractContextManager[Path]:
    """A temporary sibling of ``output`` that takes its place when the block ends without an error.

    ``output`` may not exist, be empty, or be an earlier bundle, which stays untouched until the new one is
    complete; anything else is refused. Whatever goes wrong, nothing is left behind.
    """
    return replacing_folder(output, check_output)


def check_output(output: Path) -> None:
    """Raise :class:`InputError` when ``output`` holds something that is not an earlier bundle."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InputError(f"{output}: is a file or a link; choose another --output")
    if output.is_dir() and any(output.iterdir()) and not is_bundle(output):
        raise InputError(f"{output}: holds something that is not a bundle; choose another --output")


def finish(folder: Path, manifest: Manifest) -> Bundle:
    """Write the manifest over the files now in ``folder``, with their sizes and hashes."""
    paths = [name for name in _files(folder) if name != MANIFEST]
    files = {n: FileEntry((folder / n).stat().st_size, file_sha256(folder / n)) for n in paths}
    (folder / MANIFEST).write_text(replace(manifest, files=files).to_json(), encoding="utf-8")
    return Bundle.open(folder, check=False)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
