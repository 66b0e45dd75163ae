"""Character maps against SentencePiece's own normalisation, and maps that are none."""

import io
import random
import struct
import unicodedata

import pytest
import sentencepiece
from tokenizers import normalizers

from phantom_edge.errors import InputError
from phantom_edge.text.charsmap import character_map, replacements
from phantom_edge.text.sentencepiece import SAMPLES, SentencePieceModel


@pytest.fixture(scope="module")
def model() -> SentencePieceModel:
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the image in detail"] * 9),
        model_writer=stream,
        model_type="bpe",
        vocab_size=290,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="nmt_nfkc",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        minloglevel=2,
    )
    return SentencePieceModel.from_bytes(stream.getvalue())


@pytest.fixture(scope="module")
def charsmap(model) -> bytes:
    return model.proto.normalizer_spec.precompiled_charsmap


@pytest.fixture(scope="module")
def chain(charsmap) -> normalizers.Normalizer:
    return normalizers.Sequence(replacements(charsmap))


def sentencepiece_says(model, text: str) -> str:
    return model.processor.normalize(text).replace("\u2581", " ")


def test_the_map_is_read_whole(model, charsmap):
    mapped = character_map(charsmap)
    assert len(mapped) > 200_000
    assert mapped["\ufb01"] == "fi"
    for key in random.Random(1).sample(sorted(mapped), 2000):
        assert sentencepiece_says(model, key) == mapped[key], ascii(key)


def test_the_chain_does_what_sentencepiece_does(model, charsmap, chain):
    for text in SAMPLES:
        assert chain.normalize_str(text) == sentencepiece_says(model, text), ascii(text)
    mapped = character_map(charsmap)
    for key in random.Random(2).sample(sorted(mapped), 500):
        assert chain.normalize_str(f"a{key}b") == sentencepiece_says(model, f"a{key}b"), ascii(key)


def test_what_was_taken_apart_is_put_together(chain):
    letters = map(chr, range(0xC0, 0x1F00))
    composed = [
        c for c in letters if unicodedata.normalize("NFKC", c) == c != unicodedata.normalize("NFD", c)
    ]
    syllables = list(map(chr, range(0xAC00, 0xD7A4)))
    dice = random.Random(3)
    for text in ["".join(dice.choices(kind, k=50)) for kind in (composed, syllables) for _ in range(4)]:
        apart = unicodedata.normalize("NFD", text)
        assert apart != text
        assert chain.normalize_str(apart) == text


def test_the_few_differences_are_marks_after_what_becomes_several(model, chain):
    text = "\ufb01\u0301"  # a ligature and an accent
    assert sentencepiece_says(model, text) == "fi\u0301"
    assert chain.normalize_str(text) == "f\u00ed"


def trie(units: dict[int, int], size: int = 512) -> bytes:
    return struct.pack("<I", 4 * size) + struct.pack(
        f"<{size}I", *(units.get(place, 0) for place in range(size))
    )


A = ord("a")
LEADS_BEYOND_THE_END = (
    trie({0: 256 << 10, 256 ^ A: A | 1 << 8 | (256 ^ A ^ 500) << 10, 500: 1 << 31 | 9999}) + b"b\0"
)
LEADS_INTO_ITSELF = trie({place: place | place << 10 for place in range(256)})


def test_a_map_by_hand():
    one = trie({0: 256 << 10, 256 ^ A: A | 1 << 8 | (256 ^ A ^ 500) << 10, 500: 1 << 31 | 2})
    assert character_map(one + b"x\0b\0") == {"a": "b"}


@pytest.mark.parametrize("data", [b"", b"\x01", trie({})[:100], LEADS_BEYOND_THE_END, LEADS_INTO_ITSELF])
def test_damaged_maps_are_refused(data):
    with pytest.raises(InputError, match="damaged character map"):
        character_map(data)
