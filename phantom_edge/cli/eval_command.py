"""``phantom-edge eval``: accuracy of a checkpoint or a bundle, alone or against others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command
from phantom_edge.cli.ending import after_eval
from phantom_edge.cli.options import MAX_TOKENS, Cache, Html, Json, Revision, within
from phantom_edge.cli.printing import check_page, deliver, echo_json, print_report
from phantom_edge.system import interrupts

if TYPE_CHECKING:
    from phantom_edge.evaluate.job import Watch

MAX_QUESTIONS = 1_000_000


@app.command(
    "eval",
    epilog="Examples: phantom-edge eval -m nano-ios --against phantom-nano --tasks colour,count --samples "
    "100  |  phantom-edge eval -m BK-Lee/Phantom-0.5B --benchmark pope --data datasets --records pope.jsonl",
)
@command
def evaluate(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            "--bundle",
            "-b",
            help="Checkpoint or bundle: folder or id. Default: Phantom-Nano.",
        ),
    ] = None,
    revision: Revision = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            "-a",
            help="Ask another model, bundle or records file (.jsonl) the same, and give the paired change; "
            "repeatable.",
        ),
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Only these, separated by commas. Default: all.")] = None,
    samples: Annotated[
        int | None, within(1, MAX_QUESTIONS, "Questions per task. Default: 50, of a benchmark all of them.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of the scenes: train, validation or test. Default: test, never trained on."),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Scenes as a camera meets them: plain, margin, small, texture, paper, screen, crop, "
            "nothing, or all.",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="scienceqa, ai2d, chartqa, pope, mmbench or mmstar instead of the scene tasks."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your copy of the benchmark; nothing is downloaded.")
    ] = None,
    tile_size: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS,…",
            help="Ask with tiles of each of these sides: those that a bundle has, or that suit a checkpoint.",
        ),
    ] = None,
    limit: Annotated[
        int | None, within(1, MAX_QUESTIONS, "Most questions in all, spread evenly over the tasks.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        within(1, MAX_TOKENS, "Most tokens per reply. Default: 24 (captions 64), of a benchmark 5."),
    ] = None,
    constrain: Annotated[
        bool,
        typer.Option(
            "--constrain",
            help="Answer with the likeliest of a question's choices, where it has them: colours, yes or no, "
            "letters, …",
        ),
    ] = False,
    records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every question and reply here, as JSON lines.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Ask questions with known answers, greedily, and count the right replies, with 95 % intervals.

    Without --benchmark: twelve tasks on drawn scenes of a split that is kept out of training.
    """
    from phantom_edge.evaluate.job import build_suite, evaluate_models
    from phantom_edge.evaluate.result import write_records
    from phantom_edge.evaluate.summary import report, to_dict
    from phantom_edge.pipeline.tiles import parse_tile_sizes
    from phantom_edge.runtime.pictures import PictureCache
    from phantom_edge.system.outputs import RECORDS, check_distinct, check_file

    check_distinct([records, html])
    check_page(html)
    if records is not None:
        check_file(records, RECORDS, against or ())
    pictures = None if cache is None else PictureCache(folder=cache)
    with _bar(quiet=as_json) as watch:
        suite = build_suite(
            benchmark=benchmark,
            data=data,
            tasks=_listed(tasks),
            conditions=_listed(condition),
            samples=samples,
            split=split,
            limit=limit,
            max_tokens=max_tokens,
        )
        sizes = parse_tile_sizes(tile_size)
        models = [model, *(against or [])]
        results = evaluate_models(
            models, suite, watch, tile_sizes=sizes, pictures=pictures, constrain=constrain, revision=revision
        )
    summary = report(suite, results)
    if records is not None:
        write_records(records, results)

    def tables() -> None:
        if as_json:
            echo_json(to_dict(suite, results))
        else:
            print_report(summary)
            after_eval(model, against or [], min(task.questions for task in results[0].tasks.values()))

    deliver(tables, (summary, html))


def _listed(text: str | None) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Watch]:
    """One progress bar per model with the accuracy so far, on stderr of a terminal; silent elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda name: lambda done, total, right: interrupts.check()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        preparing = progress.add_task("preparing the questions", total=None)

        def watch(name: str) -> Callable[[int, int, int], None]:
            progress.update(preparing, visible=False)
            task = progress.add_task(f"{name}: loading", total=None)

            def show_reply(done: int, total: int, right: int) -> None:
                interrupts.check()
                text = f"{name}: {100 * right / done:.1f} % right"
                progress.update(task, description=text, completed=done, total=total)

            return show_reply

        yield watch
