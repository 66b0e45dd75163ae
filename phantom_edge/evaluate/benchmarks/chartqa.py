"""ChartQA (Masry et al., arXiv 2203.10244), test: questions by people, and ``augmented`` ones.

Layout of vis-nlp/ChartQA, ``ChartQA Dataset/test``: ``test_human.json``, ``test_augmented.json`` and
``png/``. The published Phantom accuracy is that of ``augmented``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.files import field_of, inside, picture_file, read_json
from phantom_edge.evaluate.items import Item, Suite
from phantom_edge.evaluate.scoring import MAX_TOKENS, PHRASE_SUFFIX, relaxed

LAYOUT = "ChartQA's test_human.json and test_augmented.json, or one of them, and png/"
PLACES = ("", "test", "ChartQA Dataset/test", "chartqa/test", "ChartQA/test")
FILES = {"human": "test_human.json", "augmented": "test_augmented.json"}


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    if not data.exists():
        raise InputError(f"{data}: not found; give --data the folder with {LAYOUT}")
    for folder in (data / place for place in PLACES):
        items = [item for task, name in FILES.items() for item in _items(folder, task, name)]
        if items:
            return Suite("ChartQA, test", tuple(items), "relaxed accuracy: numbers within 5 %, texts equal")
    raise InputError(f"{data}: neither {' nor '.join(FILES.values())} in it; expected is {LAYOUT}")


def _items(folder: Path, task: str, name: str) -> list[Item]:
    if not (folder / name).is_file():
        return []
    return [_item(folder, task, n, entry, name) for n, entry in enumerate(read_json(folder / name, list))]


def _item(folder: Path, task: str, number: int, entry: Any, name: str) -> Item:
    where = f"{folder / name}: entry {number}"
    image, question, label = (field_of(entry, key, str, where) for key in ("imgname", "query", "label"))
    return Item(
        id=f"{task}/{number}",
        task=task,
        question=question + PHRASE_SUFFIX,
        answer=label,
        judge=lambda reply: relaxed(label, reply),
        picture=picture_file(inside(folder / "png", image, where), where, LAYOUT),
        max_tokens=MAX_TOKENS,
    )
