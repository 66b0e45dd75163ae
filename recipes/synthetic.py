"""Random Phantom checkpoints in the published format, for tests and benchmarks.

The weights are random but scaled so that every part matters: activations keep their variance from layer to
layer, and the phantom output matrices are amplified, because with eta = 1e-4 a freshly initialised phantom
dimension would be below what any check can see.

    python -m recipes.synthetic DIR
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phantom_edge.checkpoint.published import Sizes, published_config

if TYPE_CHECKING:
    import torch
    from tokenizers.pre_tokenizers import PreTokenizer

    from phantom_edge.checkpoint.config import PhantomConfig

# Factor on linear_o: the phantom dimension then moves logits by tenths, as in the recorded outputs.
AMPLIFY = 3000.0
LOGIT_STD = 2.0
TEXT = """What colour is the largest object in the picture? The red cube stands left of the blue sphere.
How many green triangles are on the table? There are three. Is there a yellow sign above the door? No, there is not.
Read the sign. It says STOP. Read the number on the meter: 0123456789. The arrow points up, down, left, right.
Describe the image in detail. A small white circle is near a big black square, and a purple star lies behind it.
The needle of the gauge shows 42 percent. Which shape is closest to the camera? The orange cylinder in front.
Answer with the option's letter from the given choices directly. Answer the question using a single word or phrase.
Please answer yes or no. (A) a ring (B) a cone (C) a box (D) none of them; user assistant system question answer\n"""  # noqa: E501


SMALL = Sizes()
TINY = Sizes(
    hidden=64, ffn=96, layers=2, heads=4, kv_heads=2, vocabulary=320,
    vision_hidden=32, vision_ffn=64, vision_layers=2, vision_heads=2, image_size=56,
)  # fmt: skip
TINY_FAMILIES = {
    "qwen2": TINY,
    "internlm2": replace(TINY, decoder="internlm2", tied=False, vocabulary=384),
    "phi3": replace(TINY, decoder="phi3", kv_heads=4, tied=False),
}
SPECIAL_TOKENS = {
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "internlm2": ["<|im_start|>", "<|im_end|>"],
    "phi3": ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
}
IMAGE_TOKENS = ["<img>", "</img>", "<IMG_CONTEXT>"]
END_TOKENS = {"qwen2": "<|im_end|>", "internlm2": "<|im_end|>", "phi3": "<|end|>"}


def write_checkpoint(
    folder: Path,
    sizes: Sizes = SMALL,
    *,
    seed: int = 0,
    dtype: str = "bfloat16",
    amplify: float = AMPLIFY,
    shards: int = 1,
) -> Path:
    """Write config, tokenizer and weights to ``folder`` and return it. The same seed gives the same bytes.

    ``dtype`` is ``float32``, ``float16`` or ``bfloat16``; with ``shards`` > 1 the weights come with an index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder, sizes)
    config = published_config(sizes, ids["<IMG_CONTEXT>"], ids[END_TOKENS[sizes.decoder]])
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    _write_weights(folder, config, seed, dtype, amplify, shards)
    return folder


def write_tokenizer(folder: Path, sizes: Sizes) -> dict[str, int]:
    """Train and write the family's kind of tokenizer; the ids of its special tokens."""
    special = SPECIAL_TOKENS[sizes.decoder] + IMAGE_TOKENS
    if sizes.decoder == "internlm2":
        return _write_sentencepiece(folder, sizes, special)
    from tokenizers import pre_tokenizers

    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return write_byte_level(folder, sizes, split, TEXT.splitlines(keepends=True) * 4)


def write_byte_level(folder: Path, sizes: Sizes, split: PreTokenizer, texts: Iterable[str]) -> dict[str, int]:
    """Train a byte-level BPE on some texts and write it; the ids of its special tokens.

    It is made exactly as large as the model's vocabulary, since some runtimes read as many logits as it has.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    def special_token(text: str) -> AddedToken:
        return AddedToken(text, special=True, normalized=False)

    special = SPECIAL_TOKENS[sizes.decoder] + IMAGE_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary,
        special_tokens=list(map(special_token, special)),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    spare = sizes.vocabulary - tokenizer.get_vocab_size()
    tokenizer.add_tokens([special_token(f"<|spare_{i}|>") for i in range(spare)])
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_TOKENS[sizes.decoder]}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=1) + "\n")
    ids = tokenizer.get_vocab()
    return {token: ids[token] for token in special}


def _write_sentencepiece(folder: Path, sizes: Sizes, special: list[str]) -> dict[str, int]:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines() * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=sizes.vocabulary - len(special),
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    ids = {token: sizes.vocabulary - len(special) + n for n, token in enumerate(special)}
    (folder / "added_tokens.json").write_text(json.dumps(ids, indent=1) + "\n")
    fields = {"tokenizer_class": "InternLM2Tokenizer", "additional_special_tokens": special}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields, indent=1) + "\n")
    return ids


def _write_weights(
    folder: Path, config: dict[str, Any], seed: int, dtype: str, amplify: float, shards: int
) -> None:
    import torch

    from phantom_edge.checkpoint.config import PhantomConfig
    from phantom_edge.checkpoint.key_map import tensor_sources
    from phantom_edge.checkpoint.saving import write_shards

    parsed = PhantomConfig.from_dict(config)
    shapes = {
        key: shape for source in tensor_sources(parsed).values() for key, shape in source.shapes().items()
    }
    generator = torch.Generator().manual_seed(seed)
    target = getattr(torch, dtype)
    tensors = {
        key: random_weight(key, shape, parsed, amplify, generator).to(target) for key, shape in shapes.items()
    }
    split = [i * shards // len(tensors) for i in range(len(tensors))]
    rows = list(zip(split, tensors.items(), strict=True))
    write_shards(folder, [dict(item for n, item in rows if n == shard) for shard in range(shards)])


def random_weight(
    key: str, shape: tuple[int, ...], config: PhantomConfig, amplify: float, generator: torch.Generator
) -> torch.Tensor:
    """One tensor, scaled by what it is: norms near 1, biases small, matrices by 1/sqrt(fan-in)."""
    import torch

    draw = torch.randn(shape, generator=generator)
    if ("norm" in key and key.endswith("weight")) or key == "vision_proj.0.weight":
        return 1 + 0.1 * draw
    if key.endswith(("ls1", "ls2")):
        return 0.5 + 0.1 * draw
    if key.endswith(("bias", "class_embedding", "position_embedding")):
        return 0.1 * draw
    if key.endswith(("embed_tokens.weight", "tok_embeddings.weight", "lm_head.weight", "output.weight")):
        return draw * LOGIT_STD * math.pow(config.decoder.hidden_size, -0.5)
    scale = amplify if key.endswith("phantom.linear_o.weight") else 1.0
    return draw * scale * math.pow(math.prod(shape[1:]), -0.5)


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]))
