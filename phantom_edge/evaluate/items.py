"""Questions: items with pictures and judges, the suite they belong to, and an even choice of fewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phantom_edge.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Record:
    """One question and what became of it; ``stop`` as in :class:`~phantom_edge.runtime.answer.Timing`.

    ``confidence`` is the model's own probability of the reply, None for one that is long or cut; of a reply
    that was ``chosen`` from a list, its probability among the choices.
    A question that does not fit the context, or holds a prompt marker, is wrong; ``error`` says why.
    """

    id: str
    task: str
    picture: str
    question: str
    answer: str
    reply: str
    correct: bool
    tokens: int = 0
    stop: str = ""
    error: str = ""
    confidence: float | None = None
    chosen: bool = False


Measures = Callable[[Sequence[Record]], dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Picture:
    """One picture: items with equal ``key`` share it. ``load`` takes the model's tile size in pixels.

    Only a drawn picture cares for the size; one that was read keeps its own.
    """

    key: str
    load: Callable[[int], Image] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Item:
    """One question: ``question`` is the whole user turn, ``answer`` is for people, ``judge`` decides.

    ``max_tokens`` caps the reply. ``choices`` are all replies that it allows, where these can be listed.
    """

    id: str
    task: str
    question: str
    answer: str
    judge: Callable[[str], bool] = field(compare=False, repr=False)
    picture: Picture | None = None
    max_tokens: int = 64
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Items that belong together; ``scoring`` is for people, ``measures`` gives more than accuracy."""

    name: str
    items: tuple[Item, ...]
    scoring: str
    measures: Measures = field(default=lambda records: {}, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError(f"{self.name}: no question to ask; choose other --tasks or other data")
        if twice := [name for name, n in Counter(item.id for item in self.items).items() if n > 1]:
            raise InputError(f"{self.name}: question {twice[0]!r} is there twice; mend the data")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks in order of appearance."""
        return tuple(dict.fromkeys(item.task for item in self.items))

    def only(self, tasks: Sequence[str]) -> Suite:
        """The items of some tasks. Raises :class:`InputError` for a task that is not here."""
        if unknown := [task for task in tasks if task not in self.tasks]:
            raise InputError(f"{self.name} has no task {unknown[0]!r}; there are {', '.join(self.tasks)}")
        return replace(self, items=tuple(item for item in self.items if item.task in tasks))

    def fewer(self, *, per_task: int | None = None, total: int | None = None) -> Suite:
        """At most so many items per task and in all, the same ones every time.

        Tasks get equal shares where they have the items for it; within a task the chosen ones lie evenly over
        it, because benchmark files are often sorted.
        """
        counts = Counter(item.task for item in self.items)
        shares = {task: n if per_task is None else min(n, per_task) for task, n in counts.items()}
        if total is not None:
            shares = _shares(shares, total)
        chosen = {task: {k * counts[task] // share for k in range(share)} for task, share in shares.items()}
        seen: Counter[str] = Counter()
        items = []
        for item in self.items:
            if seen[item.task] in chosen[item.task]:
                items.append(item)
            seen[item.task] += 1
        return replace(self, items=tuple(items))

    def capped(self, max_tokens: int) -> Suite:
        """The same items with another cap on the reply."""
        return replace(self, items=tuple(replace(item, max_tokens=max_tokens) for item in self.items))


def _shares(available: dict[str, int], total: int) -> dict[str, int]:
    """``total`` handed out one at a time, task after task, as long as a task has more."""
    shares = dict.fromkeys(available, 0)
    while total > 0 and (open_tasks := [task for task in shares if shares[task] < available[task]]):
        for task in open_tasks[:total]:
            shares[task] += 1
        total -= len(open_tasks)
    return shares
