"""A tokenizer with fewer pieces makes the same of every text whose pieces it has, and loses no text."""

from __future__ import annotations

import json
import random

import pytest
from tokenizers import Tokenizer as RustTokenizer
from vocabularies import KINDS, TEXTS, byte_level, tokenizer

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.text.pieces import Pieces
from phantom_edge.text.scripts import assorted
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.text.trimmed import pair_of, trimmed


@pytest.fixture(params=[*KINDS, "nano", "internlm2"])
def whole(request, tiny_dirs) -> Tokenizer:
    """Every kind: trained here, the embedded model's, and one converted from SentencePiece."""
    if request.param in KINDS:
        return tokenizer(request.param)
    return Pretrained.open(tiny_dirs.get(request.param)).tokenizer


def some(pieces: Pieces, seed: int) -> list[int]:
    """A random part of the pieces, closed, in order."""
    chosen = random.Random(seed).sample(sorted(pieces.names), len(pieces.names) // 2)
    return sorted(pieces.always | pieces.closure(chosen))


def texts(seed: int) -> list[str]:
    """Words of the training texts, shuffled, cut anywhere and run into each other."""
    draw = random.Random(seed)
    words = "".join(TEXTS).split()
    return ["".join(draw.choice(words)[: draw.randint(1, 9)] + draw.choice(["", " ", "\n"]) for _ in range(6))
            for _ in range(400)]  # fmt: skip


def test_texts_of_kept_pieces_are_encoded_as_before(whole):
    pieces, same = Pieces.of(whole), 0
    for seed in range(4):
        kept = some(pieces, seed)
        fewer, ids = trimmed(whole, kept), set(kept)
        for text in texts(seed):
            expected = whole.encode(text)
            if ids.issuperset(expected):
                same += 1
                assert [kept[index] for index in fewer.encode(text)] == expected, text
    assert same > 10


def test_any_text_comes_back_as_from_the_whole(whole):
    pieces = Pieces.of(whole)
    for kept in (sorted(pieces.always), some(pieces, 9)):
        fewer = trimmed(whole, kept)
        for text in [*texts(9)[:40], *list(assorted())[::9]]:
            back = fewer.decode(fewer.encode(text), skip_special=False)
            assert back == whole.decode(whole.encode(text), skip_special=False)


def test_a_piece_without_one_that_makes_it_is_made_no_more(whole):
    """All constituents are needed and nothing else is: this fails if one is named in vain."""
    pieces = Pieces.of(whole)
    if pieces.unigram or pieces.whole_words:
        return  # a piece needs no other
    long = [index for index in pieces.names if len(made := pieces.constituents(index)) > 3 and index in made]
    for index in long[:: max(1, len(long) // 12)]:
        model = model_of(whole, pieces.always | pieces.constituents(index))
        assert [token.value for token in model.tokenize(pieces.names[index])] == [pieces.names[index]]
        for needed in pieces.constituents(index) - pieces.always - {index}:
            model = model_of(whole, (pieces.always | pieces.constituents(index)) - {needed})
            assert len(model.tokenize(pieces.names[index])) > 1


def model_of(whole: Tokenizer, kept: set[int] | frozenset[int]):
    return RustTokenizer.from_str(trimmed(whole, sorted(kept)).to_json()).model


def test_constituents_are_those_of_the_library(whole):
    """A piece has constituents exactly where the library makes it of its own text."""
    pieces = Pieces.of(whole)
    model = RustTokenizer.from_str(whole.to_json()).model
    assert not pieces.unigram or all(pieces.constituents(index) == {index} for index in pieces.names)
    for piece, index in pieces.ids.items():
        if index not in pieces.added | pieces.always and not pieces.unigram:
            made = [token.id for token in model.tokenize(piece)] == [index]
            assert bool(pieces.constituents(index)) == made, piece


def test_a_piece_that_no_merge_makes_is_not_reached():
    spec = json.loads(byte_level().to_json())
    spec["model"]["vocab"]["never"] = 5000
    assert Pieces.of(Tokenizer.from_spec(spec)).constituents(5000) == frozenset()


def test_ids_are_renumbered_everywhere():
    whole = tokenizer("byte fallback")
    kept = sorted(Pieces.of(whole).always)
    fewer = trimmed(whole, kept)
    stock = RustTokenizer.from_str(fewer.to_json())
    assert stock.encode("a").ids[0] == fewer.token_id("<s>") == kept.index(whole.token_id("<s>"))
    assert fewer.unknown_id == kept.index(whole.unknown_id)
    assert {*fewer.control_tokens.values()} == {*whole.control_tokens.values()}
    assert fewer.vocab_size == len(kept)


def test_merges_of_older_files():
    assert pair_of("a b") == pair_of(["a", "b"]) == ("a", "b")


def test_what_cannot_be_trimmed():
    whole = byte_level()
    with pytest.raises(InputError, match=r"lack the added token '<unk>'"):
        trimmed(whole, [0, 1, 2])
    spec = json.loads(whole.to_json())
    spec["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    with pytest.raises(InputError, match=r"of type WordLevel cannot be trimmed.*leave out --vocab"):
        Pieces.of(Tokenizer.from_spec(spec))
    spec = json.loads(whole.to_json())
    spec["model"]["end_of_word_suffix"] = "</w>"
    with pytest.raises(InputError, match="marks the parts of a word"):
        trimmed(Tokenizer.from_spec(spec), range(604))
