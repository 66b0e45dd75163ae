"""Questions of an evaluation with their pictures and replies: those that changed first, then wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

from phantom_edge.checkpoint.origin import short_name
from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.report.examples import MOST, SIDE, Example, Reply, thumbnail

FEW = 30
"""Questions per task below which a change of ten points is within the interval."""


def examples(items: Sequence[Item], results: Sequence[EvalResult]) -> list[Example]:
    """At most :data:`MOST`: a third that the models judge differently, a third wrong, the rest as they come.

    The first result is the artifact's, and its reply stands last.
    """
    names = names_of(results)
    chosen = _chosen(items, results)
    order = [*range(1, len(results)), 0]
    made = []
    for n in chosen:
        records = [(names[k], results[k].records[n]) for k in order]
        replies = tuple(Reply(name, one.error or one.reply, one.correct) for name, one in records)
        item = items[n]
        made.append(Example(item.question, _picture(item), replies, item.task, item.answer))
    return made


def names_of(results: Sequence[EvalResult]) -> list[str]:
    """What people call the models, each name once."""
    short = [short_name(result.model) for result in results]
    return [
        name if short.count(name) == 1 else result.model for name, result in zip(short, results, strict=True)
    ]


def cautions(result: EvalResult, option: str) -> list[str]:
    """What is to be said where a task has too few questions, and the option that asks more."""
    fewest = min(task.questions for task in result.tasks.values())
    if fewest >= FEW:
        return []
    what = "1 question" if fewest == 1 else f"{fewest} questions"
    return [
        f"{what} per task are too few: the intervals are wide, and a change of ten points would not "
        f"show; ask at least {FEW} ({option} {FEW})"
    ]


def _chosen(items: Sequence[Item], results: Sequence[EvalResult]) -> list[int]:
    """Places of the items to show, in the order of the suite, no task twice before all have one."""
    judged = [tuple(result.records[n].correct for result in results) for n in range(len(items))]
    changed = [n for n, verdicts in enumerate(judged) if len(set(verdicts)) > 1]
    wrong = [n for n, verdicts in enumerate(judged) if not any(verdicts)]
    right = [n for n, verdicts in enumerate(judged) if all(verdicts)]
    share = MOST // 3
    first = [*_spread(items, changed)[:share], *_spread(items, wrong)[:share]]
    rest = [n for n in _spread(items, [*right, *changed, *wrong]) if n not in first]
    return [*first, *rest][:MOST]


def _spread(items: Sequence[Item], places: Sequence[int]) -> list[int]:
    """The places with one of each task first, then the second of each, and so on."""
    seen: dict[str, int] = {}
    ranks = []
    for n in places:
        task = items[n].task
        seen[task] = seen.get(task, 0) + 1
        ranks.append((seen[task], n))
    return [n for _, n in sorted(ranks, key=lambda rank: rank[0])]


def _picture(item: Item) -> str:
    if item.picture is None:
        return ""
    try:
        return thumbnail(item.picture.load(SIDE))
    except InputError:  # a file that has gone since it was asked about: the answers count all the same
        return ""
