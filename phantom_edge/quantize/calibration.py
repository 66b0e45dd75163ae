"""Calibration data: a few pictures with questions and answers, packed so that each picture is read once.

What is shipped is drawn: scenes of the train split under a seed of their own, so nothing of it is in a test.
A folder of one's own holds pictures, and, if there are any, questions and answers in one ``.jsonl`` file as
``phantom-edge tune`` reads them; without, each picture is met by a few general questions.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.images import DEFAULT_MAX_TILES, load_image, pixel_values
from phantom_edge.model.sequence_ops import ModelInput

if TYPE_CHECKING:
    from PIL.Image import Image

    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.text.packing import Packed, Packer, Segment

SAMPLES: Final = 48
HELD_OUT: Final = 64
"""Of 16, single positions led the mean: the order of sums moved it by 40 percent. Of 64 it moves by two."""
LARGE: Final = 100_000_000
"""Parameters from which on fewer samples are taken: so many, and half as many to measure on."""
LARGE_SAMPLES: Final = 16
FEWEST: Final = 8
"""Pictures, at least: with fewer the statistics describe the pictures and not the model."""
MOST: Final = 4096
SEED: Final = 20240914
"""Of the drawn pictures; no training uses it."""
QUESTIONS: Final = 8
"""Most questions per picture, tasks taken in turn."""
GENERAL: Final = (
    "Describe the image in detail.", "What is in the image?", "What colour is the largest object?",
)  # fmt: skip
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Question:
    """A question on a sample's picture; without an answer, only the first token after it is compared."""

    text: str
    answer: str | None = None
    wrong: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(ModelInput):
    """One picture with its questions in one sequence, each question seeing the picture and itself only.

    Attributes:
        packed: the segments of the sequence, the tokens to predict and the segment that each is of.
        questions: in order; with ``pairs`` each right answer is followed by its wrong one as a segment.
    """

    pixels: Tensor
    packed: Packed
    questions: tuple[Question, ...] = field(repr=False)

    @property
    def tokens(self) -> int:
        return self.ids.shape[1]


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Samples, what they are in words, and a SHA-256 of everything a model would see of them."""

    name: str
    samples: tuple[Sample, ...]
    sha256: str

    @property
    def positions(self) -> int:
        """How many next tokens are compared."""
        return sum(len(sample.sources) for sample in self.samples)

    @property
    def tokens(self) -> int:
        return sum(sample.tokens for sample in self.samples)

    def split(self, share: float) -> tuple[CalibrationSet, CalibrationSet]:
        """The set in two, to fit on the first and to measure on the second, an evenly taken ``share``."""
        step = max(2, round(1 / share))
        last = self.samples[step - 1 :: step]
        first = tuple(sample for n, sample in enumerate(self.samples) if (n + 1) % step)
        return _set(f"{self.name}, to fit on", first), _set(f"{self.name}, held out", last)

    def to_dict(self) -> dict[str, object]:
        """For the manifest."""
        return {
            "name": self.name,
            "samples": len(self.samples),
            "tokens": self.tokens,
            "positions": self.positions,
            "sha256": self.sha256,
        }


def drawn_set(
    source: Pretrained, count: int = SAMPLES, *, split: str = "train", pairs: bool = False, first: int = 0
) -> CalibrationSet:
    """The shipped set: ``count`` drawn scenes of a split with their questions, from number ``first`` on.

    >>> drawn_set(pe.Pretrained.open(), 8).name
    '8 drawn scenes of the train split'
    """
    from phantom_edge.scenes import make_scene

    check_count(count)
    samples = []
    for index in range(first, first + count):
        scene = make_scene(split, index, SEED)
        questions = [Question(t.question, t.answer, t.wrong) for t in scene.triples()]
        chosen = _in_turn(questions, [t.task for t in scene.triples()], random.Random(index))
        image = scene.render(source.config.tile_size)
        samples.append(sample_of(source, f"scene {split}/{index}", image, chosen, pairs=pairs))
    return _set(f"{count} drawn scenes of the {split} split", samples)


def folder_set(
    source: Pretrained, folder: str | Path, count: int | None = None, *, pairs: bool = False
) -> CalibrationSet:
    """Pictures of a folder, with the questions and answers of its ``.jsonl`` file if it has one.

    Raises :class:`InputError`: no such folder, two ``.jsonl`` files, too few pictures, a bad picture or line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --calibrate takes a folder of pictures")
    pictures = _questions_by_picture(folder)
    if count is not None:
        check_count(count)
        pictures = dict(list(pictures.items())[:count])
    if len(pictures) < FEWEST:
        raise InputError(f"{folder}: {len(pictures)} pictures are too few; give {FEWEST}, better {SAMPLES}")
    if len(pictures) > MOST:
        raise InputError(f"{folder}: {len(pictures)} pictures; choose with --samples (at most {MOST})")
    samples = []
    for path, questions in pictures.items():
        chosen = questions[:QUESTIONS] or [Question(text) for text in GENERAL]
        samples.append(sample_of(source, path.name, load_image(path), chosen, pairs=pairs))
    return _set(f"{len(samples)} pictures of {folder.name}", samples)


def calibration_sets(
    source: Pretrained, folder: Path | None, samples: int | None
) -> tuple[CalibrationSet, CalibrationSet]:
    """Samples to fit on and others to measure on: of ``folder``, or drawn.

    ``samples`` is how many, None takes what suits the model. Raises as :func:`folder_set`.
    """
    if folder is not None:
        return folder_set(source, folder, samples).split(0.25)
    large = source.checkpoint.parameters > LARGE
    fit = drawn_set(source, samples or (LARGE_SAMPLES if large else SAMPLES))
    return fit, drawn_set(source, LARGE_SAMPLES // 2 if large else HELD_OUT, split="validation")


def check_count(count: int) -> None:
    """Raise :class:`InputError` for too few or too many samples."""
    if not FEWEST <= count <= MOST:
        raise InputError(f"{count} calibration samples: give {FEWEST} to {MOST}; fewer tell too little")


def sample_of(
    source: Pretrained, name: str, image: Image, questions: Sequence[Question], *, pairs: bool = False
) -> Sample:
    """One picture and its questions as the model reads them; questions that no longer fit are left out."""
    from phantom_edge.text.packing import Packer

    config = source.config
    max_tiles = min(DEFAULT_MAX_TILES, config.max_tiles or DEFAULT_MAX_TILES)
    pixels = torch.from_numpy(pixel_values(image, tile_size=config.tile_size, max_tiles=max_tiles))
    packer = Packer(source.template, source.tokenizer, config.tokens_per_tile)
    prefix = packer.prefix(len(pixels))
    room = config.decoder.rope.original_context - len(prefix)
    segments, kept = [], []
    for question in questions:
        answers = [question.answer or "", *([question.wrong] if pairs and question.wrong else [])]
        new = [_segment(packer, question.text, answer) for answer in answers]
        if all(len(segment) <= room for segment in new):
            segments += new
            kept.append(question)
    if not segments:
        raise InputError(f"{name}: takes {len(prefix)} tokens: no room for a question; use a smaller one")
    packed = packer.pack([prefix], [segments])
    return Sample(
        name=name,
        ids=packed.ids,
        sources=packed.sources,
        pixels=pixels,
        image_places=packed.ids == config.image_token_id,
        positions=packed.positions[0],
        mask=packed.mask[0],
        packed=packed,
        questions=tuple(kept),
    )


def _segment(packer: Packer, question: str, answer: str) -> Segment:
    segment = packer.segment(question, answer)
    # Without an answer only the token right after the prompt is compared, whatever it should have been.
    return segment if answer else replace(segment, answer=segment.answer[:1])


def _in_turn(questions: Sequence[Question], tasks: Sequence[str], rng: random.Random) -> list[Question]:
    """At most ``QUESTIONS`` of them, one of each task before a second of any."""
    by_task: dict[str, list[Question]] = {}
    for question, task in zip(questions, tasks, strict=True):
        by_task.setdefault(task, []).append(question)
    for queue in by_task.values():
        rng.shuffle(queue)
    rounds = [queue[n] for n in range(QUESTIONS) for queue in by_task.values() if n < len(queue)]
    return rounds[:QUESTIONS]


def _questions_by_picture(folder: Path) -> dict[Path, list[Question]]:
    lines = sorted(folder.glob("*.jsonl"))
    if len(lines) > 1:
        raise InputError(f"{folder}: holds {lines[0].name} and {lines[1].name}; keep one with the questions")
    if not lines:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return {path: [] for path in files if path.suffix.lower() in SUFFIXES}
    from phantom_edge.training.triples import read_triples

    pictures: dict[Path, list[Question]] = {}
    for line in read_triples(lines[0], folder).lines:
        if line.image is not None:
            question = Question(line.question, line.answer, line.wrong)
            pictures.setdefault(folder / line.image, []).append(question)
    return pictures


def _set(name: str, samples: Sequence[Sample]) -> CalibrationSet:
    digest = hashlib.sha256()
    for sample in samples:
        for tensor in (sample.pixels, sample.ids, sample.packed.positions, sample.sources):
            digest.update(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
    return CalibrationSet(name, tuple(samples), digest.hexdigest())
