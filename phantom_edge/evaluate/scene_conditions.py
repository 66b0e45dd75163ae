"""The scene tasks under conditions: on papers and screens, before textures, cut out around a pin, of nothing.

Each condition is a row of the report, as each task is without; its questions are of all tasks in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Picture, Suite
from phantom_edge.evaluate.scene_choices import choices_of
from phantom_edge.evaluate.scene_tasks import MAX_TOKENS, MAX_TOKENS_OF, PATIENCE, SAMPLES, SPLIT

if TYPE_CHECKING:
    from PIL.Image import Image

    from phantom_edge.scenes import Triple
    from phantom_edge.scenes.in_view import SceneInView

ALL = "all"


def condition_suite(
    conditions: Sequence[str],
    tasks: Sequence[str] = (),
    *,
    samples: int = SAMPLES,
    split: str = SPLIT,
    photographs: Sequence[Image] = (),
) -> Suite:
    """``samples`` questions under each condition ("all" for every one), one of a scene, of ``tasks`` alone.

    Backgrounds are made, or come from ``photographs`` where there are any. Raises :class:`InputError`: an
    unknown condition, task or split, or a task that a condition does not have.

    >>> counts = Counter(item.task for item in condition_suite(["paper", "nothing"], samples=3).items)
    >>> dict(counts)
    {'paper': 3, 'nothing': 3}
    """
    from phantom_edge.scenes.parts import FURTHER_TASKS, TASKS
    from phantom_edge.scenes.view import CONDITIONS

    names = CONDITIONS if ALL in conditions else tuple(dict.fromkeys(conditions))
    if unknown := [task for task in tasks if task not in (*TASKS, *FURTHER_TASKS)]:
        raise InputError(f"unknown task {unknown[0]!r}; there are {', '.join((*TASKS, *FURTHER_TASKS))}")
    if samples < 1:
        raise InputError(f"--samples is {samples}; ask at least one question per condition")
    items = [item for name in names for item in _items(name, tasks, samples, split, photographs)]
    return Suite(f"scenes in view, {split} split", tuple(items), "the scenes' own rule of each task")


def _items(
    condition: str, tasks: Sequence[str], samples: int, split: str, photographs: Sequence[Image]
) -> list[Item]:
    """The questions under one condition, each on a scene of its own."""
    from phantom_edge.scenes.in_view import make_view

    times: Counter[str] = Counter()
    items: list[Item] = []
    for index in range(PATIENCE * samples):
        scene = make_view(split, index, condition)
        triples = [triple for triple in scene.triples() if not tasks or triple.task in tasks]
        if triples:
            triple = min(triples, key=lambda triple: times[triple.task])
            times[triple.task] += 1
            items.append(_item(scene, triple, condition, photographs))
        if len(items) == samples:
            return items
    raise InputError(f"scenes under '{condition}' hold too few questions of --tasks {', '.join(tasks)}")


def _item(scene: SceneInView, triple: Triple, condition: str, photographs: Sequence[Image]) -> Item:
    from phantom_edge.scenes import correct

    place = f"{condition}/{scene.scene.split}/{scene.scene.index}"
    task, answer = triple.task, triple.answer
    return Item(
        id=f"{place}/{task}",
        task=condition,
        question=triple.question,
        answer=answer,
        judge=partial(correct, task, answer),
        picture=Picture(f"scene {place}", partial(scene.render, photographs=photographs)),
        max_tokens=MAX_TOKENS_OF.get(task, MAX_TOKENS),
        choices=choices_of(task, triple.question),
    )
