"""A random checkpoint of a published size, in the published format: bf16, sharded, with a tokenizer of the
true size.

Nothing larger than a block of rows is ever in memory, so the 7B size (15 GB on disk) needs a few hundred
megabytes.

    python -m benchmarks.make_checkpoint 0.5b DIR [--layers N] [--tokenizer FOLDER]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

import torch
import typer
from tokenizers import AddedToken, Tokenizer

from benchmarks.sizes import published
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.key_map import tensor_sources
from phantom_edge.checkpoint.published import Sizes, published_config
from phantom_edge.checkpoint.stored import INDEX
from recipes.synthetic import END_TOKENS, IMAGE_TOKENS, SPECIAL_TOKENS, random_weight, write_tokenizer

AMPLIFY = 3000.0
"""Factor on the phantom's output matrices. With eta = 1e-4 it moves the logits by about as much as they vary
at all: random weights without it would pass every check with the phantom dimension left out.
"""
SHARD_BYTES = 2 * 10**9
BLOCK_VALUES = 1 << 24  # drawn at once: 64 MB in fp32
TRAINED_VOCABULARY = 512  # as large as the sample text is good for; the rest is spare
BYTES_PER_VALUE = 2  # bf16

Shapes = dict[str, tuple[int, ...]]


def make_checkpoint(
    folder: Path,
    sizes: Sizes,
    *,
    seed: int = 0,
    amplify: float = AMPLIFY,
    shard_bytes: int = SHARD_BYTES,
    tokenizer: Path | None = None,
) -> Path:
    """Write config, tokenizer, index and shards to ``folder`` and return it. The same seed gives the same
    bytes.

    ``tokenizer`` is a folder with a true ``tokenizer.json`` to take instead of a small one; the vocabulary is
    then as large as that needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is None:
        ids = write_wide_tokenizer(folder, sizes)
    else:
        ids = copy_tokenizer(folder, sizes, tokenizer)
        sizes = replace(sizes, vocabulary=max(sizes.vocabulary, 1 + max(ids.values())))
    config = published_config(sizes, ids["<IMG_CONTEXT>"], ids[END_TOKENS[sizes.decoder]])
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    parsed = PhantomConfig.from_dict(config)
    shapes = {
        key: shape for source in tensor_sources(parsed).values() for key, shape in source.shapes().items()
    }
    shards = list(split_shards(shapes, shard_bytes))
    generator = torch.Generator().manual_seed(seed)
    places: dict[str, str] = {}
    for n, shard in enumerate(shards, start=1):
        name = f"model-{n:05}-of-{len(shards):05}.safetensors"
        places |= dict.fromkeys(shard, name)
        with (folder / name).open("wb") as file:
            file.write(header(shard))
            for key, shape in shard.items():
                _write_tensor(file, key, shape, parsed, amplify, generator)
    index = {"metadata": {"total_size": sum(map(stored_bytes, shapes.values()))}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return folder


def stored_bytes(shape: tuple[int, ...]) -> int:
    """Size of one tensor on disk."""
    return math.prod(shape) * BYTES_PER_VALUE


def split_shards(shapes: Shapes, limit: int) -> Iterator[Shapes]:
    """The tensors in order, cut into shards of at most ``limit`` bytes; a larger tensor is a shard of its
    own.
    """
    shard: Shapes = {}
    filled = 0
    for key, shape in shapes.items():
        if shard and filled + stored_bytes(shape) > limit:
            yield shard
            shard, filled = {}, 0
        shard[key] = shape
        filled += stored_bytes(shape)
    if shard:
        yield shard


def header(shapes: Shapes) -> bytes:
    """A safetensors header for bf16 tensors that follow in this order (8 bytes of length, JSON, padded to
    8).
    """
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for key, shape in shapes.items():
        end = at + stored_bytes(shape)
        entries[key] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(file: BinaryIO, key: str, shape, config: PhantomConfig, amplify: float, generator) -> None:
    # A tensor's scale depends on its name and on its other axes only, so rows can be drawn in blocks.
    rows = max(1, BLOCK_VALUES // math.prod(shape[1:]))
    for start in range(0, shape[0], rows):
        part = (min(rows, shape[0] - start), *shape[1:])
        block = random_weight(key, part, config, amplify, generator).to(torch.bfloat16)
        file.write(block.contiguous().view(torch.uint8).numpy().data)


def write_wide_tokenizer(folder: Path, sizes: Sizes) -> dict[str, int]:
    """The tokenizer of :mod:`recipes.synthetic`, filled up to the true vocabulary; ids of its
    special tokens.

    The spare tokens are entries of the vocabulary that no merge leads to: unlike added tokens, of which every
    text would be searched for a hundred thousand, they cost nothing.
    """
    small = replace(sizes, vocabulary=min(sizes.vocabulary, TRAINED_VOCABULARY))
    ids = write_tokenizer(folder, small)
    if sizes.decoder == "internlm2":
        return _widen_sentencepiece(folder, sizes.vocabulary)
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    vocabulary |= {f"<spare_{n}>": n for n in range(len(vocabulary), sizes.vocabulary)}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return ids


def copy_tokenizer(folder: Path, sizes: Sizes, given: Path) -> dict[str, int]:
    """A folder's tokenizer with what it lacks of the family's special tokens; ids of all its pieces."""
    tokenizer = Tokenizer.from_file(str(given / "tokenizer.json"))
    special = [*SPECIAL_TOKENS[sizes.decoder], *IMAGE_TOKENS]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_TOKENS[sizes.decoder]}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=1) + "\n")
    return tokenizer.get_vocab(with_added_tokens=True)


def _widen_sentencepiece(folder: Path, vocabulary: int) -> dict[str, int]:
    from sentencepiece import sentencepiece_model_pb2

    special = [*SPECIAL_TOKENS["internlm2"], *IMAGE_TOKENS]
    path = folder / "tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    lowest = min(piece.score for piece in model.pieces)
    for n in range(len(model.pieces), vocabulary - len(special)):
        model.pieces.add(piece=f"<spare_{n}>", score=lowest - n)
    path.write_bytes(model.SerializeToString())
    ids = {token: vocabulary - len(special) + n for n, token in enumerate(special)}
    (folder / "added_tokens.json").write_text(json.dumps(ids, indent=1) + "\n")
    return ids


def main(
    size: Annotated[str, typer.Argument(help="0.5b, 1.8b, 3.8b or 7b")],
    folder: Annotated[Path, typer.Argument(help="where the checkpoint goes")],
    layers: Annotated[
        int | None, typer.Option(help="keep only so many layers of each encoder and decoder")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="folder of a true tokenizer.json to take instead of a small one")
    ] = None,
    seed: int = 0,
) -> None:
    """Write a random checkpoint of a published size."""
    make_checkpoint(folder, published(size, layers), seed=seed, tokenizer=tokenizer)
    typer.echo(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e9:.2f} GB")


if __name__ == "__main__":
    typer.run(main)
