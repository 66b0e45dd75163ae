"""POPE (Li et al., arXiv 2305.10355): is there such an object? Three sets over the same COCO pictures.

Layout of AoiDragon/POPE: ``coco_pope_random.json``, ``coco_pope_popular.json``,
``coco_pope_adversarial.json`` (one JSON object per line), and COCO's ``val2014`` pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.files import field_of, find_folder, inside, picture_file
from phantom_edge.evaluate.items import Item, Record, Suite
from phantom_edge.evaluate.scoring import MAX_TOKENS, PHRASE_SUFFIX, says_yes, yes_no_measures
from phantom_edge.system.reading import read_json_lines

SCORING = "yes unless the first sentence has no or not (POPE's evaluate.py); precision and recall are of yes"
SETS = ("random", "popular", "adversarial")
LAYOUT = "POPE's coco_pope_random.json, _popular and _adversarial, and COCO's pictures in val2014/"
PLACES = ("", "POPE", "output/coco", "POPE/output/coco", "coco")
PICTURES = ("val2014", "coco2014/val2014", "coco/val2014", "images", "POPE/val2014", "POPE/images")


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    folder = find_folder(data, _file(SETS[0]), PLACES, LAYOUT)
    pictures = next((data / place for place in PICTURES if (data / place).is_dir()), None)
    if pictures is None:
        raise InputError(f"{data}: none of {', '.join(PICTURES)} in it; expected is {LAYOUT}")
    items = [item for name in SETS for item in _items(folder / _file(name), name, pictures)]
    return Suite("POPE", tuple(items), SCORING, measures)


def measures(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and yes ratio of each set, in percent. A refused question counts as no."""
    return {
        task: yes_no_measures(
            (r.answer == "yes", not r.error and says_yes(r.reply)) for r in records if r.task == task
        )
        for task in dict.fromkeys(record.task for record in records)
    }


def _file(name: str) -> str:
    return f"coco_pope_{name}.json"


def _items(path: Path, name: str, pictures: Path) -> list[Item]:
    if not path.is_file():
        raise InputError(f"{path}: not found; expected is {LAYOUT}")
    return [_item(f"{path}, line {number}", entry, name, pictures) for number, entry in read_json_lines(path)]


def _item(where: str, entry: dict[str, Any], name: str, pictures: Path) -> Item:
    number = field_of(entry, "question_id", int, where)
    question, label, image = (field_of(entry, key, str, where) for key in ("text", "label", "image"))
    if label not in ("yes", "no"):
        raise InputError(f"{where}: the label is {label!r}, neither yes nor no")
    return Item(
        id=f"{name}/{number}",
        task=name,
        question=question + PHRASE_SUFFIX,
        answer=label,
        judge=lambda reply: says_yes(reply) == (label == "yes"),
        picture=picture_file(inside(pictures, image, where), where, LAYOUT),
        max_tokens=MAX_TOKENS,
        choices=("Yes", "No"),
    )
