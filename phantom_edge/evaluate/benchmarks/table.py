"""Tab-separated tables with a base64 picture per row, as VLMEvalKit publishes MMBench, MMStar and AI2D.

Columns: ``index``, ``question``, ``answer`` (a letter), ``image``, often ``A``, ``B``, …, ``hint``,
``category``. An ``image`` of at most 64 characters is the index of the row that has the picture
(``vlmeval/dataset/image_base.py``).

Such a file is mostly pictures. It is read once for the texts; a picture is read from its place in the file
when its turn comes, so that memory holds one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.errors import InputError
from phantom_edge.evaluate.files import decode_image
from phantom_edge.evaluate.items import Picture
from phantom_edge.system.reading import check_size, opened, reading

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ROW_BYTES = 64 << 20
MAX_ROWS = 1_000_000
MAX_REFERENCE = 64  # characters; a picture takes more
OPTIONS = "ABCDE"
IMAGE = "image"


@dataclass(frozen=True)
class Row:
    """The texts of one row by column, and its picture, which is read from the file when its turn comes."""

    texts: dict[str, str]
    picture: Picture

    @property
    def options(self) -> list[str]:
        """The texts of A, B, … as far as they are filled."""
        return [self.texts[name] for name in OPTIONS if self.texts.get(name)]


@dataclass(frozen=True)
class _Place:
    """Where a row lies in the file, in bytes, and the index of the row that has its picture."""

    start: int
    length: int
    picture_of: str


def read_table(path: Path, required: tuple[str, ...]) -> list[Row]:
    """Every row of a table. Raises :class:`InputError` for a missing column or a row that is not whole."""
    places: dict[str, _Place] = {}
    texts: list[dict[str, str]] = []
    with _wide_fields():
        rows = _rows(path)
        _, _, header = next(rows, (0, 0, []))
        if missing := [name for name in ("index", IMAGE, *required) if name not in header]:
            raise InputError(f"{path}: no column {missing[0]!r}; its columns are {', '.join(header)[:200]}")
        image = header.index(IMAGE)
        for number, (start, length, cells) in enumerate(rows, start=2):
            if len(cells) != len(header):
                raise InputError(f"{path}: row {number} has {len(cells)} cells, the header {len(header)}")
            cell = cells[image].strip()
            row = {name: text.strip() for name, text in zip(header, cells, strict=True) if name != IMAGE}
            if row["index"] in places:
                raise InputError(f"{path}: row {number} has the index {row['index']} of an earlier one")
            places[row["index"]] = _Place(start, length, cell if len(cell) <= MAX_REFERENCE else row["index"])
            texts.append(row)
    return [Row(row, _picture(path, image, row["index"], places)) for row in texts]


def _picture(path: Path, column: int, index: str, places: dict[str, _Place]) -> Picture:
    holder = places[index].picture_of
    if holder not in places or places[holder].picture_of != holder:
        raise InputError(f"{path}: index {index} has neither a picture nor the index of a row that has one")

    def load(size: int) -> Image:
        place = places[holder]
        with opened(path) as file, _wide_fields():
            file.seek(place.start)
            # StringIO parts lines at \n alone, as the first reading did; splitlines also would at U+2028.
            text = io.StringIO(file.read(place.length).decode("utf-8"))
            cells = next(csv.reader(text, delimiter="\t"), [])
        if len(cells) <= column:
            raise InputError(f"{path}: has changed while it was read")
        return decode_image(cells[column].strip(), f"the picture of index {holder} in {path}")

    return Picture(f"{path.name}#{holder}", load)


def _rows(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Start, length in bytes, and cells of each row; a quoted cell may hold line ends."""
    lines = _Lines(path)
    reader = csv.reader(lines, delimiter="\t")
    try:
        while True:
            start = lines.position
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                yield start, lines.position - start, cells
            if reader.line_num > MAX_ROWS:
                raise InputError(f"{path}: has more than {MAX_ROWS:,} rows")
    except (csv.Error, UnicodeDecodeError) as error:
        where = f"{path}: not readable as tab-separated UTF-8 near line {reader.line_num}"
        raise InputError(f"{where} ({error})") from None
    finally:
        lines.close()


class _Lines:
    """The lines of a file as text, and the byte where the next one begins."""

    def __init__(self, path: Path):
        check_size(path, None)
        with reading(path):
            self._file = path.open("rb")
        self._path, self.position = path, 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_BYTES + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_ROW_BYTES:
            raise InputError(f"{self._path}: a line is longer than {MAX_ROW_BYTES >> 20} MiB")
        first, self.position = self.position == 0, self.position + len(line)
        return line.decode("utf-8-sig" if first else "utf-8")

    def close(self) -> None:
        self._file.close()


@contextmanager
def _wide_fields() -> Iterator[None]:
    """The csv module's limit on a field is 128 KiB, one for the whole process."""
    before = csv.field_size_limit(MAX_ROW_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def find_table(data: str | Path, pattern: str, folders: tuple[str, ...], layout: str) -> Path:
    """``data`` itself if it is a file, else the one table below it whose name matches.

    Raises :class:`InputError` for none and for several.
    """
    data = Path(data)
    if data.is_file() and data.suffix.lower() == ".tsv":
        return data
    if not data.exists():
        raise InputError(f"{data}: not found; give --data {layout}")
    paths = [path for folder in folders for path in sorted((data / folder).glob("*.tsv"))]
    tables = [path for path in paths if re.fullmatch(pattern, path.name, re.IGNORECASE)]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:4])
        raise InputError(f"{data}: holds {names}; give --data one of the files")
    if not tables:
        raise InputError(f"{data}: no such table in it; expected is {layout}")
    return tables[0]


def letter_of(row: Row, path: Path) -> str:
    """The letter of the right option. Raises :class:`InputError` for a row without, as in a test split."""
    answer = row.texts["answer"].upper()
    letters, index = OPTIONS[: len(row.options) or None], row.texts["index"]
    if len(answer) != 1 or answer not in letters:
        raise InputError(f"{path}: index {index} has no answer among its options; test splits have none")
    return answer
