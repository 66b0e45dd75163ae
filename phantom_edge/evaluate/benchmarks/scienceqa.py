"""ScienceQA (Lu et al., arXiv 2209.09513): the test questions that have a picture, by subject.

Layout of lupantech/ScienceQA: ``problems.json``, ``pid_splits.json``, ``images/test/ID/image.png``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.files import field_of, find_folder, inside, picture_file, read_json, texts_of
from phantom_edge.evaluate.items import Item, Suite
from phantom_edge.evaluate.scoring import LETTER_SUFFIX, LETTERS, MAX_TOKENS, choice

LAYOUT = "ScienceQA's problems.json, pid_splits.json and images/test/ID/image.png"
PLACES = ("", "ScienceQA", "data/scienceqa", "ScienceQA/data/scienceqa")
SPLIT = "test"


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    folder = find_folder(data, "problems.json", PLACES, LAYOUT)
    problems = read_json(folder / "problems.json", dict)
    splits = read_json(folder / "pid_splits.json", dict)
    ids = texts_of(splits, SPLIT, str(folder / "pid_splits.json"))
    by_id = {name: field_of(problems, name, dict, str(folder / "problems.json")) for name in ids}
    items = [_item(folder, name, problem) for name, problem in by_id.items() if problem.get("image")]
    scoring = "the option's letter, convert_to_choice of the published evaluation"
    return Suite("ScienceQA, test questions with a picture", tuple(items), scoring)


def _item(folder: Path, name: str, problem: dict[str, Any]) -> Item:
    where = f"{folder / 'problems.json'}: problem {name}"
    question, hint, subject = (field_of(problem, key, str, where) for key in ("question", "hint", "subject"))
    choices, answer = texts_of(problem, "choices", where), field_of(problem, "answer", int, where)
    if not 0 <= answer < len(choices) <= len(LETTERS):
        raise InputError(f"{where}: answer {answer} is not among its {len(choices)} choices")
    image = inside(folder / "images" / SPLIT, f"{name}/{field_of(problem, 'image', str, where)}", where)
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False))
    return Item(
        id=name,
        task=subject,
        # sqa_filtering joins the three as they are, so that a prompt without a hint begins with a line end.
        question="\n".join([hint, question, options]) + LETTER_SUFFIX,
        answer=f"{LETTERS[answer]}. {choices[answer]}",
        judge=lambda reply: choice(reply, len(choices)) == answer,
        picture=picture_file(image, where, LAYOUT),
        max_tokens=MAX_TOKENS,
        choices=tuple(LETTERS[: len(choices)]),
    )
