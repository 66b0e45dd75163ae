"""Options that several commands take, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

MAX_TOKENS: Final = 1 << 24
MAX_SIDE: Final = 1 << 16
MAX_THREADS: Final = 256
MAX_SEED: Final = (1 << 63) - 1


def within(least: float, most: float, help: str, **settings: Any) -> Any:
    """An option that takes a number from ``least`` to ``most``."""
    return typer.Option(min=least, max=most, help=help, **settings)


Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Folder or Hugging Face id of a checkpoint. Default: Phantom-Nano."),
]
ModelOrBundle = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="A bundle or a checkpoint: folder or Hugging Face id. Default: Phantom-Nano."
    ),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hugging Face hub.")]
Fold = Annotated[str, typer.Option(help="exact, auto (smallest certified rank per layer), or rank:R.")]
Context = Annotated[int | None, within(1, MAX_TOKENS, "Length of the KV cache in tokens.")]
Vocab = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Keep only the pieces of the vocabulary that a file or folder of text needs, or a preset: en, "
        "code, latin, cyrillic, chinese, …; may be repeated.",
    ),
]
VocabSize = Annotated[int | None, within(1, 1 << 20, "The most pieces to keep. Default: en 32768.")]
TileSize = Annotated[
    int | None,
    within(1, MAX_SIDE, "Side of a tile in pixels: one that the bundle has, or that suits the checkpoint."),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Keep what is computed of pictures in this folder, and use what is there. It may be removed.",
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="X,Y[,SIZE]",
        help="Look at the square around this point of the picture: from 0,0 (top left) to 1,1, or in pixels "
        "as 412px,96px. SIZE: its side over the picture's shorter side, 0.1 to 1. Default: 0.4.",
    ),
]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository on the hub private.")]
Choices = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…", help="The answer is one of these texts; --stats and --json say how likely each is."
    ),
]
Regex = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="The answer matches this regular expression as a whole.")
]
Schema = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The answer is JSON that meets the JSON schema in this file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Html = Annotated[
    str | None, typer.Option("--html", metavar="FILE", help="Also write the report as an HTML page.")
]

# Of `export` and `quantize`: the fields of QuantizeOptions.
Rule = Annotated[list[str] | None, typer.Option(help="Override, PATTERN=PRECISION; may be repeated.")]
Method = Annotated[
    str | None, typer.Option(help="rtn, hqq, awq, gptq or gptq-awq. Default: gptq; `export` alone rounds.")
]
Scales = Annotated[
    str | None,
    typer.Option(
        help="Grid of int4's scales: free, or lpbq (Qualcomm NPU's fast int4). Default: the target's."
    ),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of pictures, with a .jsonl of questions and answers as `tune` reads it if there is one. "
        "Default: drawn scenes.",
    ),
]
Samples = Annotated[int | None, within(8, 4096, "Pictures to calibrate with. Default: 48, large models 16.")]
BudgetMb = Annotated[
    float | None, within(1e-3, 1e9, "mixed: most megabytes of weights. Default: 1.1 times those of int4.")
]
BudgetKl = Annotated[
    float | None, within(1e-9, 1e3, "mixed: most KL divergence from the original, in nats per token.")
]
