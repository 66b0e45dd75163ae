"""MMBench (Liu et al., arXiv 2307.06281), dev: the split with public answers, by ability (``l2-category``).

Layout: one table, ``MMBench_DEV_EN.tsv`` and its like (VLMEvalKit) or ``mmbench_dev_20230712.tsv``
(OpenCompass). The older tables hold each question several times with its options rotated, the copies numbered
index + n times 1,000,000: accuracy counts every row, as the published evaluation does, and ``circular`` the
questions right in all rotations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from phantom_edge.evaluate.benchmarks.table import OPTIONS, Row, find_table, letter_of, read_table
from phantom_edge.evaluate.items import Item, Record, Suite
from phantom_edge.evaluate.scoring import LETTER_SUFFIX, MAX_TOKENS, first_character

LAYOUT = "an MMBench dev table such as MMBench_DEV_EN.tsv or mmbench_dev_20230712.tsv"
ROTATION = 1_000_000


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    path = find_table(data, r"mmbench_dev.*\.tsv", ("", "MMBench", "mmbench"), LAYOUT)
    rows = read_table(path, ("question", "answer", "A", "B"))
    copies: dict[str, set[str]] = defaultdict(set)
    for index in (row.texts["index"] for row in rows):
        copies[str(int(index) % ROTATION) if index.isdecimal() else index].add(index)

    def circular(records: Sequence[Record]) -> dict[str, dict[str, float]]:
        right = {record.id: record.correct for record in records}
        whole = [ids for ids in copies.values() if len(ids) > 1 and ids <= right.keys()]
        if not whole:
            return {}
        hits = sum(all(right[name] for name in ids) for ids in whole)
        return {f"circular, {len(whole)} questions": {"accuracy": 100 * hits / len(whole)}}

    scoring = "the first character is the option's letter, as the published evaluate_mmbench_dev"
    return Suite(f"MMBench, {path.name}", tuple(_item(row, path) for row in rows), scoring, circular)


def _item(row: Row, path: Path) -> Item:
    letter, texts = letter_of(row, path), row.texts
    options = [f"{mark}. {text}" for mark, text in zip(OPTIONS, row.options, strict=False)]
    hint = [texts["hint"]] if texts.get("hint") else []
    return Item(
        id=texts["index"],
        task=texts.get("l2-category") or texts.get("category") or "mmbench",
        question="\n".join([*hint, texts["question"], *options]) + LETTER_SUFFIX,
        answer=f"{letter}. {row.options[OPTIONS.index(letter)]}",
        judge=lambda reply: first_character(reply) == letter,
        picture=row.picture,
        max_tokens=MAX_TOKENS,
        choices=tuple(OPTIONS[: len(row.options)]),
    )
