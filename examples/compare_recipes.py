"""Export with two recipes and compare size, answers and speed of the two bundles.

python examples/compare_recipes.py int4 int8 --output compared
"""

from __future__ import annotations

import argparse
from pathlib import Path

import phantom_edge as pe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs=2, help="presets or TOML files")
    parser.add_argument("--model", help="folder or Hugging Face id; default: the embedded Phantom-Nano")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=20, help="questions per task")
    arguments = parser.parse_args()

    bundles = []
    for recipe in arguments.recipes:
        folder = arguments.output / Path(recipe).stem
        request = pe.ExportRequest(
            target="desktop", model=arguments.model, quantize=pe.QuantizeOptions(recipe), output=folder
        )
        bundles.append(pe.export(request).bundle)

    suite = pe.build_suite(tasks=["colour", "shape", "count"], samples=arguments.samples)
    first, second = pe.evaluate_models([bundle.folder for bundle in bundles], suite)
    speed = pe.bench(
        [bundle.folder for bundle in bundles], settings=pe.BenchSettings(processes=1, repeats=2, steps=8)
    )
    for bundle, answers, run in zip(bundles, (first, second), speed.runs, strict=True):
        print(
            f"{bundle.folder.name}: {bundle.bytes / 1e6:.1f} MB, {answers.overall.percent:.1f} % right, "
            f"{run.value('decode@0'):.0f} tokens/s"
        )
    change, _ = second.changes_from(first)  # both were asked the same questions
    print(f"{second.model} against {first.model}: {change} points")


if __name__ == "__main__":
    main()
