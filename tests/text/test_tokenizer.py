"""Ids against the published recordings and against SentencePiece itself, text against what the libraries
decode.
"""

import json
import random
from pathlib import Path

import pytest
from recorded import CONFORMANCE, conformance
from sample_texts import (
    ALPHABETS,
    COMPATIBILITY,
    KINDS,
    MARKERS,
    TEXT,
    added_tokens,
    random_texts,
    train_sentencepiece,
)
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from phantom_edge.errors import InputError
from phantom_edge.text.prompt import template_for
from phantom_edge.text.sentencepiece import SAMPLES, SentencePieceModel, convert
from phantom_edge.text.tokenizer import MAX_FILE_BYTES, Tokenizer, check_model_tokens

PUBLISHED = [("0.5b", "qwen2"), ("1.8b", "internlm2"), ("3.8b", "phi3"), ("7b", "internlm2")]


@pytest.fixture(scope="module", params=KINDS)
def model(request) -> SentencePieceModel:
    return SentencePieceModel.from_bytes(train_sentencepiece(**KINDS[request.param]))


@pytest.fixture(scope="module")
def converted(model) -> Tokenizer:
    return Tokenizer(convert(model, added_tokens(len(model.pieces))))


def expected_ids(model: SentencePieceModel, parts: list[str]) -> list[int]:
    """Ids of texts and markers in turn, each text by SentencePiece alone: what the published tokenizer
    does.
    """
    markers = {marker: len(model.pieces) + n for n, marker in enumerate(MARKERS)}
    return [
        index
        for part in parts
        for index in ([markers[part]] if part in markers else model.processor.encode(part))
    ]


def test_converted_ids_are_those_of_sentencepiece(model, converted):
    texts = [
        *random_texts(1500, 1, ALPHABETS),
        *random_texts(300, 2, ALPHABETS[:3]),
        *random_texts(100, 3, ["—…é<eoh>[] "]),
    ]
    assert [converted.encode(text) for text in texts] == model.processor.encode(texts)


def test_converted_ids_with_markers_between(model, converted):
    dice = random.Random(4)
    for text in random_texts(300, 5, ALPHABETS[:9]):
        cut = dice.randrange(len(text) + 1)
        parts = [dice.choice(MARKERS), text[:cut], dice.choice(MARKERS), dice.choice(MARKERS), text[cut:]]
        assert converted.encode("".join(parts)) == expected_ids(model, parts)


def test_converted_text_is_that_of_sentencepiece(model, converted):
    dice = random.Random(6)
    for length in list(range(12)) * 30:
        ids = [dice.randrange(len(model.pieces)) for _ in range(length)]
        # Left out: pieces that no text makes and whose spaces are stripped at the start; unknown ones, put as
        # marks.
        ids = [index for index in ids if model.pieces[index] not in ("<0x20>", "  ", "<unk>")]
        assert converted.decode(ids) == model.processor.decode(ids)


def test_user_defined_symbols_are_whole_and_have_no_space_after_them():
    model = SentencePieceModel.from_bytes(
        train_sentencepiece(user_defined_symbols=["——", "[UNUSED_TOKEN_1]"])
    )
    tokenizer = Tokenizer(convert(model, {}))
    dash, unused = model.pieces.index("——"), model.pieces.index("[UNUSED_TOKEN_1]")
    assert dash in tokenizer.encode("the——the")
    assert tokenizer.encode("the——the") == model.processor.encode("the——the")
    assert tokenizer.encode("—————[UNUSED_TOKEN_1]").count(dash) == 2
    assert tokenizer.decode([unused, dash]) == "[UNUSED_TOKEN_1]——"


def test_merges_follow_the_scores_not_the_ids():
    model = SentencePieceModel.from_bytes(train_sentencepiece())
    normal = [piece for piece in model.proto.pieces if piece.type == piece.NORMAL]
    for piece, score in zip(
        normal, random.Random(11).sample([piece.score for piece in normal], len(normal)), strict=True
    ):
        piece.score = score
    shuffled = SentencePieceModel.from_bytes(model.proto.SerializeToString())
    texts = [*TEXT, *random_texts(500, 12, ALPHABETS[:3])]
    assert shuffled.processor.encode(texts) != model.processor.encode(texts)
    tokenizer = Tokenizer(convert(shuffled, {}))
    assert [tokenizer.encode(text) for text in texts] == shuffled.processor.encode(texts)


def test_an_added_token_takes_the_place_of_a_piece():
    # InternLM2 gives <|im_start|> the id of a placeholder: the placeholder's own text must not reach it any
    # more.
    model = SentencePieceModel.from_bytes(train_sentencepiece(user_defined_symbols=["[UNUSED_TOKEN_1]"]))
    taken = model.pieces.index("[UNUSED_TOKEN_1]")
    tokenizer = Tokenizer(convert(model, {taken: AddedToken("<|im_start|>", normalized=False, special=True)}))
    assert tokenizer.encode("<|im_start|>") == [taken]
    assert taken not in tokenizer.encode("a [UNUSED_TOKEN_1] b")


def test_ids_beyond_a_gap_are_kept():
    model = SentencePieceModel.from_bytes(train_sentencepiece())
    tokenizer = Tokenizer(convert(model, added_tokens(len(model.pieces) + 50)))
    assert tokenizer.token_id("<|im_start|>") == len(model.pieces) + 50
    assert tokenizer.vocab_size == len(model.pieces) + 55


def test_a_character_map_is_followed():
    rules = {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True}
    model = SentencePieceModel.from_bytes(train_sentencepiece(**rules))
    tokenizer = Tokenizer(convert(model, added_tokens(len(model.pieces))))
    texts = [*SAMPLES, *random_texts(800, 7, [*ALPHABETS[:6], COMPATIBILITY, "这张图片里有什么画像を説明"])]
    assert [tokenizer.encode(text) for text in texts] == model.processor.encode(texts)
    assert tokenizer.decode(tokenizer.encode("\uff46\uff55\uff4c\uff4c ①")) == "full 1"


def test_a_conversion_that_differs_is_refused(monkeypatch):
    model = SentencePieceModel.from_bytes(train_sentencepiece())
    monkeypatch.setattr("phantom_edge.text.sentencepiece._merges", lambda *_: [])
    with pytest.raises(InputError, match=r"differs from tokenizer.model on '"):
        convert(model, {})


def test_what_cannot_be_converted_is_named(tmp_path):
    with pytest.raises(InputError, match="unigram"):
        SentencePieceModel.from_bytes(train_sentencepiece(model_type="unigram"))
    with pytest.raises(InputError, match="treat_whitespace_as_suffix"):
        SentencePieceModel.from_bytes(train_sentencepiece(treat_whitespace_as_suffix=True))
    for data in (b"", b"\xff" * 50, b"\x0a\x05hello"):
        with pytest.raises(InputError, match="not a SentencePiece model"):
            SentencePieceModel.from_bytes(data)
    model = SentencePieceModel.from_bytes(train_sentencepiece())
    broken = SentencePieceModel.from_bytes(train_sentencepiece())
    broken.proto.normalizer_spec.precompiled_charsmap = b"\xff\xff\xff\xffbroken"
    (tmp_path / "tokenizer.model").write_bytes(broken.proto.SerializeToString())
    with pytest.raises(InputError):
        Tokenizer.from_checkpoint(tmp_path)
    with pytest.raises(InputError, match="'<s>' has ids 1 and 900"):
        convert(model, {900: AddedToken("<s>", special=True)})


PUBLISHED = [("0.5b", "qwen2"), ("1.8b", "internlm2"), ("3.8b", "phi3"), ("7b", "internlm2")]


@pytest.fixture(scope="module")
def byte_level() -> RustTokenizer:
    tokenizer = RustTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", *MARKERS]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def test_byte_level_text_is_that_of_the_tokenizers_library(byte_level):
    tokenizer = Tokenizer(byte_level)
    dice = random.Random(8)
    for skip_special in (True, False):
        for _ in range(400):
            ids = [dice.randrange(byte_level.get_vocab_size()) for _ in range(dice.randrange(12))]
            assert tokenizer.decode(ids, skip_special) == byte_level.decode(
                ids, skip_special_tokens=skip_special
            )
    for text in random_texts(300, 9, ALPHABETS):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_stream_gives_whole_characters(byte_level):
    tokenizer = Tokenizer(byte_level)
    ids = tokenizer.encode("a 😀 b")
    stream = tokenizer.stream()
    pieces = [stream.push(index) for index in ids]
    assert "".join(pieces) == "a 😀 b"
    assert "" in pieces
    assert "�" not in "".join(pieces)
    assert stream.finish() == ""
    cut = tokenizer.stream()
    assert "".join(map(cut.push, tokenizer.encode("😀")[:2])) == ""
    assert cut.finish() == "�"


def test_a_stream_joins_to_the_decoded_text(model, converted):
    dice = random.Random(10)
    for _ in range(300):
        ids = [dice.randrange(converted.vocab_size + 3) for _ in range(dice.randrange(1, 20))]
        stream = converted.stream()
        assert "".join([*map(stream.push, ids), stream.finish()]) == converted.decode(ids)


def test_a_bad_byte_spoils_itself_only():
    model = SentencePieceModel.from_bytes(train_sentencepiece())
    tokenizer = Tokenizer(convert(model, {}))
    ids = [model.pieces.index(f"<0x{byte:02X}>") for byte in [*"😀".encode(), 0xE2, 0x82, *"é".encode()]]
    assert tokenizer.decode(ids) == model.processor.decode(ids) == "😀��é"


def write_checkpoint(folder: Path, byte_level: RustTokenizer, **config) -> Path:
    byte_level.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_saved_tokenizer_is_the_same(converted, tmp_path):
    converted.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.to_json() == converted.to_json() == (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    for text in SAMPLES:
        ids = converted.encode(f"<img>{text}</img>{text}")
        assert again.encode(f"<img>{text}</img>{text}") == ids
        assert again.decode(ids) == converted.decode(ids)


# It does not fuse unknown characters; the published models have byte fallback, so have none.
@pytest.mark.parametrize("model", [kind for kind in KINDS if kind != "no byte fallback"], indirect=True)
def test_the_stock_executorch_tokenizer_reads_the_conversion(converted, model, tmp_path):
    from pytorch_tokenizers import CppHFTokenizer

    cpp = CppHFTokenizer()
    converted.save(tmp_path / "tokenizer.json")
    cpp.load(str(tmp_path / "tokenizer.json"))
    for probe in SAMPLES:
        text = f"<|im_start|>user\n<img><IMG_CONTEXT></img>{probe}<|im_end|>"
        assert list(cpp.encode(text, 0, 0)) == converted.encode(text)


def test_nothing_is_added_and_limits_of_the_file_are_ignored(byte_level, tmp_path):
    data = json.loads(byte_level.to_str())
    data["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    data["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert tokenizer.encode("the cat sat on the mat") == byte_level.encode("the cat sat on the mat").ids
    assert tokenizer.encode("") == []


def test_tokens_beside_the_file_are_added(byte_level, tmp_path):
    size = byte_level.get_vocab_size()
    folder = write_checkpoint(
        tmp_path, byte_level, added_tokens_decoder={str(size): {"content": "<box>", "special": True}}
    )
    (folder / "added_tokens.json").write_text(json.dumps({"</box>": size + 1}))
    tokenizer = Tokenizer.from_checkpoint(folder)
    assert tokenizer.encode("<box></box>") == [size, size + 1]
    assert tokenizer.decode([size]) == ""
    (folder / "added_tokens.json").write_text(json.dumps({"</box>": size + 7}))
    with pytest.raises(InputError, match="'</box>' has id"):
        Tokenizer.from_checkpoint(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"</other>": size}))
    with pytest.raises(InputError, match="'<box>' and '</other>'"):
        Tokenizer.from_checkpoint(folder)


def test_a_checkpoint_with_a_sentencepiece_model(tmp_path):
    data = train_sentencepiece()
    first = len(SentencePieceModel.from_bytes(data).pieces)
    (tmp_path / "tokenizer.model").write_bytes(data)
    (tmp_path / "added_tokens.json").write_text(
        json.dumps({marker: first + n for n, marker in enumerate(MARKERS)})
    )
    trap = {"auto_map": {"AutoTokenizer": ["trap.Trap", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(trap))
    (tmp_path / "trap.py").write_text("raise SystemExit('code of a checkpoint was run')")
    tokenizer = Tokenizer.from_checkpoint(tmp_path)
    prompt = template_for("internlm2").render([("Describe the image", None)], image_tokens=3)
    ids = tokenizer.encode(prompt)
    assert ids.count(first + MARKERS.index("<IMG_CONTEXT>")) == 3
    assert ids[0] == first
    assert 1 not in ids  # no BOS
    check_model_tokens(
        tokenizer, image_token_id=first + 4, end_ids=[first + 1], template=template_for("internlm2")
    )


def test_a_session_continues_with_the_ids_of_the_whole_conversation(converted):
    template = template_for("internlm2")
    pieces = [template.render([("What is it?", None)], 2), " a cat.", template.render_next("Why?")]
    whole = template.render([("What is it?", " a cat."), ("Why?", None)], 2)
    # "assistant\n" and the answer are one text for SentencePiece: only the part after the answer can be
    # compared.
    after = converted.encode(pieces[2])
    assert converted.encode(whole)[-len(after) :] == after


def test_broken_files_are_named(byte_level, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "cut.json").write_text(byte_level.to_str()[:500])
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    (tmp_path / "odd.json").write_text('{"version": "1.0", "model": {"type": "BPE"}}')
    no_decoder = json.loads(byte_level.to_str()) | {"decoder": None}
    (tmp_path / "mute.json").write_text(json.dumps(no_decoder))
    unknown = json.loads(byte_level.to_str()) | {
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}
    }
    (tmp_path / "unknown.json").write_text(json.dumps(unknown))
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    reasons = {
        "deep": "nested too deeply", "list": "holds list", "cut": "not readable as JSON",
        "latin": "not UTF-8", "odd": "not a tokenizer",
        "mute": "no decoder", "unknown": "unknown WordPiece", "huge": "larger than 64 MiB",
        "missing": "not found",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason) as caught:
            Tokenizer.from_file(tmp_path / f"{name}.json")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="neither"):
        Tokenizer.from_checkpoint(tmp_path)
    with pytest.raises(InputError, match="valid Unicode"):
        Tokenizer(byte_level).encode("\ud800")
    write_checkpoint(tmp_path, byte_level, added_tokens_decoder={"x": {"content": 3}})
    with pytest.raises(InputError, match="malformed"):
        Tokenizer.from_checkpoint(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(byte_level):
    tokenizer = Tokenizer(byte_level)
    good = {
        "image_token_id": 5,
        "end_ids": [2],
        "template": template_for("qwen2"),
        "vocab_size": tokenizer.vocab_size,
    }
    check_model_tokens(tokenizer, **good)
    cases = [
        ({"image_token_id": 6}, "is token 5, but the config's image_token_index is 6"),
        ({"template": template_for("phi3")}, r"no single token for <\|user\|>"),
        ({"vocab_size": tokenizer.vocab_size - 1}, "ids up to"),
        ({"end_ids": [2, tokenizer.vocab_size]}, "end token ids"),
    ]
    for change, reason in cases:
        with pytest.raises(InputError, match=reason):
            check_model_tokens(tokenizer, **good | change)


@conformance
@pytest.mark.parametrize(("size", "decoder"), PUBLISHED)
def test_ids_and_text_are_the_recorded_ones(size, decoder):
    from safetensors.numpy import load_file

    folder = CONFORMANCE / f"phantom-{size}"
    config, template = json.loads((folder / "config.json").read_text()), template_for(decoder)
    tokenizer, golden = Tokenizer.from_checkpoint(folder), load_file(folder / "golden.safetensors")
    check_model_tokens(
        tokenizer,
        image_token_id=config["image_token_index"],
        end_ids=[config["eos_token_id"]],
        template=template,
        vocab_size=config["llm_config"]["vocab_size"],
    )
    for case in json.loads((folder / "golden.json").read_text())["cases"]:
        image_tokens = 256 * case["tiles"] if case["image"] else None
        ids = tokenizer.encode(template.render([(case["question"], None)], image_tokens))
        assert ids == golden[f"{case['name']}.input_ids"].tolist()
        assert tokenizer.decode(golden[f"{case['name']}.generated_ids"].tolist()[-12:]) == case["text"]
