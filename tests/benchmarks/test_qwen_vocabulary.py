"""A file of ranks becomes a tokenizer that joins bytes by them, and a checkpoint can carry it."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from vocabularies import TEXTS, tokenizer

from benchmarks.make_checkpoint import make_checkpoint
from benchmarks.qwen_vocabulary import SPECIAL, ranks, write
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.text.pieces import Pieces
from recipes.synthetic import TINY


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Ranks of a trained vocabulary, as a tiktoken file has them."""
    pieces = Pieces.of(tokenizer("byte level"))
    ordinary = sorted(set(pieces.ids.values()) - pieces.added)
    lines = [base64.b64encode(pieces.decoder.to_bytes(pieces.names[n])) for n in ordinary]
    path = tmp_path_factory.mktemp("ranks") / "qwen.tiktoken"
    path.write_bytes(b"".join(b"%s %d\n" % (line, rank) for rank, line in enumerate(lines)))
    return path


def joined(ranked: dict[bytes, int], word: bytes) -> list[int]:
    """The rule itself: the neighbours whose union has the lowest rank become one, again and again."""
    parts = [bytes([byte]) for byte in word]
    while True:
        unions = [(ranked[parts[n] + parts[n + 1]], n) for n in range(len(parts) - 1)
                  if parts[n] + parts[n + 1] in ranked]  # fmt: skip
        if not unions:
            return [ranked[part] for part in parts]
        _, n = min(unions)
        parts[n : n + 2] = [parts[n] + parts[n + 1]]


def test_words_are_joined_by_rank_and_a_checkpoint_opens_with_it(file, tmp_path):
    folder, ranked = write(tmp_path / "tokenizer", file), ranks(file)
    sizes = replace(TINY, vocabulary=700)
    source = Pretrained.open(make_checkpoint(tmp_path / "checkpoint", sizes, tokenizer=folder))
    assert source.config.decoder.vocab_size == 700
    for word in "".join(TEXTS).split():
        if word.isalpha():
            assert source.tokenizer.encode(word) == joined(ranked, word.encode()), word
    assert source.tokenizer.vocab_size == len(ranked) + len(SPECIAL)
    tight = make_checkpoint(tmp_path / "tight", TINY, tokenizer=folder)
    assert Pretrained.open(tight).config.decoder.vocab_size == len(ranked) + len(SPECIAL)


def test_what_is_no_file_of_ranks(tmp_path):
    path = tmp_path / "x.tiktoken"
    for text in ("a b c\n", "!! 1\n", "\xff"):
        path.write_text(text)
        with pytest.raises(InputError, match="no file of ranks"):
            ranks(path)
