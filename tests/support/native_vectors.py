"""What the Python package makes of the same inputs, for the tests of the Swift and Kotlin libraries to
compare with.

One folder: ``vectors.json``, ``vectors.safetensors`` and a ``tokenizer-*.json`` per kind of tokenizer.
Everything is computed when the tests run; nothing recorded lies in the repository.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from native_tokenizers import prompts, tokenizer_case, tokenizer_kinds, unknown_tokenizers
from PIL import Image
from safetensors.numpy import save_file

from phantom_edge.bundle.folder import Bundle
from phantom_edge.images import load_image, tile_grid
from phantom_edge.pipeline.export import ExportRequest
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session
from phantom_edge.text.prompt import TEMPLATES
from phantom_edge.text.tokenizer import Tokenizer
from recipes.synthetic import SMALL, write_checkpoint

Arrays = dict[str, np.ndarray]

# Width, height, tile, most tiles: odd sizes, both directions of resizing, every shape of grid.
IMAGES = (
    (1, 1, 14, 6), (7, 5, 28, 6), (101, 57, 28, 6), (57, 101, 28, 6), (64, 64, 64, 6), (333, 11, 28, 6),
    (11, 333, 28, 6), (127, 93, 56, 4), (259, 258, 56, 1), (61, 640, 42, 3), (201, 149, 112, 6),
)  # fmt: skip


def write_vectors(folder: Path) -> None:
    """Write every vector but those of a live session; see :func:`write_transcripts`."""
    arrays: Arrays = {}
    content = {
        "images": [_image(n, arrays, *case) for n, case in enumerate(IMAGES)],
        "grids": _grids(),
        "orientations": _orientations(arrays),
        "transparency": _transparency(arrays),
        "prompts": prompts(),
        "tokenizers": {name: tokenizer_case(folder, name, made) for name, made in tokenizer_kinds().items()},
        "unknown_tokenizers": unknown_tokenizers(folder),
        "sampling": _sampling(arrays),
        "splitmix": splitmix_cases(),
    }
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "vectors.safetensors"
    )
    (folder / "vectors.json").write_text(json.dumps(content, ensure_ascii=True), encoding="utf-8")
    for name, copy in (("crop", "crops"), ("confidence", "confidence")):
        shutil.copy(Path(__file__).with_name(f"{name}_vectors.json"), folder / f"{copy}.json")


# --- pictures


def _picture(width: int, height: int, seed: int) -> np.ndarray:
    """Noise over a gradient: no two pixels alike, and edges that make a bicubic filter overshoot."""
    dice = np.random.default_rng(seed)
    noise = dice.integers(0, 256, (height, width, 3))
    slope = np.linspace(0, 255, width)[None, :, None]
    blocks = (np.indices((height, width)).sum(0) // 9 % 2 * 255)[..., None]
    return np.where(dice.random((height, width, 1)) < 0.5, blocks, (noise + slope) / 2).astype(np.uint8)


def _image(number: int, arrays: Arrays, width: int, height: int, tile: int, most: int) -> dict[str, int]:
    picture = Image.fromarray(_picture(width, height, number))
    columns, rows = tile_grid(width, height, tile_size=tile, max_tiles=most)
    tiles = _tiles(picture, columns, rows, tile)
    arrays[f"image.{number}"] = np.asarray(picture)
    arrays[f"tiles.{number}"] = tiles
    arrays[f"pixels.{number}"] = tiles[:1].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(
        255
    )  # [1, 3, S, S]
    return {"tile": tile, "max": most, "columns": columns, "rows": rows}


def _tiles(picture: Image.Image, columns: int, rows: int, tile: int) -> np.ndarray:
    """[T, S, S, 3], resized with rows before columns, as every Pillow up to 12 does and the published code
    did.

    Pillow 13 takes columns first where the height shrinks much more than the width: steps of 255 apart.
    """

    def resized(width: int, height: int) -> np.ndarray:
        half = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
        return np.asarray(half.resize((width, height), Image.Resampling.BICUBIC))

    whole = resized(columns * tile, rows * tile)
    tiles = whole.reshape(rows, tile, columns, tile, 3).transpose(0, 2, 1, 3, 4).reshape(-1, tile, tile, 3)
    return np.concatenate([tiles, resized(tile, tile)[None]]) if len(tiles) > 1 else tiles


def _grids() -> list[list[int]]:
    dice = random.Random(3)
    rows = [
        [dice.randint(1, 4000), dice.randint(1, 4000), dice.choice([224, 448]), dice.randint(1, 12)]
        for _ in "x" * 400
    ]
    rows += [[side, side, 448, most] for side in (1, 448, 633, 634, 900, 1345) for most in (1, 4, 6, 9)]
    return [[*row, *tile_grid(row[0], row[1], tile_size=row[2], max_tiles=row[3])] for row in rows]


def _orientations(arrays: Arrays) -> list[str]:
    picture = Image.fromarray(_picture(5, 3, 99))
    arrays["upright.1"] = np.asarray(picture)
    for orientation in range(2, 9):
        turned = picture.copy()
        turned.getexif()[0x0112] = orientation
        arrays[f"upright.{orientation}"] = np.asarray(load_image(turned))
    return [f"upright.{n}" for n in range(1, 9)]


def _transparency(arrays: Arrays) -> dict[str, int]:
    rgba = np.random.default_rng(8).integers(0, 256, (16, 256, 4), dtype=np.uint8)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    arrays["rgba"] = rgba
    arrays["flattened"] = np.asarray(load_image(Image.fromarray(rgba)))
    return {"width": 256, "height": 16}


# --- choices


def _sampling(arrays: Arrays) -> list[dict[str, Any]]:
    """What a nucleus holds, and what is drawn from it: the published rule, and SplitMix64 laid over its
    weights.
    """
    dice = np.random.default_rng(4)
    cases = []
    settings = itertools.product((0.3, 1.0, 2.5), (0.05, 0.5, 0.9, 1.0), (0, 3))
    for number, (temperature, top_p, top_k) in enumerate(settings):
        logits = dice.normal(0, 3, 300).astype(np.float32)
        logits[7], logits[3] = logits[200], logits[200]  # ties: the smaller id comes first
        arrays[f"logits.{number}"] = logits
        kept, weights = (part[: top_k or None] for part in nucleus(logits, temperature, top_p))
        draws = [int(u) for u in _draws(kept, weights, seed=number, count=20)]
        cases.append(
            {
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "ids": kept.tolist(),
                "probabilities": (weights / weights.sum()).tolist(),
                "seed": number,
                "draws": draws,
                "greedy": Sampling().chooser()(logits),
            }
        )
    return cases


def sampling_cases() -> dict[str, Any]:
    """The same cases with their logits as numbers, and the generator's, for a reader of JSON alone."""
    arrays: Arrays = {}
    cases = [
        case | {"logits": arrays[f"logits.{number}"].tolist()}
        for number, case in enumerate(_sampling(arrays))
    ]
    return {"cases": cases, "splitmix": splitmix_cases()}


def splitmix_cases() -> dict[str, list[str]]:
    """The first five numbers of a few seeds."""
    return {str(seed): [str(value) for value in _splitmix(seed, 5)] for seed in (0, 1, 42, 2**64 - 1)}


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """Ids from the likeliest on, up to the first sum of probabilities that reaches ``top_p``, and their
    weights.
    """
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    order = np.lexsort((np.arange(len(weights)), -weights))
    if top_p == 1:
        return order, weights[order]
    count = int(np.argmax(np.cumsum(weights[order]) / weights.sum() >= top_p)) + 1
    return order[:count], weights[order[:count]]


def _draws(kept: np.ndarray, weights: np.ndarray, seed: int, count: int) -> list[int]:
    ends = np.cumsum(weights)
    units = [value >> 11 for value in _splitmix(seed, count)]
    return [
        int(kept[min(np.searchsorted(ends, math.ldexp(u, -53) * ends[-1], side="right"), len(kept) - 1)])
        for u in units
    ]


def _splitmix(seed: int, count: int) -> list[int]:
    """SplitMix64 as its authors give it, in integers without a width."""
    mask, values = 2**64 - 1, []
    for step in range(1, count + 1):
        z = (seed + step * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(z ^ (z >> 31))
    return values


# --- sessions


def export_small(target: str, folder: Path, monkeypatch: Any) -> Bundle:
    """A small model with random weights, which talks without end, as a bundle for ``target`` below
    ``folder``.

    Its context fills up soon, and its prompts are no whole number of chunks. It has two sizes of tiles.
    """
    from phantom_edge.pipeline import export as pipeline
    from phantom_edge.targets import target_for

    monkeypatch.setattr(pipeline, "target_for", lambda name: replace(target_for(name), chunk=48))
    checkpoint = write_checkpoint(folder / "checkpoint", SIZES, seed=3)
    request = ExportRequest(
        target, str(checkpoint), output=folder / "bundle", context=240, max_tiles=2,
        tile_sizes=(SIZES.image_size, SMALL_TILE), verify=False,
    )  # fmt: skip
    return pipeline.export(request).bundle


SIZES = replace(SMALL, vision_layers=2, layers=2)
SMALL_TILE = 112


def at_small_tile(bundle: Bundle, session: Session) -> Session:
    """The same backend with tiles of the bundle's further size."""
    return Session(session.backend, session.tokenizer, PromptSpec.of_bundle(bundle, SMALL_TILE))


# Width and height of the picture (None asks without one), then the questions of one conversation: text, most
# tokens, and whether the answer, of a first question only, is cut short by a stop text.
CONVERSATIONS = (
    (None, (("What is 2+2?", 12, True), ("And 3+3?", 9, False), ("Why? " * 30, 400, False))),
    ((97, 61), (("Is it red?", 4, False), ("How many?", 4, False))),
    ((64, 64), (("Describe the image in detail", 24, True), ("Go on", 6, False))),
    ((31, 200), (("çà 😀", 12, False),)),
)


def write_transcripts(folder: Path, session: Session, small: Session | None = None) -> None:
    """``transcripts.json``: conversations as the Python package's own session has them on the same
    backend; with ``small``, which has tiles of another size, those with a picture once more.
    """
    arrays: Arrays = {}
    talks = []
    again = [(small, talk) for talk in CONVERSATIONS if talk[0]] if small else []
    pairs = [(session, talk) for talk in CONVERSATIONS] + again
    for number, (session, (size, questions)) in enumerate(pairs):
        image = None if size is None else Image.fromarray(transcript_picture(number, size))
        if image is not None:
            arrays[f"image.{number}"] = np.asarray(image)
        (first, _, cut), *_ = questions
        ends = (
            _stops(session, image, first) if cut else ()
        )  # before the conversation: some runtimes hold one at a time
        chat, answers = session.chat(image), []
        for question, most, cut in questions:
            stops = ends if cut else ()
            text = "".join(chat.ask(question, max_tokens=most, stop=stops))
            spent = chat.timing
            answers.append(
                {
                    "question": question,
                    "max_tokens": most,
                    "stops": list(stops),
                    "text": text,
                    "ids": list(chat.ids),
                    "prompt_tokens": spent.prompt_tokens,
                    "new_tokens": spent.new_tokens,
                    "stop": spent.stop,
                }
            )
            assert not cut or spent.stop == "stop"
        tile = session.spec.tile_size
        talks.append({"image": image is not None, "tile_size": tile, "answers": answers})
    save_file(arrays, folder / "transcripts.safetensors")
    (folder / "transcripts.json").write_text(json.dumps(talks, ensure_ascii=True), encoding="utf-8")


def transcript_picture(number: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """``image.NUMBER`` of the transcripts [H, W, 3]."""
    return _picture(*(size or CONVERSATIONS[number][0]), 50 + number)


# --- ids of conversations, with every tokenizer


@dataclass
class _Counted:
    """A cache that holds nothing but its length."""

    length: int = 0


class CountingBackend:
    """Computes nothing: the likeliest next id, below 250, follows from the length of the cache.

    The Swift and Kotlin tests have the same (``CountingBackend``).
    """

    name, context, chunk = "counting", 4096, 48

    def __init__(self, tokens_per_tile: int, vocabulary: int):
        self.tokens_per_tile, self.vocabulary = tokens_per_tile, vocabulary

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        return np.zeros((len(pixels), self.tokens_per_tile, 1), dtype=np.float32)

    def embed(self, ids: np.ndarray) -> np.ndarray:
        return np.zeros((*ids.shape, 1), dtype=np.float32)

    def make_cache(self) -> _Counted:
        return _Counted()

    def decode(self, embeds: np.ndarray, cache: _Counted) -> np.ndarray:
        cache.length += embeds.shape[1]
        return np.eye(1, self.vocabulary, 7 * cache.length % 250, dtype=np.float32)[0]


TURNS = ("Is it red?", " leading", "\nline, and then\n", "的 çà 😀", "Why? " * 30)


def write_chats(folder: Path, bundle: Bundle) -> None:
    """``chats.json``: every id of conversations with every kind of tokenizer, with a picture and without one.

    A prompt is put together from parts, and a tokenizer may treat a part by itself as another text than the
    same part inside the whole. ``chats/N`` is the bundle with another tokenizer, for a `CountingBackend`.
    """
    chats = []
    for number, (name, made) in enumerate(tokenizer_kinds().items()):
        tokenizer, template, tiles = Tokenizer(made), TEMPLATES["chatml"], bundle.manifest.tiles
        image, end = (tokenizer.token_id(text) for text in (template.image_context, template.assistant_end))
        first = tokenizer.encode(template.user_start)[0]
        below = folder / "chats" / str(number)
        below.mkdir(parents=True)
        tokenizer.save(below / "tokenizer.json")
        manifest = json.loads((bundle.folder / "manifest.json").read_text(encoding="utf-8"))
        manifest |= {"context": CountingBackend.context, "chunk": CountingBackend.chunk}
        manifest["ids"] |= {"first": first, "image": image, "end": [end]}
        manifest["shape"] |= {"hidden": 1, "vocabulary": tokenizer.vocab_size}
        manifest["prompt"] = asdict(template)
        (below / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        backend = CountingBackend(tiles.tokens, tokenizer.vocab_size)
        spec = PromptSpec(template, image, (end,), first, tiles.size, tiles.tokens, tiles.max)
        chats.append({"name": name, "talks": _talks(Session(backend, tokenizer, spec))})
    (folder / "chats.json").write_text(json.dumps(chats, ensure_ascii=True), encoding="utf-8")


def _talks(session: Session) -> list[dict[str, Any]]:
    talks = []
    for size in (None, (64, 64), (97, 61)):
        chat = session.chat(None if size is None else Image.new("RGB", size))
        ids = [(list(chat.ask(question, max_tokens=3)), list(chat.ids))[1] for question in TURNS]
        chat.rewind()
        list(chat.ask(TURNS[1], max_tokens=3))
        talks.append({"size": size, "turns": TURNS, "ids": ids, "rewound": chat.ids})
    return talks


def _stops(session: Session, image: Image.Image | None, question: str) -> tuple[str, ...]:
    """A text that occurs in the answer, and one of which only the beginning does."""
    text = "".join(session.chat(image).ask(question, max_tokens=6))
    middle = len(text) // 2
    assert len(text) > 2
    return text[middle : middle + 2], text[1:3] + "\x00"
