"""AI2D (Kembhavi et al., arXiv 1603.07396), test diagrams, in any of three published layouts.

- ``ai2d_test.json`` beside ``images/`` and ``abc_images/``: the list that the published Phantom evaluation
  reads;
- ``questions/NAME.png.json``, ``images/``, ``abc_images/`` and ``ai2d_test_ids.csv``: the data set itself;
- ``AI2D_TEST.tsv``: VLMEvalKit's table.

A question about letters in the diagram (``abcLabel``) has its picture in ``abc_images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.benchmarks.table import find_table, letter_of, read_table
from phantom_edge.evaluate.files import field_of, inside, picture_file, read_json, texts_of
from phantom_edge.evaluate.items import Item, Picture, Suite
from phantom_edge.evaluate.scoring import LETTER_SUFFIX, MAX_TOKENS, first_capital
from phantom_edge.system.reading import is_file, read_bytes

LAYOUT = (
    "AI2D_TEST.tsv, or images/ and abc_images/ with ai2d_test.json, or with questions/ and ai2d_test_ids.csv"
)
PLACES = ("", "ai2d", "AI2D")
LIST, IDS = "ai2d_test.json", "ai2d_test_ids.csv"
MAX_IDS_BYTES = 1 << 20
LETTERS = "ABCDEFGHIJ"


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    folders = [data / place for place in PLACES if (data / place).is_dir()]
    for folder in folders:
        if is_file(folder / LIST):
            return _suite(_from_list(folder))
        if (folder / "questions").is_dir():
            return _suite(_from_questions(folder))
    return _suite(_from_table(find_table(data, r"AI2D_TEST(_NO_MASK)?\.tsv", PLACES, LAYOUT)))


def _suite(items: Iterator[Item]) -> Suite:
    return Suite("AI2D, test", tuple(items), "the first capital letter, as the published evaluate_ai2d")


def _from_list(folder: Path) -> Iterator[Item]:
    where = str(folder / LIST)
    for number, entry in enumerate(read_json(folder / LIST, list)):
        question, image = (field_of(entry, name, str, where) for name in ("question", "imageName"))
        about = field_of(entry, "metadata", dict, where)
        yield _diagram(folder, question, image, about, f"{where}: entry {number}")


def _from_questions(folder: Path) -> Iterator[Item]:
    for name in _test_ids(folder / IDS):
        path = folder / "questions" / f"{name}.png.json"
        data = read_json(path, dict)
        image = field_of(data, "imageName", str, str(path))
        for question, about in field_of(data, "questions", dict, str(path)).items():
            yield _diagram(folder, question, image, about, str(path))


def _test_ids(path: Path) -> list[str]:
    """The numbers of the test diagrams, one per line."""
    data = read_bytes(path, MAX_IDS_BYTES, "it says which diagrams are the test split")
    lines = data.decode("utf-8", "replace").splitlines()
    ids = [line.strip() for line in lines if line.strip().isdecimal()]
    if not ids:
        raise InputError(f"{path}: holds no diagram numbers, one per line")
    return ids


def _diagram(folder: Path, question: str, image: str, about: dict[str, Any], where: str) -> Item:
    texts, right = texts_of(about, "answerTexts", where), field_of(about, "correctAnswer", int, where)
    name, lettered = field_of(about, "questionId", str, where), field_of(about, "abcLabel", bool, where)
    if not 0 <= right < len(texts) <= len(LETTERS):
        raise InputError(f"{where}: {name}: correctAnswer {right} is not among its {len(texts)} answers")
    path = inside(folder / ("abc_images" if lettered else "images"), image, where)
    return _item(name, question, texts, LETTERS[right], picture_file(path, where, LAYOUT))


def _from_table(path: Path) -> Iterator[Item]:
    for row in read_table(path, ("question", "answer", "A", "B")):
        yield _item(row.texts["index"], row.texts["question"], row.options, letter_of(row, path), row.picture)


def _item(name: str, question: str, options: list[str], letter: str, picture: Picture) -> Item:
    # ai2d_filtering puts all options on one line.
    choices = " ".join(f"{mark}. {text}" for mark, text in zip(LETTERS, options, strict=False))
    return Item(
        id=name,
        task="ai2d",
        question=f"{question}\n{choices}{LETTER_SUFFIX}",
        answer=f"{letter}. {options[LETTERS.index(letter)]}",
        judge=lambda reply: first_capital(reply) == letter,
        picture=picture,
        max_tokens=MAX_TOKENS,
        choices=tuple(LETTERS[: len(options)]),
    )
