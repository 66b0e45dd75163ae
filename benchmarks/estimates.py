"""How good `estimate --device local` is on this machine, and how well `bench --device local` repeats itself.

python -m benchmarks.estimates BUNDLE... --docs docs/benchmarking.md

Each bundle is estimated once and measured in several rounds; the table goes between the marks in the page. On
a machine that others use nothing is written: timings of a busy machine say nothing. ``--clock processor``
counts the processor time of one thread instead, which others take nothing of (but they still crowd caches and
memory); the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from phantom_edge.bench import machine
from phantom_edge.bench.devices import bench
from phantom_edge.bench.estimate.predict import LOCAL_BAND, estimate
from phantom_edge.bench.estimate.workload import Workload
from phantom_edge.bench.results import Run, metric
from phantom_edge.bench.settings import Settings
from phantom_edge.bench.view import number
from phantom_edge.errors import CheckError, InputError, PhantomEdgeError

BEGIN, END = "<!-- estimates: begin -->", "<!-- estimates: end -->"
REPEATABLE = 0.05  # of its own median: what a measurement on a quiet machine must repeat within
NOT_A_TIME = ("bundle", "drift", "energy", "libraries")


@dataclass(frozen=True)
class Line:
    """One row of one bundle: estimated and measured, and the furthest that a round's median lies from their
    median.
    """

    bundle: str
    key: str
    estimated: float | None
    rounds: tuple[float, ...]

    @property
    def measured(self) -> float:
        return median(self.rounds)

    @property
    def error(self) -> float | None:
        """Of the estimate, as a share of what was measured."""
        return None if self.estimated is None else self.estimated / self.measured - 1

    @property
    def wander(self) -> float:
        """Of the rounds."""
        return max(abs(value / self.measured - 1) for value in self.rounds)


def lines(name: str, predicted: Run, rounds: Sequence[Run]) -> list[Line]:
    """Every row that all rounds measured."""
    keys = [key for key in rounds[0].keys if key not in NOT_A_TIME and all(r.value(key) for r in rounds)]
    return [Line(name, key, predicted.value(key), tuple(r.value(key) for r in rounds)) for key in keys]


def table(found: Sequence[Line], facts: dict[str, object], noisy: bool) -> str:
    """The page's table, with the machine, the worst error and the worst wander."""
    errors = [abs(line.error) for line in found if line.error is not None]
    said = ", ".join(f"{name} {value}" for name, value in facts.items())
    rows = ["| bundle | row | estimated | measured | error | rounds within |", "|---|---|--:|--:|--:|--:|"]
    for line in found:
        row = metric(line.key)
        guess = "-" if line.estimated is None else number(line.estimated / row.divide)
        error = "-" if line.error is None else f"{line.error:+.0%}"
        cells = (
            line.bundle,
            f"{row.title.strip()}, {row.unit}",
            guess,
            number(line.measured / row.divide),
            error,
        )
        rows.append("| " + " | ".join((*cells, f"{line.wander:.1%}")) + " |")
    worst, wander = max(errors, default=0.0), max(line.wander for line in found)
    verdict = f"Largest error {worst:.0%} (aim {LOCAL_BAND:.0%}); "
    verdict += f"rounds repeat within {wander:.1%} (aim {REPEATABLE:.0%})."
    warning = "\n\n**Noisy: other processes used the machine; these numbers say nothing.**" if noisy else ""
    return f"{datetime.now(UTC):%Y-%m-%d}: {said}.{warning}\n\n" + "\n".join(rows) + f"\n\n{verdict}"


def written(page: str, text: str) -> str:
    """The page with ``text`` between its marks. Raises :class:`InputError` when it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the page has no {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def main(
    bundles: Annotated[list[Path], typer.Argument(help="ONNX and ExecuTorch bundles of true size.")],
    docs: Annotated[Path | None, typer.Option(help="Page to write the table into.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Measurements per bundle.")] = 3,
    threads: Annotated[int | None, typer.Option(help="Of the runtimes.")] = None,
    processes: Annotated[int, typer.Option(help="Per round.")] = 3,
    repeats: Annotated[int, typer.Option(help="Prompts per process.")] = 5,
    steps: Annotated[int, typer.Option(help="Generated tokens per depth and process.")] = 32,
    clock: Annotated[str, typer.Option(help="wall, or processor with --threads 1.")] = "wall",
) -> None:
    """Estimate and measure, compare, and write the table."""
    found: list[Line] = []
    noisy = False
    try:
        settings = Settings(processes, repeats, steps=steps, threads=threads, clock=clock)
        for bundle in bundles:
            predicted = estimate(Workload.of_bundle(bundle), "local", threads=threads, clock=clock, step=_say)
            measured = []
            for n in range(rounds):
                measured += bench(
                    [bundle], settings=settings, step=lambda t, n=n: _say(f"round {n + 1}: {t}")
                ).runs
            if clock == "wall":
                noisy |= (predicted.conditions["others"] or 0) > machine.NOISY_SHARE
                noisy |= any(run.conditions["noisy"] for run in measured)
            found += lines(bundle.resolve().name, predicted, measured)
        how = {
            "threads": threads or machine.cores(),
            "clock": clock,
            "rounds": rounds,
            "processes each": processes,
        }
        text = table(found, machine.describe() | how, noisy)
        print(text)
        if docs is not None:
            if noisy:
                raise CheckError(
                    f"{docs} was not changed: other processes used the machine; run this when it is quiet"
                )
            docs.write_text(written(docs.read_text(encoding="utf-8"), text), encoding="utf-8")
    except PhantomEdgeError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(error.exit_code) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
