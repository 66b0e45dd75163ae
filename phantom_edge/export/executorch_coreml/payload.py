"""A Core ML package as the payload of ExecuTorch's Core ML delegate; its own library writes it.

The payload is a small file system: the contents of the files one after the other, then a JSON table of
folders and files, its bytes in reverse order so that it can be read from the end
(``inmemory_filesystem.cpp``). It holds ``model.mlpackage`` and ``metadata.json``, which names the model's
inputs and outputs in the order of the delegate's arguments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import InputError

MODEL: Final = "model.mlpackage"
METADATA: Final = "metadata.json"
MAX_TABLE: Final = 1 << 20  # bytes; a package has half a dozen files
MAX_DEPTH: Final = 16
FILE, FOLDER = 0, 1  # InMemoryNode::Kind


def pack(folder: Path, inputs: list[str], outputs: list[str]) -> bytes:
    """The payload of ``folder``, which holds the package :data:`MODEL`; the metadata is written beside it."""
    from executorch.backends.apple.coreml import executorchcoreml

    metadata = description(folder / MODEL, inputs, outputs)
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    return bytes(executorchcoreml.flatten_directory_contents(str(folder.resolve())))


def description(package: Path, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    """The metadata of ``package``.

    The identifier, under which a device keeps the compiled model, follows from the package's contents: the
    same export is compiled once.
    """
    identifier = f"executorch_{_digest(package)}"
    return {"inputNames": inputs, "outputNames": outputs, "identifier": identifier}


def unpack(payload: bytes, folder: Path) -> Path:
    """Write the payload's files; its package's path. Raises :class:`InputError` for damage or bad names."""
    for name, data in files(payload):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if not (folder / MODEL).is_dir():
        raise InputError("the Core ML delegate holds no package; export the bundle again")
    return folder / MODEL


def files(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """Relative paths and contents of the files of ``payload``; raises as :func:`unpack`."""
    try:
        # Latin-1 keeps bytes apart from their meaning: what comes before the table is not text.
        text = payload[: -MAX_TABLE - 1 : -1].decode("latin-1")
        nodes = json.JSONDecoder().raw_decode(text)[0]["nodes"]
        yield from _walk(payload, nodes, len(nodes) - 1, "", 0)  # children come before their folder
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the Core ML delegate's payload is damaged ({error!r}); export it again") from None


def _walk(payload: bytes, nodes: list[Any], index: int, path: str, depth: int) -> Iterator[tuple[str, bytes]]:
    node = nodes[index]
    if node["kind"] == FILE:
        start, size = node["dataRegion"]["offset"], node["dataRegion"]["size"]
        if not 0 <= start <= start + size <= len(payload):
            raise ValueError("a file lies outside")
        yield path, payload[start : start + size]
        return
    if node["kind"] != FOLDER or depth > MAX_DEPTH:
        raise ValueError("an unknown kind of entry")
    for name, child in node["children"].items():
        if name in ("", ".", "..") or not name.isascii() or not name.isprintable() or set(name) & set("/\\"):
            raise ValueError(f"the name {name!r}")
        yield from _walk(payload, nodes, child, f"{path}/{name}" if path else name, depth + 1)


def _digest(package: Path) -> str:
    """SHA-256 over the names and contents of a package's files, but for its own random identifiers."""
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.is_file() and p.name != "Manifest.json"):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]
