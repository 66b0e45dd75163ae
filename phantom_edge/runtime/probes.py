"""The prompts that ``verify`` asks, and what one runtime answers to them, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from phantom_edge.bundle.backend import Backend
from phantom_edge.errors import InputError
from phantom_edge.images import load_image, pixel_values
from phantom_edge.runtime.session import PromptSpec
from phantom_edge.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """A question, its ids, and the pixels of its image's tiles [T, 3, S, S] if it has one."""

    name: str
    ids: tuple[int, ...]
    pixels: np.ndarray | None


@dataclass
class Trace:
    """What a runtime computed for one prompt: ``logits`` [1 + n, vocab], of the prefill and of n cached
    steps.
    """

    image_tokens: np.ndarray | None
    embeddings: np.ndarray
    logits: np.ndarray


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
    """The prompts to verify with, each at most ``room`` tokens long: the user's, or two drawn pictures and a
    text.
    """
    if image is not None or question is not None:
        wanted = [
            (
                "yours",
                question or "Describe the image in detail",
                None if image is None else load_image(image),
            )
        ]
    else:
        drawn = default_images(spec.tile_size)
        wanted = [
            ("square", "What colour is it?", drawn["square"]),
            ("wide", "Describe the image in detail", drawn["wide"]),
            ("text", "What is 2+2? Answer briefly.", None),
        ]
    made = [_prompt(spec, tokenizer, *one) for one in wanted]
    fitting = [prompt for prompt in made if len(prompt.ids) <= room]
    if not fitting:
        raise InputError(
            f"no prompt fits: the shortest has {min(len(p.ids) for p in made)} tokens, there is room for "
            f"{room}"
        )
    return fitting


def _prompt(
    spec: PromptSpec, tokenizer: Tokenizer, name: str, question: str, image: Image.Image | None
) -> Prompt:
    pixels = (
        None if image is None else pixel_values(image, tile_size=spec.tile_size, max_tiles=spec.max_tiles)
    )
    rows = None if pixels is None else len(pixels) * spec.tokens_per_tile
    return Prompt(name, tuple(tokenizer.encode(spec.template.render([(question, None)], rows))), pixels)


class Runner:
    """Runs prompts on a backend, in chunks of ``chunk`` tokens, and keeps every number that is to be
    compared.
    """

    def __init__(self, backend: Backend, image_token_id: int, chunk: int):
        self.backend, self.image_token_id, self.chunk = backend, image_token_id, chunk

    def forced(self, prompt: Prompt, tokens: list[int]) -> Trace:
        """Prefill, then append ``tokens`` one by one whatever the model would have chosen."""
        return self._run(prompt, iter(tokens), len(tokens))[0]

    def greedy(self, prompt: Prompt, count: int) -> tuple[Trace, list[int]]:
        """Prefill, then append the model's own choice ``count`` times; end tokens do not stop it."""
        return self._run(prompt, None, count)

    def _run(self, prompt: Prompt, forced, count: int) -> tuple[Trace, list[int]]:
        image = None if prompt.pixels is None else np.asarray(self.backend.encode_image(prompt.pixels))
        embeddings = self._embed(prompt.ids, image)
        cache, logits, tokens = self.backend.make_cache(), [], []
        for start in range(0, embeddings.shape[1], self.chunk):
            last = self.backend.decode(embeddings[:, start : start + self.chunk], cache)
        logits.append(np.asarray(last, dtype=np.float32))
        for _ in range(count):
            tokens.append(next(forced) if forced is not None else int(logits[-1].argmax()))
            embedded = self.backend.embed(np.array([tokens[-1:]], dtype=np.int64))
            logits.append(np.asarray(self.backend.decode(embedded, cache), dtype=np.float32))
        return Trace(image, embeddings, np.stack(logits)), tokens

    def _embed(self, ids: tuple[int, ...], image: np.ndarray | None) -> np.ndarray:
        array = np.array([ids], dtype=np.int64)
        parts = range(0, len(ids), self.chunk)
        embeddings = np.concatenate(
            [self.backend.embed(array[:, at : at + self.chunk]) for at in parts], axis=1
        )
        embeddings = np.array(embeddings, dtype=np.float32)
        if image is not None:
            embeddings[array == self.image_token_id] = image.reshape(-1, image.shape[-1])
        return embeddings
