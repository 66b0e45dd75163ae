"""The scene tasks: questions on drawn scenes that no training has seen, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Picture, Suite
from phantom_edge.evaluate.scene_choices import choices_of

if TYPE_CHECKING:
    from phantom_edge.scenes import Scene

SAMPLES = 50
SPLIT = "test"
MAX_TOKENS = 24
MAX_TOKENS_OF = {"caption": 64}
"""Caps on replies, beyond the longest answers, so that a rambling reply is not cut to a right one."""
PATIENCE = 200
"""Scenes drawn per question before a task counts as one that the scenes do not have."""


def scene_suite(tasks: Sequence[str] = (), *, samples: int = SAMPLES, split: str = SPLIT) -> Suite:
    """``samples`` questions of each task (all of them if none is named), from the first scenes that hold it.

    A scene gives at most one question per task, its first: a task's questions are on as many pictures.

    Raises :class:`InputError`: an unknown task or split, or fewer than one question per task.
    """
    from phantom_edge.scenes import SPLITS, TASKS, make_scene

    tasks = tuple(dict.fromkeys(tasks)) or TASKS
    if unknown := [task for task in tasks if task not in TASKS]:
        raise InputError(f"unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if samples < 1:
        raise InputError(f"--samples is {samples}; ask at least one question per task")
    open_tasks = dict.fromkeys(tasks, samples)  # questions still to come
    items: list[Item] = []
    for index in range(PATIENCE * samples):
        for item in _items(make_scene(split, index), open_tasks):
            open_tasks[item.task] -= 1
            items.append(item)
        if not any(open_tasks.values()):
            break
    else:
        short = [task for task, n in open_tasks.items() if n]
        raise InputError(f"the first {PATIENCE * samples} scenes hold too few questions of task {short[0]!r}")
    items.sort(key=lambda item: tasks.index(item.task))  # keeps the order of scenes within a task
    return Suite(f"scenes, {split} split", tuple(items), "the scenes' own rule of each task")


def _items(scene: Scene, open_tasks: dict[str, int]) -> list[Item]:
    """The first question of each task that still needs some."""
    from phantom_edge.scenes import correct

    place = f"{scene.split}/{scene.index}"
    items: dict[str, Item] = {}
    for triple in scene.triples():
        task, answer = triple.task, triple.answer
        if open_tasks.get(task) and task not in items:
            items[task] = Item(
                id=f"{place}/{task}",
                task=task,
                question=triple.question,
                answer=answer,
                judge=partial(correct, task, answer),
                picture=Picture(f"scene {place}", scene.render),
                max_tokens=MAX_TOKENS_OF.get(task, MAX_TOKENS),
                choices=choices_of(task, triple.question),
            )
    return list(items.values())
