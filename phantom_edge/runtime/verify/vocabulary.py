"""A trimmed vocabulary: what is left of the checkpoint's, whether it is whole, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.vocabulary import read_kept
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.tailored import VOCABULARY_ROWS
from phantom_edge.errors import InputError, shown
from phantom_edge.model.folded import FoldedModel
from phantom_edge.quantize.mixed import matrix_bytes
from phantom_edge.report.report import Check, Table, megabytes
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.verify.subject import Subject
from phantom_edge.text.pieces import Pieces
from phantom_edge.text.scripts import SAMPLES, assorted
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.text.vocabulary import certify_round_trip


def trimmed(bundle: Bundle, source: Pretrained) -> Pretrained:
    """The checkpoint with the rows that a bundle has, and its tokenizer with their pieces.

    Raises :class:`InputError` for a list of ids that no export of this checkpoint writes.
    """
    kept = read_kept(bundle)
    if kept is None or source.kept_ids == kept:
        return source
    try:
        return source.trimmed(kept)
    except InputError as error:
        raise InputError(f"{bundle.folder}: {error}; export the bundle again") from None


def checks(subject: Subject) -> list[Check]:
    """That the kept pieces are whole, and that any text comes back as from the checkpoint's tokenizer."""
    whole, kept = subject.source.whole, subject.source.kept_ids
    if whole is None or kept is None:
        return []
    pieces, ids = Pieces.of(whole.tokenizer), set(kept)
    incomplete = [index for index in kept if not (made := pieces.constituents(index)) or not made <= ids]
    names = pieces.always - ids
    back = certify_round_trip(whole.tokenizer, subject.source.tokenizer, assorted())
    return [
        Check("pieces that are kept", len(kept), detail=_left_out(subject.model, len(pieces.names), kept)),
        Check.at_most(
            "kept pieces that lack one that makes them",
            len(incomplete),
            0,
            "so every text of kept pieces is encoded by the same pieces as before",
            f"first: {shown(pieces.names.get(incomplete[0]))}" if incomplete else "",
        ),
        Check.at_most("bytes and added tokens that are gone", len(names), 0, "any text can be encoded"),
        Check.at_most(
            "texts that do not come back",
            back.differing,
            0,
            "what has no piece of its own is encoded by bytes",
            f"first: {shown(back.first)}" if back.differing else f"of {back.texts}, from all of Unicode",
        ),
    ]


def removed_choices(references: Sequence[Reference]) -> list[Check]:
    """How often the original's first choice is a piece that is gone, where it has any that is."""
    choices = [r.gone for r in references if r.gone is not None]
    if not choices:
        return []
    gone = np.concatenate(choices)
    detail = f"{int(gone.sum())} of {len(gone)} positions; more with `eval --against` the checkpoint"
    return [Check("original's choices that are gone", float(gone.mean()), detail=detail)]


def costs(subject: Subject) -> list[Table]:
    """Tokens that a text takes with the whole vocabulary and with what is left of it."""
    if subject.source.whole is None:
        return []
    whole, own = subject.source.whole.tokenizer, subject.source.tokenizer
    rows = tuple((name, *_tokens(whole, own, text)) for name, text in SAMPLES.items())
    return [Table("Tokens per 1,000 characters", ("text", "whole vocabulary", "this one", "more"), rows)]


def _tokens(whole: Tokenizer, own: Tokenizer, text: str) -> tuple[int, int, int]:
    before, after = (round(1000 * len(one.encode(text)) / len(text)) for one in (whole, own))
    return before, after, after - before


def _left_out(model: FoldedModel, pieces: int, kept: Sequence[int]) -> str:
    """How many pieces and megabytes are gone, in the types that the model's rows are stored in."""
    gone, shapes = pieces - len(kept), model.module_shapes()
    sizes = []
    for name in (name.removesuffix(".weight") for name in VOCABULARY_ROWS):
        if model.recipe is not None and name in shapes:
            precision = model.recipe.resolve(name, shapes[name])
            size = gone * matrix_bytes(precision, (1, shapes[name][1]))
            sizes.append(f"{name.rpartition('.')[2].replace('_', ' ')} {megabytes(size)}")
    shared = ", one array where a runtime shares the two" if model.config.decoder.tied_head else ""
    return f"of {pieces}; {gone} rows less: {', '.join(sizes)}{shared}"
