"""A bundle: one folder with everything an app needs, written atomically, with a manifest that says what it
is.

manifest.json        what is inside, how it was made, how it was verified, and a SHA-256 of every file
tokenizer.json       the tokenizer
golden.safetensors   inputs with expected outputs, for an app to test itself on the device
...                  the artifact's own files
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.files import file_sha256, read_json, replacing_folder
from phantom_edge.text.prompt import PromptTemplate

SCHEMA = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.safetensors"
MAX_MANIFEST_BYTES = 16 << 20
_REQUIRED = {
    "target": str,
    "format": str,
    "graphs": dict,
    "source": dict,
    "prompt": dict,
    "tiles": dict,
    "ids": dict,
    "context": int,
    "chunk": int,
    "recipe": dict,
    "fold": dict,
    "files": dict,
}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and its parsed manifest.

    >>> bundle = pe.Bundle.open("nano-desktop")
    >>> sorted(bundle.manifest["graphs"])
    ['text_decoder', 'token_embedding', 'vision_encoder']
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path, *, check: bool = True) -> Bundle:
        """Read the manifest and, unless ``check`` is False, compare every file's size and SHA-256 with it.

        Raises :class:`InputError` for a folder without manifest, a newer schema, a missing, changed or
        unlisted file.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise InputError(
                f"{folder}: not a bundle, it has no {MANIFEST}; make one with `phantom-edge export`"
            )
        manifest = read_json(folder / MANIFEST, MAX_MANIFEST_BYTES)
        _check_manifest(folder, manifest)
        bundle = cls(folder, manifest)
        if check:
            bundle.check_files()
        return bundle

    @property
    def template(self) -> PromptTemplate:
        return PromptTemplate.from_dict(self.manifest["prompt"])

    @property
    def browser(self) -> bool:
        """Whether a browser can run its files: ONNX, each graph with weights and cache of its own, made for
        that.
        """
        kind, _, _ = self.manifest["format"].partition("-")  # onnx, and variants of it for one device
        return kind == "onnx" and bool(self.manifest.get("browser", True))

    @property
    def bytes(self) -> int:
        """Size of all its files but the manifest."""
        return sum((self.folder / name).stat().st_size for name in _files(self.folder) if name != MANIFEST)

    def check_files(self) -> None:
        """Raise :class:`InputError` naming the first file that is missing, changed or not listed."""
        for name, entry in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise InputError(f"{self.folder}: {name} is missing; export the bundle again")
            if path.stat().st_size != entry["bytes"] or file_sha256(path) != entry["sha256"]:
                raise InputError(f"{self.folder}: {name} is not the file that was exported (SHA-256 differs)")
        extra = sorted(set(_files(self.folder)) - set(self.manifest["files"]) - {MANIFEST})
        if extra:
            raise InputError(
                f"{self.folder}: {extra[0]} is not listed in {MANIFEST}; remove it or export again"
            )


def is_bundle(folder: str | Path) -> bool:
    """Whether a folder claims to be a bundle."""
    return (Path(folder) / MANIFEST).is_file()


def writing(output: Path) -> AbstractContextManager[Path]:
    """A temporary sibling of ``output`` that takes its place when the block ends without an error.

    ``output`` may not exist, be empty, or be an earlier bundle, which stays untouched until the new one is
    complete; anything else is refused. Whatever goes wrong, nothing is left behind. Raises
    :class:`InputError`.
    """
    return replacing_folder(output, check_output)


def check_output(output: Path) -> None:
    """Raise :class:`InputError` when ``output`` holds something that is not an earlier bundle."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InputError(f"{output}: is a file or a link; choose another --output")
    if output.is_dir() and any(output.iterdir()) and not is_bundle(output):
        raise InputError(f"{output}: holds something that is not a bundle; choose another --output")


def finish(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Write the manifest over the files now in ``folder``, with their sizes and hashes."""
    names = [name for name in _files(folder) if name != MANIFEST]
    files = {n: {"bytes": (folder / n).stat().st_size, "sha256": file_sha256(folder / n)} for n in names}
    manifest = {"schema": SCHEMA, **manifest, "files": files}
    (folder / MANIFEST).write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return Bundle(folder, manifest)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _check_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    where = folder / MANIFEST
    schema = manifest.get("schema")
    if not isinstance(schema, int) or schema < 1:
        raise InputError(f"{where}: not the manifest of a phantom-edge bundle")
    if schema > SCHEMA:
        raise InputError(
            f"{where}: schema {schema} is newer than this phantom-edge reads ({SCHEMA}); update it"
        )
    for name, kind in _REQUIRED.items():
        if not isinstance(manifest.get(name), kind):
            raise InputError(
                f"{where}: {name} is missing or not of type {kind.__name__}; export the bundle again"
            )
    for name, entry in manifest["files"].items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise InputError(f"{where}: {name!r} lies outside the bundle")
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int) or "sha256" not in entry:
            raise InputError(f"{where}: the entry of {name!r} lacks its size or SHA-256")
