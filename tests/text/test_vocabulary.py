"""Which pieces are kept: by texts of any size, by scripts, and what is refused in one line."""

from __future__ import annotations

import os

import pytest
from vocabularies import TEXTS, tokenizer

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.text import corpus
from phantom_edge.text.corpus import Corpus
from phantom_edge.text.pieces import Pieces
from phantom_edge.text.scripts import PRESETS, SAMPLES
from phantom_edge.text.trimmed import trimmed
from phantom_edge.text.vocabulary import VocabularyRequest, certify_corpus, certify_round_trip, measure


@pytest.fixture(scope="module")
def nano() -> Pretrained:
    return Pretrained.open()


def measured(source: Pretrained, *texts: object, size: int | None = None):
    request = VocabularyRequest(tuple(map(str, texts)), size)
    return measure(source.tokenizer, source.template, request, needed=source.needed_ids)


def refusal(*texts: object, size: int | None = None, source: Pretrained | None = None) -> str:
    """The line with which a request is refused, or with ``source`` the measure."""
    if source is None:
        with pytest.raises(InputError) as caught:
            VocabularyRequest(tuple(map(str, texts)), size)
    else:
        request = VocabularyRequest(tuple(map(str, texts)), size)
        with pytest.raises(InputError) as caught:
            measure(source.tokenizer, source.template, request)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 300
    return line


def test_what_texts_need_is_kept_and_no_more(nano, tmp_path):
    """Every piece that is kept beyond what any text needs is one that a text of the corpus is made by."""
    (tmp_path / "a.txt").write_text("Is the red circle\n\nleft of it?\nIs it?")
    vocabulary = measured(nano, tmp_path)
    pieces = Pieces.of(nano.tokenizer)
    texts = ["Is the red circle\n\nleft of it?\nIs it?", "Is the red circle", "left of it?", "Is it?"]
    texts += [nano.template.render([("?", None)], 1), nano.template.render_next("?")]
    used = {index for text in texts for index in nano.tokenizer.encode(text)}
    assert set(vocabulary.kept_ids) == pieces.closure(used) | pieces.always
    assert list(vocabulary.kept_ids) == sorted(vocabulary.kept_ids)
    assert vocabulary.request.names == (tmp_path.name,)


def test_texts_are_certified_and_a_wrong_tokenizer_is_noticed(nano, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("".join(TEXTS))
    vocabulary = measured(nano, file)
    whole, kept, read = nano.tokenizer, vocabulary.kept_ids, vocabulary.request.corpus
    right = certify_corpus(whole, trimmed(whole, kept), kept, read)
    assert (right.differing, right.texts) == (0, 1 + sum(bool(t.strip()) for t in TEXTS))
    lost = whole.encode("Is the picture")[-1]  # a piece of some texts
    fewer = [index for index in kept if index != lost]
    wrong = certify_corpus(whole, trimmed(whole, fewer), fewer, read)
    assert 0 < wrong.differing < wrong.texts
    assert "picture" in wrong.first
    spoiled = trimmed(whole, kept[:-2] + kept[-1:] + kept[-2:-1])  # two ids exchanged
    assert certify_round_trip(whole, spoiled, TEXTS).differing == 0
    sizes = trimmed(tokenizer("byte level"), sorted(Pieces.of(tokenizer("byte level")).always))
    assert certify_round_trip(whole, sizes, ["ü", "e\u0301"]).differing == 1  # it composes characters


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_blocks_cut_no_character_and_lose_none(tmp_path, monkeypatch, block):
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    text = "".join(TEXTS) + "\n\n  ünï 😀\r\nlast"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.md").write_bytes(text.encode())
    (tmp_path / "a.txt").write_bytes("日本\n".encode())
    (tmp_path / ".hidden").write_bytes(b"\xff")
    read = Corpus.of([tmp_path])
    assert [file.name for file in read.files] == ["a.txt", "two.md"]
    assert read.bytes == len(text.encode()) + 7
    blocks = list(read.blocks())
    assert "".join(blocks) == "日本\n" + text
    if block == 64:
        assert sum(one.endswith("\n") for one in blocks) > 5


def test_a_corpus_is_read_in_bounded_memory(nano, tmp_path, monkeypatch):
    """A file of many blocks is never in memory as a whole: no block is larger than two of them."""
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 4096)
    (tmp_path / "a.txt").write_text("red circle " * 40_000)
    assert max(map(len, Corpus.of([tmp_path / "a.txt"]).blocks())) <= 8192


def test_coverage_is_of_lines_that_are_held_out(nano, tmp_path):
    """Lines that are all alike are covered or not as one; a piece of one line alone is not covered."""
    words = sorted({nano.tokenizer.decode([n]).strip() for n in range(300, 700)} - {""})
    (tmp_path / "alone.txt").write_text("\n".join(words))
    alone = measured(nano, tmp_path / "alone.txt").held_out
    (tmp_path / "often.txt").write_text("\n".join(f"{n} {word}" for n in range(9) for word in words))
    often = measured(nano, tmp_path / "often.txt").held_out
    assert alone is not None
    assert often is not None
    assert alone.share < 0.9 < often.share
    assert often.tokens > 3 * alone.tokens
    (tmp_path / "one.txt").write_text("a")
    assert measured(nano, tmp_path / "one.txt").held_out is None
    assert measured(nano, "en").held_out is None


def test_presets_do_not_depend_on_their_order_and_sizes_bound(nano, tmp_path):
    byte_level = tokenizer("byte level")

    def kept(*names: str, size: int | None = None) -> tuple[int, ...]:
        request = VocabularyRequest(names, size)
        return measure(byte_level, nano.template, request).kept_ids

    assert kept("latin", "cyrillic") == kept("cyrillic", "latin")
    assert set(kept("en")) | set(kept("cyrillic")) == set(kept("en", "cyrillic"))
    assert set(kept("en")) < set(kept("latin"))
    base = len(Pieces.of(byte_level).always)
    for size in (base + 9, base + 40, 450):
        assert len(kept("latin", size=size)) <= size
        assert set(kept("latin", size=size)) <= set(kept("latin"))
    assert len(kept("latin", size=450)) == 450
    assert "allow that many" in refusal("en", size=base - 1, source=nano)


def test_a_preset_keeps_the_pieces_of_its_characters():
    pieces = Pieces.of(tokenizer("byte level"))
    texts = {index: pieces.text(index) for index in pieces.names}
    request = VocabularyRequest(("cyrillic",))
    kept = set(measure(tokenizer("byte level"), Pretrained.open().template, request).kept_ids)
    russian = {n for n, t in texts.items() if t is not None and any("а" <= c <= "я" for c in t)}  # noqa: RUF001
    assert russian
    assert russian <= kept
    long = {n for n, t in texts.items() if t is not None and t.isascii() and t.isalpha() and len(t) > 3}
    assert long - kept


def test_characters_of_presets():
    characters = {name: preset.characters() for name, preset in PRESETS.items()}
    assert characters["en"] == characters["code"]
    assert characters["en"] < characters["latin"]
    for name, text in {"latin": "French", "cyrillic": "Russian", "hebrew": "Hebrew", "thai": "Thai",
                       "greek": "Greek", "korean": "Korean", "chinese": "Chinese", "japanese": "Japanese",
                       "arabic": "Arabic", "devanagari": "Hindi", "en": "English"}.items():  # fmt: skip
        assert characters[name].issuperset(SAMPLES[text]), set(SAMPLES[text]) - characters[name]
    assert characters["latin"].issuperset(SAMPLES["Vietnamese"])
    assert not characters["latin"] & set("аβ漢")


def test_bad_input_is_one_line(nano, tmp_path):
    assert refusal("latn") == (
        "--vocab 'latn': no file, folder or preset (did you mean 'latin'?); presets are " + ", ".join(PRESETS)
    )
    assert "no file, folder or preset" in refusal("x" * 5000)
    assert "no file, folder or preset" in refusal("\0")
    assert "--vocab-size goes with --vocab" in refusal(size=9)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no text" in refusal(empty)
    (empty / "nothing.txt").touch()
    assert "holds no text" in refusal(empty)
    assert "holds no text" in refusal(empty / "nothing.txt")
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"a line\n" + b"\x89PNG" + b"\0" * 9)
    assert f"{binary}: not UTF-8 text at byte 7" in refusal(binary, source=nano)
    cut = tmp_path / "cut.txt"
    cut.write_bytes("ü".encode()[:1])
    assert "not UTF-8 text at byte 0" in refusal(cut, source=nano)
    binary.write_bytes(b"ustar\0\0")
    assert "a zero byte" in refusal(binary, source=nano)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "no file, folder or preset" in refusal(pipe)
    assert "no ordinary file" in refusal(tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("".join(TEXTS))
    base = len(measured(nano, text).kept_ids)
    assert f"need {base} pieces" in refusal(text, size=base - 1, source=nano)
