"""A test card: scenes with their questions to print, or to open on a second screen, and point a camera at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as counted
from typing import Final

from phantom_edge.errors import InputError
from phantom_edge.scenes.layout import KINDS
from phantom_edge.scenes.parts import TASKS, Triple
from phantom_edge.scenes.scene import Scene, make_scene

DEFAULT_SPLIT, DEFAULT_SCENES, MOST_SCENES = "test", 6, 60
QUESTIONS = 2
"""On each picture, at most."""
READ: Final = ("sign", "digits", "gauge", "arrow")
"""Tasks that ask what a device shows, where there is one."""
UNCHECKED: Final = ("caption",)
"""Tasks whose answers are too long to be compared at a glance."""


@dataclass(frozen=True)
class Entry:
    """One picture of a card, numbered from 1, with the questions that are printed beneath it."""

    number: int
    scene: Scene
    triples: tuple[Triple, ...]


@dataclass(frozen=True)
class Card:
    """What a card shows; the same split, seed and number of scenes always give the same."""

    split: str
    seed: int
    entries: tuple[Entry, ...]

    @property
    def origin(self) -> str:
        """The command that makes this card, for its foot."""
        options = f"--split {self.split} --count {len(self.entries)} --seed {self.seed}"
        return f"phantom-edge scenes --print {options}"


def make_card(split: str = DEFAULT_SPLIT, count: int = DEFAULT_SCENES, seed: int = 0) -> Card:
    """Scenes of different kinds in turn, and of each the questions of tasks that the card has least of.

    Raises:
        InputError: an unknown split, or a count that no card has.

    >>> from phantom_edge.scenes.card import make_card
    >>> [entry.scene.kind for entry in make_card().entries][:3]
    ['objects', 'sign', 'display']
    """
    if not 1 <= count <= MOST_SCENES:
        raise InputError(f"a card of {count} scenes: give a count of 1 to {MOST_SCENES}")
    uses = dict.fromkeys(TASKS, 0)
    entries = []
    for number, scene in zip(range(1, count + 1), _in_turn(split, seed), strict=False):
        triples = _chosen(scene.triples(), uses)
        entries.append(Entry(number, scene, triples))
    return Card(split, seed, tuple(entries))


def _in_turn(split: str, seed: int) -> Iterator[Scene]:
    """Scenes of a split, one of every kind after the other; those between are left out."""
    waiting: dict[str, list[Scene]] = {kind: [] for kind in KINDS}
    indices = counted()
    while True:
        for scenes in waiting.values():
            while not scenes:
                scene = make_scene(split, next(indices), seed)
                waiting[scene.kind].append(scene)
            yield scenes.pop(0)


def _chosen(triples: Sequence[Triple], uses: dict[str, int]) -> tuple[Triple, ...]:
    """Questions of different tasks: what a device shows, then the least used; counts them in ``uses``."""

    def rank(triple: Triple) -> tuple[bool, int, int]:
        return triple.task not in READ, uses[triple.task], TASKS.index(triple.task)

    by_task: dict[str, Triple] = {}
    for triple in sorted(triples, key=rank):
        if triple.task not in UNCHECKED:
            by_task.setdefault(triple.task, triple)
    chosen = tuple(by_task.values())[:QUESTIONS]
    for triple in chosen:
        uses[triple.task] += 1
    return chosen
