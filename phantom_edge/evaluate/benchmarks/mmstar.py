"""MMStar (Chen et al., arXiv 2403.20330), by category.

Layout: ``MMStar.tsv`` (Lin-Chen/MMStar). Its questions carry their options; where a table has them in columns
instead, they are appended as for MMBench.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from phantom_edge.evaluate.benchmarks.table import OPTIONS, Row, find_table, letter_of, read_table
from phantom_edge.evaluate.items import Item, Suite
from phantom_edge.evaluate.scoring import LETTER_SUFFIX, MAX_TOKENS, mmstar

LAYOUT = "MMStar.tsv, a table with index, question, answer, category and image"


def load(data: Path) -> Suite:
    """See :func:`phantom_edge.evaluate.benchmarks.benchmark_suite`."""
    path = find_table(data, r"mmstar\.tsv", ("", "MMStar", "mmstar"), LAYOUT)
    rows = read_table(path, ("question", "answer", "category"))
    scoring = "the option's letter at the beginning, as eval_mmstar of the published evaluation"
    return Suite("MMStar", tuple(_item(row, path) for row in rows), scoring)


def _item(row: Row, path: Path) -> Item:
    letter = letter_of(row, path)
    question = row.texts["question"]
    listed = [] if "Options:" in question else row.options
    options = [f"{mark}. {text}" for mark, text in zip(OPTIONS, listed, strict=False)]
    return Item(
        id=row.texts["index"],
        task=row.texts["category"] or "mmstar",
        question="\n".join([question, *options]) + LETTER_SUFFIX,
        answer=letter,
        judge=partial(mmstar, letter),
        picture=row.picture,
        max_tokens=MAX_TOKENS,
        choices=tuple(OPTIONS[: len(row.options) or len(OPTIONS) - 1]),
    )
