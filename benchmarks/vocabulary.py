"""What presets and texts leave of Qwen's true vocabulary: pieces, megabytes of the head, tokens of a text.

python -m benchmarks.vocabulary                      # fetches the vocabulary with pip
python -m benchmarks.vocabulary --tokenizer DIR --text questions.txt
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.qwen_vocabulary import fetch, write
from benchmarks.sizes import published
from phantom_edge.numbers.recipe import INT8
from phantom_edge.quantize.mixed import matrix_bytes
from phantom_edge.text.prompt import template_for
from phantom_edge.text.scripts import PRESETS, SAMPLES, assorted
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.text.trimmed import trimmed
from phantom_edge.text.vocabulary import VocabularyRequest, certify_round_trip, measure

SHOWN = ("English", "French", "Russian", "Chinese", "Hindi", "Python")


def rows(tokenizer: Tokenizer, texts: tuple[str, ...], size: int | None) -> list[str]:
    """The cells of one line: what is kept, its megabytes at 0.5B's width, tokens per 1,000 characters."""
    start = time.perf_counter()
    vocabulary = measure(tokenizer, template_for("qwen2"), VocabularyRequest(texts, size))
    own = trimmed(tokenizer, vocabulary.kept_ids)
    seconds = time.perf_counter() - start
    lost = certify_round_trip(tokenizer, own, assorted()).differing
    return [*_cells(own, len(vocabulary.kept_ids)), str(lost), f"{seconds:.1f}"]


def _cells(tokenizer: Tokenizer, pieces: int) -> list[str]:
    megabytes = matrix_bytes(INT8, (pieces, published("0.5b").hidden)) / 1e6
    counts = [1000 * len(tokenizer.encode(SAMPLES[name])) / len(SAMPLES[name]) for name in SHOWN]
    return [f"{pieces:,}", f"{megabytes:.1f}", *(f"{count:.0f}" for count in counts)]


def main(
    tokenizer: Annotated[
        Path | None, typer.Option(help="folder of a tokenizer.json to measure instead")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="also these files or folders; repeatable")] = None,
    size: Annotated[int | None, typer.Option(help="the most pieces, as --vocab-size")] = None,
) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = tokenizer or write(Path(temporary), fetch(Path(temporary)))
        whole = Tokenizer.from_file(folder / "tokenizer.json")
    typer.echo("| `--vocab` | pieces | head, MB | " + " | ".join(SHOWN) + " | texts lost | s |")
    typer.echo("|---|" + "--:|" * (len(SHOWN) + 4))
    typer.echo("| " + " | ".join(["all", *_cells(whole, whole.vocab_size), "", ""]) + " |")
    for texts in (*((name,) for name in PRESETS), *(((*text,),) if text else ())):
        typer.echo("| " + " | ".join([f"`{' '.join(texts)}`", *rows(whole, texts, size)]) + " |")


if __name__ == "__main__":
    typer.run(main)
