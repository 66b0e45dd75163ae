"""Texts from files and folders, block by block, so that a corpus of any size takes little memory."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError
from phantom_edge.system.reading import check_size, is_folder, opened, reading

BLOCK_BYTES: Final = 1 << 18
MAX_FILES: Final = 100_000


@dataclass(frozen=True)
class Corpus:
    """Files of UTF-8 text, of ``bytes`` in all."""

    files: tuple[Path, ...]
    bytes: int

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Corpus:
        """Files, and all in folders but hidden ones. Raises :class:`InputError` where there is no text."""
        files: list[Path] = []
        total = 0
        for path in paths:
            own = _below(path) if is_folder(path) else [path]
            size = sum(check_size(file, None) for file in own)
            if not size:
                raise InputError(f"{path}: holds no text; give --vocab files with what people write and read")
            files, total = [*files, *own], total + size
        return cls(tuple(files), total)

    def blocks(self) -> Iterator[str]:
        """The texts: each file, and of a large one parts of :data:`BLOCK_BYTES`, cut at ends of lines.

        Raises :class:`InputError` for a file that is no UTF-8 text.
        """
        for file in self.files:
            yield from _blocks(file)


def _below(folder: Path) -> list[Path]:
    files: list[Path] = []
    with reading(folder):
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
            if len(files) > MAX_FILES:
                raise InputError(f"{folder}: more than {MAX_FILES} files; join them, or give a part")
    return files


def _blocks(path: Path) -> Iterator[str]:
    decoder, rest, position = codecs.getincrementaldecoder("utf-8")(), "", 0
    with opened(path) as file:
        while True:
            data = file.read(BLOCK_BYTES)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                at = position - len(decoder.getstate()[0]) + error.start
                raise InputError(f"{path}: not UTF-8 text at byte {at}; give --vocab text files") from None
            if "\0" in text:
                raise InputError(f"{path}: is no text, for it holds a zero byte; give --vocab text files")
            position, rest = position + len(data), rest + text
            if not data:
                break
            end = rest.rfind("\n") + 1 or len(rest)
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest
