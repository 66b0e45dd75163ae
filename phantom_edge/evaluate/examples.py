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
    """Places of the items to show: changed ones first, then wrong ones, then the rest."""
    judged = [tuple(result.records[n].correct for result in results) for n in range(len(items))]
    changed = [n for n, verdicts in enumerate(judged) if len(set(verdicts)) > 1]
    wrong = [n for n, verdicts in enumerate(judged) if not any(verdicts)]
    right = [n for n, verdicts in enumerate(judged) if all(verdicts)]
    share = MOST // 3
    first = [*_spread(items, changed, share), *_spread(items, wrong, share)]
    for others in (right, changed, wrong):
        rest = [n for n in others if n not in first]
        first += _spread(items, rest, MOST - len(first))
    return first


def _spread(items: Sequence[Item], places: Sequence[int], most: int) -> list[int]:
    """At most so many of the places, task after task, on other pictures as long as there are any."""
    tasks: dict[str, list[int]] = {}
    for n in places:
        tasks.setdefault(items[n].task, []).append(n)
    chosen: list[int] = []
    pictures: set[str] = set()
    while len(chosen) < most and any(tasks.values()):
        for rest in filter(None, tasks.values()):
            n = next((n for n in rest if _key(items[n]) not in pictures), rest[0])
            rest.remove(n)
            pictures.add(_key(items[n]))
            chosen.append(n)
    return chosen[:most]


def _key(item: Item) -> str:
    return item.id if item.picture is None else item.picture.key


def _picture(item: Item) -> str:
    if item.picture is None:
        return ""
    try:
        return thumbnail(item.picture.load(SIDE))
    except InputError:  # a file that has gone since it was asked about: the answers count all the same
        return ""
