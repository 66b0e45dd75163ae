"""Which pieces of a tokenizer a deployment needs: measured on texts, or by the script of their characters."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from phantom_edge.errors import InputError, did_you_mean, shown
from phantom_edge.progress import Step, no_step
from phantom_edge.system.reading import is_file, is_folder
from phantom_edge.text.corpus import Corpus
from phantom_edge.text.pieces import Pieces
from phantom_edge.text.prompt import PromptTemplate
from phantom_edge.text.scripts import PRESETS, Preset
from phantom_edge.text.tokenizer import Tokenizer

HELD_OUT: Final = 10
"""One of so many lines is held out of the measure of coverage; its pieces are kept all the same."""
_BATCH: Final = 512


@dataclass(frozen=True)
class VocabularyRequest:
    """What a vocabulary is measured by; ``size`` is the most pieces that it may have.

    Raises :class:`InputError` for what is neither preset nor file nor folder, and where there is no text.
    """

    texts: tuple[str, ...]
    size: int | None = None
    corpus: Corpus = field(init=False)

    def __post_init__(self) -> None:
        if self.size is not None and not self.texts:
            raise InputError("--vocab-size goes with --vocab, which says what a vocabulary is measured by")
        for text in self.texts:
            if text not in PRESETS and not is_file(Path(text)) and not is_folder(Path(text)):
                raise InputError(
                    f"--vocab {shown(text)}: no file, folder or preset{did_you_mean(text, PRESETS)}; presets "
                    f"are {', '.join(PRESETS)}"
                )
        paths = [Path(text) for text in self.texts if text not in PRESETS]
        object.__setattr__(self, "corpus", Corpus.of(paths))

    @property
    def presets(self) -> list[Preset]:
        return [PRESETS[text] for text in dict.fromkeys(self.texts) if text in PRESETS]

    @property
    def names(self) -> tuple[str, ...]:
        """Presets, and files and folders without what is above them, which is nobody's business."""
        return tuple(text if text in PRESETS else Path(text).resolve().name for text in self.texts)


@dataclass(frozen=True)
class Coverage:
    """How many of the ``tokens`` of held-out lines are among the pieces that the other lines need."""

    tokens: int
    covered: int

    @property
    def share(self) -> float:
        return self.covered / self.tokens


@dataclass(frozen=True)
class Vocabulary:
    """The pieces to keep, by what they were measured, and what the texts held."""

    kept_ids: tuple[int, ...]
    request: VocabularyRequest
    tokens: int = 0
    """Of the texts, by the whole tokenizer."""
    held_out: Coverage | None = None
    """None where the texts have too few lines."""


def measure(
    tokenizer: Tokenizer,
    template: PromptTemplate,
    request: VocabularyRequest,
    *,
    needed: Iterable[int] = (),
    step: Step = no_step,
) -> Vocabulary:
    """The pieces that the texts, the template and all bytes need, and of the presets as many as fit.

    ``needed`` are further ids to keep. Ids stay in their order, so that added tokens stay the last.

    Raises :class:`InputError` for a tokenizer that cannot be trimmed, a file that is no text, and texts that
    need more pieces than may be kept.

    >>> source = pe.Pretrained.open()
    >>> vocabulary = measure(source.tokenizer, source.template, VocabularyRequest(("en",), 400))
    >>> len(vocabulary.kept_ids)
    400
    """
    pieces = Pieces.of(tokenizer)
    parts = (template.render([("?", None)], 1), template.render_next("?"))
    base = pieces.always.union(
        needed, pieces.closure(index for part in parts for index in tokenizer.encode(part))
    )
    counts = _counted(tokenizer, request.corpus, step)
    kept = base | pieces.closure(np.flatnonzero(counts.used).tolist())
    if request.size is not None and len(kept) > request.size:
        raise InputError(
            f"--vocab-size {request.size}: the texts, bytes and added tokens need {len(kept)} pieces: "
            "allow that many, or give fewer texts"
        )
    step("vocabulary: choosing pieces by their script")
    own = {preset: _of_preset(pieces, tokenizer, preset) for preset in request.presets}
    if request.size is not None:
        kept = _filled(kept, pieces, frozenset().union(*own.values()), request.size)
    else:
        kept = kept.union(*(_filled(base, pieces, ids, preset.size) for preset, ids in own.items()))
    kept_ids = tuple(sorted(kept))
    coverage = counts.coverage(pieces, base.union(*own.values()))
    return Vocabulary(kept_ids, request, counts.tokens, coverage)


class _Counts:
    """What the texts use: ids in all of them, and tokens by id of the lines held out and of the others."""

    def __init__(self, size: int):
        self.used = np.zeros(size, dtype=bool)
        self.fitted, self.held_out = (np.zeros(size, dtype=np.int64) for _ in range(2))
        self.tokens = 0

    def add(self, batch: Batch, encoded: list[list[int]]) -> None:
        for text, ids in zip(batch.texts, encoded, strict=True):
            self.used[ids] = True
            if batch.lines:
                # By their content, so that a line which is there twice is held out twice, or not at all.
                counts = self.fitted if zlib.crc32(text.encode()) % HELD_OUT else self.held_out
                # Adding to a few places: counting over the whole vocabulary, line by line, would take long.
                np.add.at(counts, ids, 1)
            else:
                self.tokens += len(ids)

    def coverage(self, pieces: Pieces, others: frozenset[int]) -> Coverage | None:
        """Of the held-out lines' tokens, those that the other lines' pieces or ``others`` make."""
        if not self.held_out.any():
            return None
        known = pieces.closure(np.flatnonzero(self.fitted).tolist()) | others
        return Coverage(int(self.held_out.sum()), int(self.held_out[sorted(known)].sum()))


def _counted(tokenizer: Tokenizer, corpus: Corpus, step: Step) -> _Counts:
    counts = _Counts(tokenizer.vocab_size)
    for batch in batches(corpus, step, "reading texts"):
        counts.add(batch, tokenizer.encode_all(batch.texts))
    return counts


@dataclass(frozen=True)
class Batch:
    """Some texts of a corpus: a block of it, or ``lines``, each by itself.

    A line alone is what a person asks; in the block it stands where a model writes it.
    """

    texts: list[str]
    lines: bool


def batches(corpus: Corpus, step: Step, what: str) -> Iterator[Batch]:
    """The corpus, block by block, and after each block its lines."""
    done = 0
    for block in corpus.blocks():
        step(f"vocabulary: {what}, {done / 1e6:.1f} of {corpus.bytes / 1e6:.1f} MB")
        done += len(block.encode())
        yield Batch([block], lines=False)
        lines = [line for line in block.splitlines() if line.strip()]
        for start in range(0, len(lines), _BATCH):
            yield Batch(lines[start : start + _BATCH], lines=True)


def _filled(kept: Iterable[int], pieces: Pieces, ids: Iterable[int], size: int | None) -> frozenset[int]:
    """``kept``, then ``ids`` with all that make them, the lowest first, up to ``size`` in all."""
    filled, limit = set(kept), size or len(pieces.names)
    for index in sorted(ids):
        if len(filled) >= limit:
            break
        new = pieces.constituents(index) - filled
        if len(filled) + len(new) <= limit:
            filled |= new
    return frozenset(filled)


def _of_preset(pieces: Pieces, tokenizer: Tokenizer, preset: Preset) -> set[int]:
    """Pieces whose characters are all the preset's, and those by which each of its characters is encoded."""
    characters = preset.characters()
    texts = ((index, pieces.text(index)) for index in pieces.names)
    own = {index for index, text in texts if text is not None and characters.issuperset(text)}
    return own.union(*tokenizer.encode_all(characters))


@dataclass(frozen=True)
class Certificate:
    """What became of texts: how many there were, and of which the pieces, or the text, are others."""

    texts: int
    differing: int
    first: str = ""
    """Of those that differ."""


def certify_corpus(
    whole: Tokenizer, trimmed: Tokenizer, kept_ids: Sequence[int], corpus: Corpus, step: Step = no_step
) -> Certificate:
    """Whether the trimmed tokenizer makes the same pieces of every text as the whole one."""
    old_ids = np.array(kept_ids)

    def pairs() -> Iterator[tuple[str, bool]]:
        for batch in batches(corpus, step, "encoding texts with both tokenizers"):
            ids, own = (one.encode_all(batch.texts) for one in (whole, trimmed))
            for text, expected, new in zip(batch.texts, ids, own, strict=True):
                yield text, old_ids[new].tolist() == expected

    return _certificate(pairs())


def certify_round_trip(whole: Tokenizer, trimmed: Tokenizer, texts: Iterable[str]) -> Certificate:
    """Whether texts come back from the trimmed tokenizer as they do from the whole one."""

    def back(tokenizer: Tokenizer, text: str) -> str:
        return tokenizer.decode(tokenizer.encode(text), skip_special=False)

    return _certificate((text, back(whole, text) == back(trimmed, text)) for text in texts)


def _certificate(pairs: Iterable[tuple[str, bool]]) -> Certificate:
    texts = differing = 0
    first = ""
    for text, same in pairs:
        texts += 1
        if not same:
            first = first if differing else text
            differing += 1
    return Certificate(texts, differing, first)
