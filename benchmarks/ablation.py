"""What Phantom Optimization and the phantom dimension buy, on a model small enough to train many times.

    python -m benchmarks.ablation DIR --seeds 3 --json ablation.json

Every seed trains two models from nothing, with and without the phantom dimension, on the stages of Nano's
recipe at a smaller size; from each, two go on for the same number of steps: with L_PO and then supervised, or
supervised only. All are scored on the same held-out scenes. The state of each stays in DIR, so that a
stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from recipes.nano.form import SIZES
from recipes.nano.train import RECIPE, NanoTraining, Stage

SMALL = replace(
    SIZES, hidden=128, ffn=320, layers=3, heads=4, kv_heads=2, vision_hidden=128, vision_ffn=384,
    vision_layers=4,
    vision_heads=2, image_size=128,
)  # fmt: skip
TEST_BATCHES = 40  # of 32 scenes


def trunk(scale: float) -> tuple[Stage, ...]:
    """The stages that both branches share."""
    see, answer = RECIPE[:2]
    return replace(see, steps=round(700 * scale)), replace(answer, steps=round(1200 * scale))


def branches(scale: float) -> dict[str, tuple[Stage, ...]]:
    """Two ways to go on, of as many steps."""
    prefer, settle = RECIPE[2:4]
    first, second = round(120 * scale), round(200 * scale)
    return {
        "sft + po": (replace(prefer, steps=first), replace(settle, steps=second)),
        "sft": (replace(settle, name="sft", steps=first + second),),
    }


def run(folder: Path, seed: int, phantom: bool, scale: float) -> dict[str, dict[str, float]]:
    """Accuracy per task of both branches of one trunk."""
    root = folder / f"seed{seed}-{'phantom' if phantom else 'plain'}"
    shared = NanoTraining(root / "trunk", trunk(scale), seed=seed, phantom=phantom, sizes=SMALL)
    shared.run()
    out = {}
    for name, stages in branches(scale).items():
        place, stages = root / name.replace(" + ", "-"), (*trunk(scale), *stages)
        training = NanoTraining(place, stages, seed=seed, phantom=phantom, sizes=SMALL)
        training.go_on_from(shared)
        training.run()
        out[name] = training.accuracy(TEST_BATCHES, "test")
    return out


def summary(results: dict[str, dict[str, dict[str, float]]]) -> list[tuple[str, float, float]]:
    """Mean over tasks, then mean and standard deviation over seeds, in percent, of each variant."""
    by_variant: dict[str, list[float]] = {}
    for key, ways in results.items():
        for way, tasks in ways.items():
            variant = f"{key.split('/')[1]}, {way}"
            by_variant.setdefault(variant, []).append(100 * statistics.mean(tasks.values()))
    return [
        (variant, statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for variant, values in by_variant.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="factor on every stage's steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=Path("ablation.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for seed in arguments.seeds:
        for phantom in (True, False):
            key = f"{seed}/{'with phantom' if phantom else 'without phantom'}"
            results[key] = run(arguments.folder, seed, phantom, arguments.scale)
            print(key, results[key], flush=True)
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    for variant, mean, deviation in summary(results):
        print(f"{variant:28} {mean:5.1f} ± {deviation:.1f} %")


if __name__ == "__main__":
    main()
