"""Batches of scenes with their questions for Phantom-Nano: made by number, so any can be made again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from phantom_edge.scenes import Scene, Triple, make_scene
from phantom_edge.scenes.in_view import SceneInView, make_view
from phantom_edge.text.packing import Packed, Packer, Segment
from recipes.nano.dense import DenseTargets, dense_targets

CHAINED = 0.15  # share of scenes whose questions are turns of one conversation


@dataclass(frozen=True)
class SceneBatch:
    """B scenes: pixels uint8 [B, S, S, 3], their questions packed, the task of each answer, dense targets.

    With ``pairs`` the segments come in twos: a right answer, then its wrong counterpart.
    """

    pixels: torch.Tensor
    packed: Packed
    tasks: tuple[str, ...]
    dense: DenseTargets

    def tiles(self) -> torch.Tensor:
        """Pixels [B, 3, S, S] in 0..1, as the model takes them."""
        return self.pixels.permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Mixture:
    """What a stage trains on: split, scenes per batch, how many questions of a scene, and in which form.

    ``questions`` 0 gives pictures only. ``pairs`` adds to each right answer its wrong counterpart.
    """

    packer: Packer
    image_size: int
    grid: int
    split: str = "train"
    batch: int = 32
    questions: int = 8
    tokens: int = 150
    pairs: bool = False
    seed: int = 0
    kinds: Mapping[str, float] | None = None  # shares of the kinds of scene; None: those of every split
    conditions: Mapping[str, float] | None = None  # shares of the conditions; None: the usual scenes
    photographs: tuple[Image.Image, ...] = ()  # for backgrounds

    def make(self, step: int) -> SceneBatch:
        """The batch of one step; the same for the same arguments, whatever was made before."""
        numbers = range(step * self.batch, (step + 1) * self.batch)
        scenes = [self._scene(number) for number in numbers]
        pixels = np.stack([self._pixels(scene) for scene in scenes])
        dense = dense_targets([scene.parts for scene in scenes], self.grid)
        packed, tasks = self._questions(scenes, step)
        return SceneBatch(torch.from_numpy(pixels), packed, tasks, dense)

    def _scene(self, number: int) -> Scene | SceneInView:
        """A scene with the usual questions alone (condition "usual"), or one in view with all of them."""
        if not self.conditions:
            return make_scene(self.split, number, self.seed, self.kinds)
        rng = random.Random(f"{self.seed}/{self.split}/{number}/condition")
        condition = rng.choices(list(self.conditions), weights=list(self.conditions.values()))[0]
        if condition == "usual":
            return make_scene(self.split, number, self.seed, self.kinds)
        return make_view(self.split, number, condition, self.seed, self.kinds)

    def _pixels(self, scene: Scene | SceneInView) -> np.ndarray:
        """RGB [S, S, 3], uint8."""
        if isinstance(scene, SceneInView):
            return np.asarray(scene.render(self.image_size, self.photographs))
        return np.asarray(scene.render(self.image_size))

    def _questions(self, scenes: Sequence[Scene | SceneInView], step: int) -> tuple[Packed, tuple[str, ...]]:
        rng = random.Random(f"{self.seed}/{self.split}/{step}")
        prefix = self.packer.prefix(1)
        groups, chained, tasks = [], [], []
        for scene in scenes:
            chain = not self.pairs and rng.random() < CHAINED
            segments: list[Segment] = []
            names: list[str] = []
            for triple in self._choose(scene, rng):
                segments += self._segments(triple, further=chain and bool(segments))
                names += [triple.task] * (2 if self.pairs else 1)
            groups.append(segments)
            chained.append(chain)
            tasks += names
        return self.packer.pack([prefix] * len(scenes), groups, chained), tuple(tasks)

    def _choose(self, scene: Scene | SceneInView, rng: random.Random) -> list[Triple]:
        """A few questions of a scene, tasks in turn, so that frequent ones do not crowd out the others."""
        by_task: dict[str, list[Triple]] = {}
        for triple in scene.triples():
            by_task.setdefault(triple.task, []).append(triple)
        queues = list(by_task.values())
        for queue in queues:
            rng.shuffle(queue)
        chosen: list[Triple] = []
        spent = 0
        while queues and len(chosen) < self.questions:
            rng.shuffle(queues)
            for queue in queues:
                triple = queue.pop()
                cost = len(self.packer.segment(triple.question, triple.answer)) * (2 if self.pairs else 1)
                if len(chosen) < self.questions and (not chosen or spent + cost <= self.tokens):
                    chosen.append(triple)
                    spent += cost
            queues = [queue for queue in queues if queue]
        rng.shuffle(chosen)
        return chosen

    def _segments(self, triple: Triple, further: bool) -> list[Segment]:
        if further:
            return [self.packer.next_segment(triple.question, triple.answer)]
        answers = [triple.answer, triple.wrong] if self.pairs else [triple.answer]
        return [self.packer.segment(triple.question, answer) for answer in answers]


class _Steps(torch.utils.data.Dataset[SceneBatch]):
    def __init__(self, mixture: Mixture, steps: range):
        self._mixture, self._steps = mixture, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, i: int) -> SceneBatch:
        torch.set_num_threads(1)
        return self._mixture.make(self._steps[i])


def batches(mixture: Mixture, steps: range, workers: int = 1) -> Iterator[SceneBatch]:
    """The batches of ``steps`` in order, drawn by worker processes while the model trains."""
    return iter(
        torch.utils.data.DataLoader(
            _Steps(mixture, steps),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
    )
