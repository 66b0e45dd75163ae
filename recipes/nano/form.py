"""What Phantom-Nano is before any training: its sizes, its tokenizer, its first weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.key_map import tensor_sources
from phantom_edge.checkpoint.published import Sizes, published_config
from phantom_edge.scenes import make_scene
from recipes.synthetic import AMPLIFY, END_TOKENS, TEXT, write_byte_level

SIZES = Sizes(
    hidden=192, ffn=512, layers=4, heads=6, kv_heads=2, vocabulary=768,
    vision_hidden=192, vision_ffn=768, vision_layers=8, vision_heads=3, image_size=192, patch_size=16,
)  # fmt: skip
KNOWS = (
    "Flat shapes in eight colours, short signs, number displays, gauges and arrows, drawn, printed or on a "
    "screen. Of anything else it says that it does not know it."
)
# Letters and digits stand alone, so that a sign is spelt; other words become a token with the space before.
SPLIT = r" ?[A-Z]?[a-z]+| ?[A-Z]|[0-9]| ?[^\sA-Za-z0-9]+|\s+"


def write_nano_tokenizer(folder: Path, sizes: Sizes = SIZES) -> dict[str, int]:
    """Train the byte-level BPE on the scenes' own words and write it; the ids of its special tokens."""
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    triples = [triple for i in range(1500) for triple in make_scene("train", i).triples()]
    texts = [f"user\n{t.question}assistant\n{t.answer}\n{t.wrong}" for t in triples]
    return write_byte_level(folder, sizes, split, texts + TEXT.splitlines(keepends=True) * 20)


def write_form(folder: Path, sizes: Sizes = SIZES) -> PhantomConfig:
    """Write tokenizer and ``config.json`` of a Phantom-Nano that is not trained yet."""
    ids = write_nano_tokenizer(folder, sizes)
    config = published_config(sizes, ids["<IMG_CONTEXT>"], ids[END_TOKENS[sizes.decoder]])
    config["phantom_edge"] = {"max_tiles": 1, "knows": KNOWS}  # one tile is all it ever sees in training
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return PhantomConfig.from_dict(config)


def initial_weights(config: PhantomConfig, seed: int) -> dict[str, torch.Tensor]:
    """Weights to begin with, by canonical name.

    The phantom's output matrices begin ``AMPLIFY`` times larger than the others, because eta = 1e-4 would
    otherwise make the phantom dimension of so small a model too faint to learn anything.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: _initial(name, shape, config, generator)
        for name, source in tensor_sources(config).items()
        for shape in [(sum(s[0] for _, s in source.parts), *source.parts[0][1][1:])]
    }
    if config.decoder.tied_head:
        weights["text_decoder.head.weight"] = weights["token_embedding.weight"]
    return weights


def _initial(
    name: str, shape: tuple[int, ...], config: PhantomConfig, generator: torch.Generator
) -> torch.Tensor:
    if name.endswith("position_embedding"):
        return 0.5 * _sine_positions(config.vision.grid, config.vision.hidden_size)
    if "norm" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name.endswith((".scale1", ".scale2")):
        return torch.full(shape, 0.5)
    if name.endswith("bias"):
        return torch.zeros(shape)
    draw = torch.randn(shape, generator=generator)
    if name.endswith(("class_embedding", "token_embedding.weight", "head.weight")):
        return 0.05 * draw
    scale = math.pow(math.prod(shape[1:]), -0.5)
    deep = 2 * (config.vision.layers if name.startswith("vision") else config.decoder.layers)
    if ".phantom." in name:
        return draw * scale * (AMPLIFY if name.endswith(".o.weight") else 1.0)
    ends_branch = ".layers." in name and name.endswith(
        (".proj.weight", ".fc2.weight", ".o.weight", ".down.weight")
    )
    return draw * scale * (math.pow(deep, -0.5) if ends_branch else 1.0)


def _sine_positions(grid: int, width: int) -> torch.Tensor:
    """Sines and cosines of row and column [1, 1 + grid * grid, width]; the class token's row is zero."""
    frequency = torch.exp(torch.arange(width // 4) * (-math.log(100.0) / (width // 4)))
    at = torch.arange(grid).float()[:, None] * frequency  # [grid, width / 4]
    axis = torch.cat([at.sin(), at.cos()], dim=-1)  # [grid, width / 2]
    rows, columns = axis[:, None].expand(-1, grid, -1), axis[None].expand(grid, -1, -1)
    places = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros(1, width), places])[None]
