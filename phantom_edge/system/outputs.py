"""The one rule for everything that is written: checked before any work, and over nothing of the user's.

An output is never inside a bundle or a checkpoint, and never in the place of something that this toolkit
did not write, which is decided by content: the bundle's manifest, the page's generator, the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import InputError, UnwritableError
from phantom_edge.system.causes import existing, has_room, short, unwritable
from phantom_edge.system.reading import has_bytes, read_json
from phantom_edge.system.writing import mend

GENERATOR: Final = '<meta name="generator" content="phantom-edge">'
MANIFEST: Final = "manifest.json"
CONFIG: Final = "config.json"
WEIGHTS: Final = ".safetensors"
KEY: Final = "phantom_edge"
"""In the metadata of our safetensors files."""
SYSTEMS_OWN: Final = (".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
CACHE_TAG: Final = "CACHEDIR.TAG"
CACHE_TAG_TEXT: Final = b"""Signature: 8a477f597d28d172789f06886806bc55
# A cache of phantom-edge: it can be removed at any time. See https://bford.info/cachedir/
"""
"""The common mark of a folder that a backup can leave out, and ours."""
HEAD: Final = 1 << 20  # bytes that are read of a file to know it
MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class FileKind:
    """A kind of file that this toolkit writes, and how to know one."""

    title: str
    is_ours: Callable[[bytes], bool]
    """Whether a file that begins so is one."""


def _is_records(head: bytes) -> bool:
    first = _json_object(head.split(b"\n", 1)[0])
    return {"model", "id", "question", "reply"} <= first.keys()


def _is_quantization(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return f'"{KEY}"'.encode() in head[8 : 8 + min(length, HEAD)]


PAGE: Final = FileKind("a page of phantom-edge", lambda head: GENERATOR.encode() in head[:4096])
RECORDS: Final = FileKind("records of `eval`", _is_records)
QUANTIZATION: Final = FileKind("a file of `quantize`", _is_quantization)


def check_file(path: str | Path, kind: FileKind, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise :class:`InputError`, before any work, for a place where such a file must not or cannot appear.

    ``inputs`` are read by the same command: none of them may be replaced.
    """
    path = Path(os.path.abspath(path))
    with _explained(path):
        _check_place(path)
        if not path.parent.is_dir():
            raise InputError(f"{short(path)}: no file can be written there; its folder must exist")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"{short(path)}: is no ordinary file; choose another name")
        if any(source is not None and _same(path, source) for source in inputs):
            raise InputError(f"{short(path)}: is read by this command; choose another name to write to")
        if path.exists() and path.stat().st_size and not kind.is_ours(_head(path)):
            what = f"exists and is not {kind.title}"
            raise InputError(f"{short(path)}: {what}; choose another name, or move it away")


def check_distinct(paths: Iterable[str | Path | None]) -> None:
    """Raise :class:`InputError` when two outputs of one command have the same name."""
    names = [os.path.abspath(path) for path in paths if path is not None]
    if len(set(names)) < len(names):
        raise InputError("two outputs have the same name; give each its own")


def check_bundle_folder(path: str | Path) -> None:
    """Raise :class:`InputError` for a place where a bundle must not or cannot appear.

    It may not exist, be empty, or be an earlier bundle with nothing in it but what was exported.
    """
    path = Path(os.path.abspath(path))
    check_folder(path)
    with _explained(path):
        if not path.is_dir() or not (names := _entries(path)):
            return
        if not is_own_bundle(path):
            what = "holds something that is not a bundle"
            raise InputError(f"{short(path)}: {what} ({short(names[0])}); choose another --output")
        listed = {MANIFEST, *read_json(path / MANIFEST).get("files", {})}
        files = (file for file in path.rglob("*") if not file.is_dir() and file.name not in SYSTEMS_OWN)
        added = sorted({file.relative_to(path).as_posix() for file in files} - listed)
        if added:
            what = f"{short(added[0])} beside what was exported is not in its manifest"
            raise InputError(f"{short(path)}: {what}; move it away, or choose another --output")


def check_new_folder(path: str | Path) -> None:
    """Raise :class:`InputError` unless a new folder can appear at ``path``, which is empty or not there."""
    path = Path(os.path.abspath(path))
    check_folder(path)
    with _explained(path):
        if path.is_dir() and any(path.iterdir()):
            what = "is a bundle" if is_own_bundle(path) else "is not empty"
            raise InputError(f"{short(path)}: {what}; choose a new or empty folder")


def check_cache_folder(path: str | Path) -> None:
    """Raise :class:`InputError` where no cache can be: it is new, empty, or marked as one of ours."""
    path = Path(os.path.abspath(path))
    with _explained(path):
        if has_bytes(path / CACHE_TAG, CACHE_TAG_TEXT):
            return  # where nothing more can be written, it can still be read
        _check_place(path / CACHE_TAG if path.is_dir() else path)
        if path.exists() and not path.is_dir():
            raise InputError(f"{short(path)}: is no folder; choose a new or empty one")
        if path.is_dir() and (names := _entries(path)):
            what = f"holds {short(names[0])}, and is no cache of this toolkit"
            raise InputError(f"{short(path)}: {what}; choose a new or empty folder")


def check_folder(path: str | Path) -> None:
    """Raise :class:`InputError` for a place where no folder of ours can be, whatever is in it now."""
    path = Path(os.path.abspath(path))
    with _explained(path):
        mend(path)
        _check_place(path)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise InputError(f"{short(path)}: is a file or a link; choose another --output")
        if _is_mount(path):
            inside = short(path / "NAME")
            raise InputError(f"{short(path)}: is a mount point, which cannot be replaced; name {inside}")
        if path == Path.cwd() or path in Path.cwd().parents:
            raise InputError(
                f"{short(path)}: you are in this folder; name a new one, such as {path / 'NAME'}"
            )


def short_name(model: str) -> str:
    """What a model is called by its folder or id, also where that is ``.`` or ``..``.

    >>> short_name("BK-Lee/Phantom-0.5B")
    'Phantom-0.5B'
    """
    name = Path(model).name
    return name if name.strip(".") else Path(model).resolve().name or "phantom"


def default_folder(model: str, target: str) -> Path:
    """Where a bundle goes when nobody says.

    >>> default_folder("BK-Lee/Phantom-0.5B", "ios").name
    'Phantom-0.5B-ios'
    """
    return Path(f"{short_name(model)}-{target}")


def is_own_bundle(folder: Path) -> bool:
    """Whether a folder holds a manifest of a bundle, of any version, and not another program's."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (InputError, OSError):
        return False
    return isinstance(manifest.get("files"), dict) and {"schema", "format"} <= manifest.keys()


def _check_place(path: Path) -> None:
    if "\0" in str(path):
        raise InputError("a null character is in no name; choose another")
    for folder in path.parents:
        if (folder / MANIFEST).is_file() and is_own_bundle(folder):
            raise InputError(f"{short(path)}: lies in the bundle {short(folder)}; choose a place outside it")
        if (folder / CONFIG).is_file() and any(name.endswith(WEIGHTS) for name in os.listdir(folder)):
            raise InputError(
                f"{short(path)}: lies in the checkpoint {short(folder)}; choose a place outside it"
            )
    folder = existing(path.parent)
    longest = os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if (length := max(len(os.fsencode(part)) for part in path.parts)) > longest:
        raise UnwritableError(f"{short(path)}: a name of {length} bytes is too long, {longest} is the most")
    if not folder.is_dir():
        raise UnwritableError(f"{short(path)}: {short(folder)} is no folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritableError(f"{short(path)}: cannot be written there (read-only, or no permission)")
    if not has_room(folder):
        raise UnwritableError(f"{short(path)}: the disk is full; free some space or choose another place")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say in one line what the system refuses."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError for a null character
        said = getattr(error, "strerror", None) or error
        refused = UnwritableError(f"{short(path)}: cannot be written ({said})")
        raise unwritable(error, path) or refused from None


def _entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in SYSTEMS_OWN)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _same(path: Path, source: str | Path) -> bool:
    try:
        return os.path.samefile(path, source)
    except (OSError, ValueError):
        return False


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_mount(path: Path) -> bool:
    """Also a folder that is mounted from the same disk, of which only the system's table knows."""
    if os.path.ismount(path):
        return True
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    real = os.path.realpath(path)
    return any(line.split()[4].encode().decode("unicode_escape") == real for line in lines)
