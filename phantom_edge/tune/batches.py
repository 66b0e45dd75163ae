"""Lines into what the model takes, and in which order; any step can be made again from seed and number."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.images import load_image, pixel_values, tile_count
from phantom_edge.text.packing import Packed, Packer, Segment
from phantom_edge.training.triples import Line, Triples
from phantom_edge.tune.pictures import Pictures


@dataclass(frozen=True)
class Encoded:
    """The ids of one line: the right answer's segment, and the wrong one's where it takes part."""

    line: Line
    right: Segment
    wrong: Segment | None

    @property
    def learned(self) -> int:
        """Tokens of the right answer."""
        return len(self.right.answer)


@dataclass(frozen=True)
class MicroBatch:
    """Lines that are computed together.

    ``pixels`` has one [T, 3, S, S] per picture, in the order of the sequences. ``right`` [N] is True at
    tokens of right answers; ``chosen`` and ``rejected`` [P] number the segments of each pair. ``tokens``
    counts what is read.
    """

    packed: Packed
    pixels: tuple[Tensor, ...]
    right: Tensor
    chosen: Tensor
    rejected: Tensor
    learned: int
    tokens: int

    @property
    def pairs(self) -> int:
        return len(self.chosen)

    def to(self, device: str) -> MicroBatch:
        """The same on another device."""
        right, chosen, rejected = (t.to(device) for t in (self.right, self.chosen, self.rejected))
        pixels = tuple(p.to(device) for p in self.pixels)
        packed = self.packed.to(device)
        return replace(self, packed=packed, pixels=pixels, right=right, chosen=chosen, rejected=rejected)


class Collator:
    """Encodes lines with the checkpoint's template and tokenizer; those of one picture share a sequence."""

    def __init__(self, source: Pretrained, triples: Triples, pictures: Pictures, max_tiles: int):
        self.packer = Packer(source.template, source.tokenizer, source.config.tokens_per_tile)
        self._triples, self._pictures = triples, pictures
        self._tile_size, self._max_tiles = source.config.tile_size, max_tiles
        self._context = source.config.decoder.rope.original_context
        self._prefix = functools.cache(self.packer.prefix)

    def encode(self, line: Line, *, wrong: bool) -> Encoded:
        """The ids of a line. Raises :class:`InputError` naming it: reserved text, or too long a one."""
        try:
            segments = [
                self.packer.segment(line.question, answer, image=line.image is not None)
                for answer in (line.answer, line.wrong if wrong else None)
                if answer is not None
            ]
        except InputError as error:
            raise InputError(f"{self._triples.where(line)}: {error}") from None
        before = len(self._prefix(self._tiles(line.image)))
        if (length := before + max(map(len, segments))) > self._context:
            image = f" ({before} of them the picture's; fewer with --max-tiles)" if line.image else ""
            what = f"{length} tokens{image}, the model's context holds {self._context}"
            raise InputError(f"{self._triples.where(line)}: {what}; shorten the text")
        return Encoded(line, segments[0], segments[1] if len(segments) > 1 else None)

    def collate(self, batch: Sequence[Encoded]) -> MicroBatch:
        """One sequence per picture, in order of appearance, and one of the lines without a picture."""
        rows: dict[str | None, list[Encoded]] = {}
        for encoded in batch:
            rows.setdefault(encoded.line.image, []).append(encoded)
        groups: list[list[Segment]] = []
        right: list[int] = []
        chosen: list[int] = []
        rejected: list[int] = []
        count = 0
        for row in rows.values():
            groups.append([])
            for encoded in row:
                right.append(count)
                if encoded.wrong is not None:
                    chosen.append(count)
                    rejected.append(count + 1)
                new = [encoded.right] if encoded.wrong is None else [encoded.right, encoded.wrong]
                groups[-1] += new
                count += len(new)
        prefixes = [self._prefix(self._tiles(image)) for image in rows]
        packed = self.packer.pack(prefixes, groups)
        return MicroBatch(
            packed,
            tuple(self._pixels(image) for image in rows if image is not None),
            torch.isin(packed.answers, torch.tensor(right)),
            torch.tensor(chosen, dtype=torch.long),
            torch.tensor(rejected, dtype=torch.long),
            learned=sum(encoded.learned for encoded in batch),
            tokens=sum(map(len, prefixes)) + sum(len(segment) for group in groups for segment in group),
        )

    def _tiles(self, image: str | None) -> int:
        if image is None:
            return 0
        picture = self._pictures[image]
        return tile_count(picture.width, picture.height, tile_size=self._tile_size, max_tiles=self._max_tiles)

    def _pixels(self, image: str) -> Tensor:
        rgb = load_image(self._triples.picture(image))
        return torch.from_numpy(pixel_values(rgb, tile_size=self._tile_size, max_tiles=self._max_tiles))


class Order:
    """Which lines each optimiser step learns from: passes over all of them, shuffled anew each time.

    Lines of one picture stay together, so that the picture is encoded and read once for all of them.
    """

    def __init__(self, lines: Sequence[Line], batch: int, seed: int):
        self.batch = batch
        groups: dict[str | int, list[Line]] = {}
        for line in lines:
            groups.setdefault(line.number if line.image is None else line.image, []).append(line)
        self._groups, self._size = list(groups.values()), len(lines)
        self._seed = seed
        self._pass = functools.lru_cache(maxsize=2)(self.one_pass)

    def step(self, stage: int, step: int) -> list[Line]:
        """The lines of optimiser step ``step`` (from 0) of the recipe's step ``stage``."""
        places = range(step * self.batch, (step + 1) * self.batch)
        return [self._pass(stage, place // self._size)[place % self._size] for place in places]

    def one_pass(self, stage: int, number: int) -> list[Line]:
        """All lines once, in the order of pass ``number`` (from 0)."""
        rng = random.Random(f"{self._seed}/{stage}/{number}")
        groups = rng.sample(self._groups, len(self._groups))
        return [line for group in groups for line in rng.sample(group, len(group))]


def hold_out(lines: Sequence[Line], count: int, seed: int) -> tuple[list[Line], list[Line]]:
    """Lines to train on and at least ``count`` to validate with, chosen by seed; no picture is in both.

    Raises :class:`InputError` when nothing would be left to train on.
    """
    chosen = Order(lines, 1, seed).one_pass(0, 0)[:count]
    numbers, images = {line.number for line in chosen}, {line.image for line in chosen} - {None}
    train: list[Line] = []
    held_out: list[Line] = []
    for line in lines:
        (held_out if line.number in numbers or line.image in images else train).append(line)
    if not train:
        raise InputError(f"--validation {count} holds out all {len(lines)} lines: give less")
    return train, held_out
