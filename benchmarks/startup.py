"""From the start of the process to the first token of an answer, and which packages the time goes to.

    python -m benchmarks.startup nano-desktop photo.jpg --python box/bin/python

``--python`` is the interpreter of another environment, for example one with ``phantom-edge-box`` alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from phantom_edge.bench.machine import watched

QUESTION = "Describe the image."
SHOWN = 12  # packages


def first_byte(command: list[str]) -> float:
    """Seconds until a process writes the first byte of its answer; it is then left to end."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if not first or process.returncode:
        raise SystemExit(f"{' '.join(command)}: no answer, exit code {process.returncode}")
    return seconds


def by_package(lines: str) -> Counter[str]:
    """Seconds that Python's ``-X importtime`` gives to each package's own modules."""
    seconds: Counter[str] = Counter()
    for own, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", lines, re.MULTILINE):
        package = name.partition(".")[0]
        seconds["standard library" if package in sys.stdlib_module_names else package] += int(own) / 1e6
    return seconds


def main(
    bundle: Annotated[Path, typer.Argument(help="a bundle for ONNX Runtime")],
    picture: Annotated[Path, typer.Argument(help="a picture to ask about")],
    python: Annotated[str, typer.Option(help="interpreter")] = sys.executable,
    runs: int = 10,
) -> None:
    """Print medians over fresh processes after one that warms the disk's cache, and imports by package."""
    program = ["-m", "phantom_edge"]
    run = [*program, "run", "-m", str(bundle), "-i", str(picture), "-p", QUESTION, "--max-tokens", "8"]
    for name, arguments in (("--help", [*program, "--help"]), ("first token of `run`", run)):
        first_byte([python, *arguments])
        with watched() as usage:
            times = [first_byte([python, *arguments]) for _ in range(runs)]
        line = f"{name:<22}{median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
        typer.echo(f"{line}{', while other processes used the machine' if usage.noisy else ''}")
    done = subprocess.run([python, "-X", "importtime", *run], capture_output=True, text=True, check=True)
    seconds = by_package(done.stderr)
    typer.echo(f"\nimports, {sum(seconds.values()):.2f} s with their times taken")
    for package, own in seconds.most_common(SHOWN):
        typer.echo(f"{package:<22}{own:.3f} s")


if __name__ == "__main__":
    typer.run(main)
