"""Small tokenizers of every kind that is trimmed, as `tokenizers` trains them."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from phantom_edge.text.tokenizer import Tokenizer
from recipes.synthetic import TEXT

TEXTS = [
    *TEXT.splitlines(keepends=True),
    "Größe, naïve café; Ärger über Öl\n",
    "Все люди рождаются свободными\n",  # noqa: RUF001
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>"]


def byte_level(ignore_merges: bool = False) -> Tokenizer:
    """As Qwen2's: pieces of bytes, words cut by a pattern."""
    tokenizer = RustTokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _train(tokenizer, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens(SPECIAL)
    spec = json.loads(tokenizer.to_str())
    spec["model"]["ignore_merges"] = ignore_merges
    return Tokenizer.from_spec(spec)


def byte_fallback() -> Tokenizer:
    """As Phi-3's and Llama's: pieces of characters, and bytes for those that have none."""
    tokenizer = RustTokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    special = [*SPECIAL, *BYTES]
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # or it would learn whole lines
    _train(tokenizer, trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False))
    tokenizer.pre_tokenizer = None
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] in SPECIAL]
    tokenizer = RustTokenizer.from_str(json.dumps(spec))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    return Tokenizer.from_spec(json.loads(tokenizer.to_str()))


def unigram() -> Tokenizer:
    """As T5's, with bytes for characters that have no piece."""
    tokenizer = RustTokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>", "<|user|>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=200, unk_token="<unk>", special_tokens=special, show_progress=False
    )
    _train(tokenizer, trainer)
    return Tokenizer.from_spec(json.loads(tokenizer.to_str()))


KINDS = {
    "byte level": byte_level,
    "whole words": lambda: byte_level(ignore_merges=True),
    "byte fallback": byte_fallback,
    "unigram": unigram,
}


@cache
def tokenizer(kind: str) -> Tokenizer:
    """One of :data:`KINDS`, made once."""
    return KINDS[kind]()


def _train(tokenizer: RustTokenizer, trainer: trainers.Trainer) -> None:
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
