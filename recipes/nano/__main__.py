"""Makes Phantom-Nano from nothing, on a CPU: some hours on two quiet cores.

python -m recipes.nano DIR        # the same command again goes on where it was stopped
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from phantom_edge.errors import PhantomEdgeError
from phantom_edge.training.progress import TrainingProgress
from recipes.nano.photographs import read_photographs
from recipes.nano.train import RECIPE, NanoTraining

EVERY = 50  # steps between two lines


def show(event: TrainingProgress) -> None:
    """A line for the first and every fiftieth step."""
    if event.done % EVERY == 1:
        print(event, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.nano", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the checkpoint; the state is in FOLDER.partial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-phantom", action="store_true", help="leave the phantom dimension out")
    parser.add_argument("--start", type=Path, help="a checkpoint with two rounds behind it: the third alone")
    parser.add_argument("--photographs", type=Path, help="a folder that recipes.nano.photographs made")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on every stage's steps")
    arguments = parser.parse_args()
    stages = [replace(stage, steps=max(1, round(stage.steps * arguments.scale))) for stage in RECIPE]
    try:
        training = NanoTraining(
            arguments.folder,
            stages,
            seed=arguments.seed,
            phantom=not arguments.without_phantom,
            start=arguments.start,
            photographs=read_photographs(arguments.photographs) if arguments.photographs else (),
            progress=show,
        )
        print(training.make()["accuracy"])
    except PhantomEdgeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last state, if there is one")


if __name__ == "__main__":
    main()
