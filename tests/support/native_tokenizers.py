"""Prompts and tokenizers for the tests of the Swift and Kotlin libraries, and what Python makes of both."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from sample_texts import ALPHABETS, KINDS, MARKERS, TEXT, added_tokens, random_texts, train_sentencepiece
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

import phantom_edge
from phantom_edge.errors import InputError
from phantom_edge.records import to_json
from phantom_edge.text.prompt import TEMPLATES
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.sentencepiece import SAMPLES, SentencePieceModel, convert
from phantom_edge.text.tokenizer import Tokenizer

NANO = Path(phantom_edge.__file__).parent / "nano"
QWEN2_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
QWEN2_PATTERN += r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QUESTIONS = (
    "What colour is it?",
    "Describe the image in detail",
    "çà et là: 这张图片里有什么？ 😀",  # noqa: RUF001
    " leading",
)
DECOMPOSED = "<cafe\u0301>"  # NFC makes it a control token of the qwen2 tokenizer here
CONTRACTIONS = (
    "It's, IT'S, we'LL, they'Ve 'tis ''s'd",
    "l'\u017fo 'Re\u0301 I'M",
    "x\r\n\r\n y \n\n  z\n ",
    "a 'b 's",
)


def prompts() -> list[dict[str, Any]]:
    return [
        {
            "template": to_json(template),
            "question": question,
            "image_tokens": tokens,
            "text": template.render([(question, None)], tokens),
            "next": template.render_next(question),
            "markers": list(template.special_strings),
        }
        for template in TEMPLATES.values()
        for question in QUESTIONS
        for tokens in (None, 1, 7)
    ]


def tokenizer_kinds() -> dict[str, RustTokenizer]:
    """Every kind that a bundle may carry: the published sizes' own and what SentencePiece models are
    converted to.
    """
    converted = {}
    kinds = KINDS | {"character map": {"normalization_rule_name": "nmt_nfkc"}}
    for kind, options in kinds.items():
        model = SentencePieceModel.from_bytes(train_sentencepiece(**options))
        converted[f"sentencepiece, {kind}"] = convert(model, added_tokens(len(model.pieces)))
    own = {"gpt2": _gpt2(), "nano": RustTokenizer.from_file(str(NANO / "tokenizer.json"))}
    return own | {"qwen2": _qwen2(), "phi3": _phi3(), "metaspace": _metaspace()} | converted


def _trained(tokenizer: RustTokenizer, alphabet: list[str]) -> RustTokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    tokenizer.add_tokens([AddedToken(marker, normalized=False, special=True) for marker in MARKERS])
    return tokenizer


def _gpt2() -> RustTokenizer:
    tokenizer = RustTokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    return _trained(tokenizer, pre_tokenizers.ByteLevel.alphabet())


def _qwen2() -> RustTokenizer:
    tokenizer = RustTokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated", invert=False)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.normalizer, tokenizer.decoder = normalizers.NFC(), decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
    tokenizer = _trained(tokenizer, pre_tokenizers.ByteLevel.alphabet())
    word = AddedToken("cafe\u0301", normalized=True, special=False)
    tokenizer.add_tokens([word, AddedToken("<caf\u00e9>", normalized=True, special=True)])
    return tokenizer


def _bytes_and_text(pre_tokenizer: Any, normalizer: Any) -> RustTokenizer:
    """A vocabulary of text with byte fallback, as Llama's: two spellings of one character are two tokens."""
    plain = RustTokenizer(models.BPE())
    plain.normalizer = normalizers.Replace(" ", "▁")
    _trained(plain, [])
    model = json.loads(plain.to_str())["model"]
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{n:02X}>" for n in range(256)),
        *model["vocab"],
        "\u00c5",
        "\u212b",
    ]
    vocab = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = RustTokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    markers = [
        AddedToken(m, normalized=False, special=True, rstrip=True, lstrip=m == "<img>") for m in MARKERS
    ]
    ends = [
        AddedToken("<s>", normalized=False, special=True),
        AddedToken("</s>", normalized=False, special=False, rstrip=True),  # as Phi-3 lists it
    ]
    tokenizer.add_tokens([*ends, *markers])
    return tokenizer


def _phi3() -> RustTokenizer:
    return _bytes_and_text(
        None, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    )


def _metaspace() -> RustTokenizer:
    return _bytes_and_text(pre_tokenizers.Metaspace("▁", "first", split=False), None)


def tokenizer_case(folder: Path, name: str, made: RustTokenizer) -> dict[str, Any]:
    file = f"tokenizer-{name.replace(' ', '-').replace(',', '')}.json"
    tokenizer = Tokenizer(made)
    tokenizer.save(folder / file)
    texts = [*SAMPLES, *QUESTIONS, *CONTRACTIONS, *random_texts(120, 5, ALPHABETS)]
    dice = random.Random(6)
    texts += ["".join(dice.choice([*MARKERS, *texts]) for _ in range(4)) for _ in range(40)]
    texts += [f" {marker}  \t{marker}\n x" for marker in MARKERS]
    texts += [text[:2000] for text in (TEXT[0] * 40, "a" * 700)]
    texts = [text for text in texts if _is_known_everywhere(text)]
    return {
        "file": file,
        "texts": [{"text": text, "ids": tokenizer.encode(text)} for text in texts],
        "streams": [_stream(tokenizer, seed) for seed in range(40)],
        "control": [{"id": n, "token": token} for n, token in sorted(tokenizer.control_tokens.items())],
        "refusals": _refusals(tokenizer),
    }


def _refusals(tokenizer: Tokenizer) -> list[dict[str, str]]:
    """Questions with a control token each, and the line that refuses each."""
    prompts, refusals = PromptEncoder(TEMPLATES["chatml"], tokenizer), []
    for question in [f"Is {token}it red?" for token in [*tokenizer.control_tokens.values(), DECOMPOSED]]:
        try:
            prompts.first(question, 1)
        except InputError as error:
            refusals.append({"question": question, "line": str(error)})
    return refusals


def _is_known_everywhere(text: str) -> bool:
    """Whether the text's characters are old enough for every platform's tables, and in the standard at
    all.
    """
    import unicodedata

    return all(
        unicodedata.ucd_3_2_0.category(c) != "Cn" or unicodedata.category(c) in ("So", "Mn", "Cf")
        for c in text
    )


def _stream(tokenizer: Tokenizer, seed: int) -> dict[str, Any]:
    """Any ids: bytes that form no characters, ids without a token, special ones; and text alone, every other
    time.

    When a piece comes is compared for text only: Python waits a byte longer before it gives up on half a
    surrogate.
    """
    dice = random.Random(seed)
    ids = [dice.randrange(-1, tokenizer.vocab_size + 2) for _ in range(30)]
    ids[5:5] = tokenizer.encode(QUESTIONS[2])
    text = seed % 4 == 0
    if text:
        ids = tokenizer.encode(SAMPLES[seed // 4] + QUESTIONS[2])
    stream = tokenizer.stream(skip_special=bool(seed % 2))
    pieces = [*map(stream.push, ids), stream.finish()]
    return {
        "ids": ids,
        "skip": bool(seed % 2),
        "pieces": pieces,
        "timed": text and "\ufffd" not in "".join(pieces),
    }


def _split(source: str, behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": source}, "behavior": behavior, "invert": False}


def unknown_tokenizers(folder: Path) -> list[str]:
    """Files with a part that the libraries do not know: each must be refused, not misread."""
    parts = {
        "normalizer": ("normalizer", {"type": "Lowercase"}),
        "behaviour": ("pre_tokenizer", _split("a", behavior="Removed")),
        "map": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}),
        "splitter": ("pre_tokenizer", {"type": "BertPreTokenizer"}),
        "decoder": ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}),
        "no decoder": ("decoder", None),
        "model": ("model", {"type": "Unigram", "vocab": []}),
        "prefix": ("model", {"type": "BPE", "vocab": {}, "merges": [], "continuing_subword_prefix": "##"}),
        "merges": ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}),
        "vocabulary": ("model", {"type": "BPE", "vocab": {"a": "0"}, "merges": []}),
        "single word": ("added_tokens", [{"id": 1, "content": "<a>", "single_word": True}]),
    }
    sources = (
        r"\w",
        "a.b",
        "(ab)+",
        "a+?",
        "a*+",
        "(?<!ab)c",
        "(?<n>a)",
        "(a",
        "a)",
        "[",
        "[]",
        "[a[b]]",
        "[z-a]",
        "a{2",
        "*a",
    )
    parts |= {f"expression {n}": ("pre_tokenizer", _split(source)) for n, source in enumerate(sources)}
    whole = json.loads(_gpt2().to_str())
    files = []
    for name, (key, value) in parts.items():
        files.append(f"unknown-{name.replace(' ', '-')}.json")
        (folder / files[-1]).write_text(json.dumps(whole | {key: value}), encoding="utf-8")
    for name, text in {
        "depth": "[" * 100_000,
        "half": '{"a": "\\ud800"}',
        "cut": '{"a": [1, 2',
        "empty": "",
    }.items():
        files.append(f"unknown-{name}.json")
        (folder / files[-1]).write_text(text, encoding="utf-8")
    return files
