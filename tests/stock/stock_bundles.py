"""What the tests of stock packages share: bundles, questions, our own answers, and the code of
``docs/runtimes.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.images import load_image, pixel_values
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import default_images
from phantom_edge.targets import Format

WEBGPU = Format(
    "onnx-webgpu",
    "ONNX (WebGPU)",
    "phantom_edge.export.onnx.webgpu",
    "phantom_edge.runtime.onnx_backend:OnnxBackend",
    unrounded=(("mode", "lifted"),),
)
MAX_TILES = 6  # also where a checkpoint was trained on one tile: the packages must place several
DOCS = Path(__file__).resolve().parents[2] / "docs" / "runtimes.md"
QUESTIONS = (
    "What colour is it?",
    "Describe the image in detail",
    "What is 2+2? Answer briefly.",
    "Is it red?",
)


@dataclass(frozen=True)
class Question:
    """A question, about a picture if one is given."""

    text: str
    image: Path | None = None


@dataclass(frozen=True)
class Answer:
    """Our session's greedy answer: the prompt's ids, the ids that follow, and their text."""

    prompt: list[int]
    ids: list[int]
    text: str


class Bundles:
    """Bundles below one folder, each exported when first asked for. Verify has tests of its own.

    Random weights take a float recipe: integer activations have one range over a call, the packages encode
    all tiles in one call and our session one by one, and where a model knows nothing that decides between
    nearly tied tokens.
    """

    def __init__(self, root: Path):
        self.root = root
        self._made: dict[tuple, Bundle] = {}

    def __call__(self, target: str, model: Path | None = None, quant: str | None = None, **options) -> Bundle:
        key = (target, model, quant, *sorted(options.items()))
        if key not in self._made:
            name = None if model is None else str(model)
            output = self.root / str(len(self._made))
            options = {"max_tiles": MAX_TILES, **options}
            request = ExportRequest(
                target=target,
                model=name,
                output=output,
                verify=False,
                quantize=QuantizeOptions(quant),
                **options,
            )
            self._made[key] = export(request).bundle
        return self._made[key]


def documented(name: str) -> str:
    """The block of the documentation whose fence says ``name``, such as ``python genai``."""
    (block,) = re.findall(rf"^```{re.escape(name)}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)
    return block


def pictures(bundle: Bundle, folder: Path) -> dict[str, Path]:
    """Two drawn pictures whose tiles need no resizing: ``square`` is one tile, ``wide`` two and a
    thumbnail.
    """
    paths = {}
    for name, image in default_images(bundle.manifest.tiles.size).items():
        paths[name] = folder / f"{name}.png"
        image.save(paths[name])
    return paths


def questions(bundle: Bundle, folder: Path) -> list[Question]:
    """One question about one tile, one about several, one without a picture."""
    made = pictures(bundle, folder)
    return [
        Question(QUESTIONS[0], made["square"]),
        Question(QUESTIONS[1], made["wide"]),
        Question(QUESTIONS[2]),
    ]


def tiles(bundle: Bundle, image: Path) -> np.ndarray:
    """A picture's tiles [T, 3, S, S]."""
    policy = bundle.manifest.tiles
    return pixel_values(load_image(image), tile_size=policy.size, max_tiles=policy.max)


def prompt_of(session: Session, bundle: Bundle, question: Question) -> list[int]:
    """The ids of a question's prompt."""
    rows = (
        None if question.image is None else len(tiles(bundle, question.image)) * bundle.manifest.tiles.tokens
    )
    return session.tokenizer.encode(session.spec.template.render([(question.text, None)], rows))


def answer(session: Session, bundle: Bundle, question: Question, count: int) -> Answer:
    """Our own answer, ``count`` tokens or up to and with an end token."""
    prompt, ids = prompt_of(session, bundle, question), []
    cache: Any = session.backend.make_cache()
    image = None if question.image is None else session.encode_image(question.image)
    logits = session.prefill(prompt, cache, image)
    for choice in islice(session.decode(logits, cache), count):
        ids.append(choice.token)
        if choice.token in session.spec.end_ids:
            break
    return Answer(prompt, ids, session.tokenizer.decode(ids))
