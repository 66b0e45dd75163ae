"""The prompts that ``verify`` asks, and a runtime's trace of each: what it answers, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from phantom_edge.bundle.backend import Backend
from phantom_edge.errors import InputError
from phantom_edge.images import load_image, pixel_values
from phantom_edge.runtime import decoding
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.sampling import Choose, Floats, greedy
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.tokenizer import Tokenizer

QUESTION = "What colour is it?"  # the golden prompt's, which benchmarks time as well
DESCRIBE = "Describe the image in detail"


@dataclass(frozen=True)
class Prompt:
    """A question, its ids, and the pixels of its image's tiles [T, 3, S, S] if it has one.

    ``question`` and ``picture`` are what these were made of, for people.
    """

    name: str
    ids: tuple[int, ...]
    pixels: Floats | None
    question: str = ""
    picture: Image.Image | None = None


@dataclass
class Trace:
    """What a runtime computed for a prompt; ``logits`` [1 + n, vocab] of the prefill and n cached steps."""

    image_tokens: Floats | None
    embeddings: Floats
    logits: Floats


def default_images(tile: int) -> dict[str, Image.Image]:
    """Two drawn pictures: a square one (one tile) and a wide one (two tiles and the thumbnail)."""
    return {"square": _drawing(tile, tile), "wide": _drawing(2 * tile, tile)}


def _drawing(width: int, height: int) -> Image.Image:
    """Shapes over a gradient, so that every channel and every patch differs."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    base = np.stack(np.broadcast_arrays(across, down, (across + down) / 2), axis=-1).astype(np.uint8)
    image = Image.fromarray(base)
    draw, w, h = ImageDraw.Draw(image), width, height
    draw.rectangle((0.1 * w, 0.2 * h, 0.4 * w, 0.7 * h), fill=(200, 30, 30))
    draw.ellipse((0.5 * w, 0.3 * h, 0.9 * w, 0.8 * h), fill=(30, 60, 210))
    draw.polygon([(0.3 * w, 0.95 * h), (0.5 * w, 0.55 * h), (0.7 * w, 0.95 * h)], fill=(240, 220, 40))
    return image


def prompts(
    spec: PromptSpec, tokenizer: Tokenizer, room: int, image: Any = None, question: str | None = None
) -> list[Prompt]:
    """The user's prompt, or two drawn pictures and a text: those of at most ``room`` tokens."""
    if image is not None or question is not None:
        picture = None if image is None else load_image(image)
        made = [prompt_of(spec, tokenizer, "yours", question or DESCRIBE, picture)]
    else:
        drawn = default_images(spec.tile_size)
        made = [
            prompt_of(spec, tokenizer, "square", QUESTION, drawn["square"]),
            prompt_of(spec, tokenizer, "wide", DESCRIBE, drawn["wide"]),
            prompt_of(spec, tokenizer, "text", "What is 2+2? Answer briefly.", None),
        ]
    fitting = [prompt for prompt in made if len(prompt.ids) <= room]
    if not fitting:
        shortest = min(len(prompt.ids) for prompt in made)
        raise InputError(f"no prompt fits: the shortest has {shortest} tokens, there is room for {room}")
    return fitting


def prompt_of(
    spec: PromptSpec, tokenizer: Tokenizer, name: str, question: str, image: Image.Image | None
) -> Prompt:
    """A question, and the picture it is about if there is one, as a model reads them."""
    pixels = (
        None if image is None else pixel_values(image, tile_size=spec.tile_size, max_tiles=spec.max_tiles)
    )
    rows = None if pixels is None else len(pixels) * spec.tokens_per_tile
    ids = tuple(PromptEncoder(spec.template, tokenizer).first(question, rows))
    return Prompt(name, ids, pixels, question, image)


def trace_prompt(
    backend: Backend, prompt: Prompt, image_token_id: int, count: int, choose: Choose = greedy
) -> tuple[Trace, list[int]]:
    """Prefill, then append ``count`` tokens, also beyond an end token: the trace, and those tokens."""
    image = None if prompt.pixels is None else np.asarray(backend.encode_image(prompt.pixels))
    rows = None if image is None else image.reshape(-1, image.shape[-1])
    chunks, cache = list(decoding.embed(backend, prompt.ids, rows, image_token_id)), backend.make_cache()
    choices = decoding.generate(backend, cache, decoding.prefill(backend, cache, chunks), choose)
    tokens, logits = [], []
    for choice in islice(choices, count + 1):  # the last is chosen but not appended
        tokens.append(choice.token)
        logits.append(np.asarray(choice.logits, dtype=np.float32))
    embeddings = np.concatenate(chunks, axis=1, dtype=np.float32)
    return Trace(image, embeddings, np.stack(logits)), tokens[:count]
