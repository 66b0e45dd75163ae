"""How often another model's replies need a piece that a bundle's trimmed vocabulary lacks."""

from __future__ import annotations

from collections.abc import Sequence

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.vocabulary import read_kept
from phantom_edge.errors import InputError
from phantom_edge.evaluate.result import EvalResult, Gone
from phantom_edge.text.tokenizer import Tokenizer


def gone_pieces(bundle: Bundle, others: Sequence[EvalResult]) -> list[Gone]:
    """For each result what a bundle lacks; nothing where its vocabulary is whole, or its checkpoint not here.

    >>> gone_pieces(pe.Bundle.open("nano-desktop"), [])
    []
    """
    kept = read_kept(bundle)
    if kept is None:
        return []
    try:
        source = bundle.source()
    except InputError:
        return []
    return [_gone(source.tokenizer, frozenset(kept), other) for other in others]


def _gone(tokenizer: Tokenizer, kept: frozenset[int], result: EvalResult) -> Gone:
    encoded = tokenizer.encode_all(record.reply for record in result.records)
    counts = [sum(index not in kept for index in ids) for ids in encoded]
    return Gone(result.model, sum(map(len, encoded)), sum(counts), sum(count > 0 for count in counts))
