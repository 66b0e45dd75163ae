"""``phantom-edge scenes``: made-up pictures and their questions, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import MAX_SEED, within
from phantom_edge.cli.printing import echo


@app.command(epilog="Example: phantom-edge scenes pictures --split test --count 100")
@command
def scenes(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty folder for the pictures and their questions.")
    ],
    split: Annotated[
        str, typer.Option(help="train, validation or test; no content is in two of them.")
    ] = "train",
    count: Annotated[int, within(1, 1_000_000, "How many pictures.")] = 100,
    seed: Annotated[int, within(0, MAX_SEED, "Other seeds give other pictures of the same split.")] = 0,
    size: Annotated[int, within(1, 4096, "Side of the pictures in pixels.")] = 224,
) -> None:
    """Write made-up pictures with questions, right and wrong answers: PNG files and triples.jsonl."""
    from phantom_edge.scenes.write import TRIPLES, write_scenes

    with progress() as shown:
        write_scenes(folder, split, count, seed, size, lambda n, of: shown.step(f"scene {n} of {of}"))
    echo(f"{folder}: {count} pictures and {TRIPLES}")
