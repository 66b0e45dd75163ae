"""Examines a checkpoint on what the third round is about: scenes in view, absent things, real photographs.

python -m recipes.nano.photographs photos --test
python -m recipes.nano.examine phantom_edge/nano --photographs photos [--samples 250] [--more PICTURE…]

The photographs are those that it did not learn from; other pictures of none of its things may follow --more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from phantom_edge.crop import Crop
from phantom_edge.errors import PhantomEdgeError
from phantom_edge.evaluate.items import Item, Picture, Record, Suite
from phantom_edge.evaluate.job import evaluate_models
from phantom_edge.evaluate.scene_conditions import condition_suite
from phantom_edge.evaluate.scene_tasks import scene_suite
from phantom_edge.images import load_image
from phantom_edge.runtime.confidence import LEAST_CONFIDENCE
from phantom_edge.scenes.further import NOTHING
from recipes.nano.photographs import read_photographs

CONDITIONS = ("margin", "small", "texture", "paper", "screen")
QUESTIONS = (
    "What is this?",
    "Describe the image.",
    "What colour is this?",
    "What colour is the largest object?",
    "What does the sign say?",
    "What does the gauge show?",
    "Which way does the arrow point?",
    "How many objects are there?",
)
PINS = ((0.5, 0.5), (0.25, 0.3), (0.75, 0.3), (0.3, 0.75), (0.7, 0.7))


def refuses(reply: str) -> bool:
    """Whether a reply says that nothing known is there."""
    return reply in (NOTHING, "0", "no") or reply.startswith("there is no ")


def photograph_suite(pictures: Sequence[Image.Image]) -> Suite:
    """Every question on each picture's largest square and on what five pins cut out of it."""
    items = []
    for number, picture in enumerate(pictures):
        size = picture.size
        crops = {"whole": Crop.around(0.5, 0.5, 1.0, width=size[0], height=size[1])} | {
            f"pin {n}": Crop.around(x, y, width=size[0], height=size[1]) for n, (x, y) in enumerate(PINS)
        }
        for name, crop in crops.items():
            shown = Picture(f"{number}/{name}", partial(_shown, picture, crop))
            items += [
                Item(f"{number}/{name}/{n}", "photographs", question, NOTHING, refuses, shown, 24)
                for n, question in enumerate(QUESTIONS)
            ]
    return Suite("photographs", tuple(items), "refused, or said with less than half the likelihood")


def _shown(picture: Image.Image, crop: Crop, size: int) -> Image.Image:
    return crop.of(picture).resize((size, size), Image.Resampling.BICUBIC)


def is_unsure(record: Record) -> bool:
    """Whether an app would say "not sure" instead of the reply."""
    return record.confidence is not None and record.confidence < LEAST_CONFIDENCE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.nano.examine", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--samples", type=int, default=250)
    arguments = parser.parse_args()
    try:
        examine(arguments.checkpoint, arguments.photographs, arguments.more, arguments.samples)
    except PhantomEdgeError as error:
        sys.exit(f"error: {error}")


def examine(checkpoint: Path, folder: Path, more: Sequence[Path], samples: int) -> None:
    """Print accuracies in percent, a row each."""
    photographs = read_photographs(folder)
    ask = partial(condition_suite, samples=samples, photographs=photographs)
    suites = {
        "usual tasks": scene_suite(samples=samples),
        "conditions": ask(CONDITIONS),
        "pins": ask(["crop"]),
        "things that are absent": ask(["plain", *CONDITIONS, "crop"], ["absent"]),
        "pictures of nothing": ask(["nothing"]),
        "photographs": photograph_suite([*photographs, *(load_image(path) for path in more)]),
    }
    for name, suite in suites.items():
        (result,) = evaluate_models([checkpoint], suite)
        for task, score in result.tasks.items():
            print(f"{name:24} {task:12} {score.percent:6.1f}   of {score.questions}")
        right = [record.correct for record in result.records]
        unsure = [record.correct or is_unsure(record) for record in result.records]
        print(
            f"{name:24} {'all':12} {_percent(right):6.1f}   right or unsure {_percent(unsure):5.1f}",
            flush=True,
        )


def _percent(values: Sequence[bool]) -> float:
    return 100 * sum(values) / len(values)


if __name__ == "__main__":
    main()
