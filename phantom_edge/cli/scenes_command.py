"""``phantom-edge scenes``: made-up pictures and their questions, as files or as a test card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phantom_edge.cli import app
from phantom_edge.cli.console import command, progress
from phantom_edge.cli.options import MAX_SEED, within
from phantom_edge.cli.printing import echo
from phantom_edge.errors import InputError

CARD = Path("test-card")
"""Where a card goes that no folder is named for."""


@app.command(
    epilog="Examples: phantom-edge scenes pictures --split test --count 100  |  "
    "phantom-edge scenes --print  |  phantom-edge scenes card --print --count 12 --seed 7"
)
@command
def scenes(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="New or empty folder for the files. Default of --print: test-card."
        ),
    ] = None,
    card: Annotated[
        bool,
        typer.Option(
            "--print",
            help="A test card to point a camera at: a PDF for A4 and for Letter with the answers on the "
            "back, a PNG, and a page for a second screen.",
        ),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, validation or test; no content is in two of them. Default: train, of a card test."
        ),
    ] = None,
    count: Annotated[
        int | None, within(1, 1_000_000, "How many pictures. Default: 100; 6 on a card, at most 60.")
    ] = None,
    seed: Annotated[int, within(0, MAX_SEED, "Other seeds give other pictures of the same split.")] = 0,
    size: Annotated[
        int | None, within(1, 4096, "Side of the pictures in pixels. Default: 224; of a card, the paper's.")
    ] = None,
) -> None:
    """Write made-up pictures with questions, right and wrong answers: PNG files and triples.jsonl.

    With --print a card of them, to print or to open on a second screen, on which the right answers are known.
    """
    if card:
        if size is not None:
            raise InputError(
                "--size is of pictures as files; those of a card are as large as the paper lets them"
            )
        _print(folder or CARD, split, count, seed)
        return
    if folder is None:
        raise InputError("name a new or empty folder for the pictures, or make a test card with --print")
    from phantom_edge.scenes.write import TRIPLES, write_scenes

    count = count or 100
    with progress() as p:
        settings = split or "train", count, seed, size or 224
        write_scenes(folder, *settings, lambda n, of: p.step(f"scene {n} of {of}"))
    echo(f"{folder}: {count} pictures and {TRIPLES}")


def _print(folder: Path, split: str | None, count: int | None, seed: int) -> None:
    from phantom_edge.scenes.card import DEFAULT_SCENES, DEFAULT_SPLIT
    from phantom_edge.scenes.card_files import PICTURE, PRINTED, SCREEN, write_card

    with progress() as p:
        write_card(folder, split or DEFAULT_SPLIT, count or DEFAULT_SCENES, seed, p.step)
    echo(f"{folder}: {', '.join([*PRINTED.values(), PICTURE, SCREEN])}")
    echo(f"print a PDF on both sides of the paper, or open {folder / SCREEN} on a second screen")
