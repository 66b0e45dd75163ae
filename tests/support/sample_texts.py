"""Texts, alphabets and small trained tokenizers that tests of every tokenizer share."""

import io
import random

import sentencepiece
from tokenizers import AddedToken

MARKERS = ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
TEXT = [
    "Describe the image in detail, then name every colour that you can see in it.",
    "The cat sat on the mat; the mat was red. Is the cat on the mat?",
    "def area(width, height):\n    return width * height  # in pixels",
    "Das Bild zeigt ein Café mit drei Stühlen. L'image montre un café.",
    "这张图片里有什么？请详细描述。 画像を説明してください。",  # noqa: RUF001
    "1234567890 3.1415 2024-09-19 -- ---- ======== ........",
]


def train_sentencepiece(**options) -> bytes:
    model = io.BytesIO()
    settings = {
        "model_type": "bpe",
        "vocab_size": 480,
        "byte_fallback": True,
        "hard_vocab_limit": False,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 3), model_writer=model, **settings | options
    )
    return model.getvalue()


def added_tokens(first_id: int) -> dict[int, AddedToken]:
    return {
        first_id + n: AddedToken(marker, normalized=False, special=True) for n, marker in enumerate(MARKERS)
    }


KINDS = {
    "identity": {},
    "no prefix": {"add_dummy_prefix": False},
    "no byte fallback": {"byte_fallback": False},
    "tidy spaces": {"remove_extra_whitespaces": True},
    "user-defined": {"user_defined_symbols": ["——", "……", "[UNUSED_TOKEN_1]", "é", "<eoh>", "  ", "▁▁"]},
    "user-defined, no prefix": {"user_defined_symbols": ["——", "<eoh>"], "add_dummy_prefix": False},
}


def random_texts(count: int, seed: int, alphabets: list[str]) -> list[str]:
    dice = random.Random(seed)
    return [
        "".join(dice.choice(dice.choice(alphabets)) for _ in range(dice.randrange(1, 40)))
        for _ in range(count)
    ]


ALPHABETS = [
    "the image in detail", " ", "  \n\t\r", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789",
    ".,;:!?'\"()[]{}<>|/\\-=_+*&^%$#@~`",
    "éüßñçøÅŁαβγДжאבعربहिन्दีไทย한국어", "这张图片里有什么请详细描述画像を説明",
    "—…·•▁\u00a0\u200b\ufeff\u0301\u0323",
    "😀👍🏽❤️👨\u200d👩\u200d👧🇨🇭",
    "".join(map(chr, range(1, 32))), "".join(map(chr, range(0x80, 0x2FFF, 13))),
    "".join(map(chr, range(0x1F300, 0x1FAFF, 7))),
]  # fmt: skip
COMPATIBILITY = "①ﬁ™㎡Ⅷ½\uff21\uff22\uff11\uff12\uff0c\uff1a"
