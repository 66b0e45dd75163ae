"""Triples for Phantom Optimization: one JSON object per line, read strictly; errors name the line.

    {"image": "file.png", "question": "...", "answer": "...", "wrong": "..."}

``wrong``, an incorrect or ambiguous answer, and ``image`` may be absent; fields of other names are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from phantom_edge.errors import MAX_SHOWN, InputError, one_line, shown
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import check_size, is_file, is_folder, read_json_lines, reading

MAX_FILE_BYTES = 4 << 30
LISTED = 6  # missing pictures named before an error says "and N more"


@dataclass(frozen=True)
class Line:
    """One triple: its line's number in the file, from 1, its texts, and the picture's name in the folder."""

    number: int
    question: str
    answer: str
    wrong: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Triples:
    """The lines of a file, the folder of their pictures, and the SHA-256 of the file."""

    path: Path
    folder: Path | None
    lines: tuple[Line, ...]
    sha256: str

    def where(self, line: Line) -> str:
        """How an error names a line."""
        return f"{self.path}, line {line.number}"

    def picture(self, name: str) -> Path:
        """The file of a picture that a line names."""
        assert self.folder is not None, "lines that name pictures are refused without a folder"
        return self.folder / name

    def images(self) -> dict[str, Line]:
        """Every picture's name with the first line that names it."""
        first: dict[str, Line] = {}
        for line in self.lines:
            if line.image is not None:
                first.setdefault(line.image, line)
        return first


def read_triples(path: str | Path, images: str | Path | None = None) -> Triples:
    """Read and check a file of triples whose pictures lie in the folder ``images``.

    Raises :class:`InputError` naming the line: not JSON, a field that is missing, empty or no text, a picture
    outside the folder, limits exceeded; and one that lists the pictures that are not there.

    >>> pe.read_triples("scenes/triples.jsonl", "scenes").lines[0].question
    'Tell me the colour of the diamond.'
    """
    path, folder = Path(path), None if images is None else Path(images)
    if folder is not None and not is_folder(folder):
        raise InputError(f"{folder}: no such folder; --images takes the folder of the pictures")
    check_size(path, MAX_FILE_BYTES)
    lines = tuple(_line(data, n, f"{path}, line {n}") for n, data in read_json_lines(path))
    if not lines:
        raise InputError(f"{path}: holds no triple; give one JSON object per line")
    triples = Triples(path, folder, lines, file_sha256(path))
    _check_images(triples)
    return triples


def _line(data: dict[str, Any], number: int, where: str) -> Line:
    question, answer = _text(data, "question", where), _text(data, "answer", where)
    if question is None or answer is None:
        raise InputError(f"{where}: {'question' if question is None else 'answer'} is missing")
    wrong, image = _text(data, "wrong", where), _text(data, "image", where)
    if wrong == answer:
        raise InputError(f"{where}: the wrong answer is the right one; change it or leave it out")
    return Line(number, question, answer, wrong, image)


def _text(data: dict[str, Any], name: str, where: str) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {shown(value)}, expected a text")
    if not value.strip():
        raise InputError(f"{where}: {name} is empty; leave the field out or fill it")
    return value


def _check_images(triples: Triples) -> None:
    missing = []
    for name, line in triples.images().items():
        if triples.folder is None:
            name = one_line(name, MAX_SHOWN)
            raise InputError(f"{triples.where(line)}: names the picture {name}; give --images DIR")
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name or _leaves(triples.folder, name):
            what = f"{shown(name)} lies outside {triples.folder}"
            raise InputError(f"{triples.where(line)}: {what}; move it in")
        if not is_file(triples.folder / name):
            missing.append(f"{one_line(name, MAX_SHOWN)} (line {line.number})")
    if missing:
        listed = ", ".join(missing[:LISTED])
        more = "" if len(missing) <= LISTED else f" and {len(missing) - LISTED} more"
        raise InputError(f"{triples.path}: {len(missing)} pictures not in {triples.folder}: {listed}{more}")


def _leaves(folder: Path, name: str) -> bool:
    """Whether a link takes a name out of the folder."""
    with reading(f"{folder}, picture {shown(name)}", "give another picture"):
        return not (folder / name).resolve().is_relative_to(folder.resolve())
