"""A tokenizer with fewer pieces: the rest of the rules as they were, ids renumbered.

A BPE without some merges still makes every piece whose merges it has. At each step it joins the pair of
lowest rank that it knows; where it knows all pairs that the whole tokenizer would join, that is the same one.
So a text whose pieces, intermediate ones included, are all kept is encoded as before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from phantom_edge.errors import InputError, shown
from phantom_edge.text.tokenizer import Tokenizer

MODELS = ("BPE", "Unigram")
"""Kinds of `tokenizers` model whose pieces can be chosen."""


def model_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model`` of a `tokenizer.json`'s contents. Raises :class:`InputError` for an unknown kind."""
    model: dict[str, Any] = spec["model"]
    if model.get("type") not in MODELS:
        raise InputError(
            f"a tokenizer of type {model.get('type')} cannot be trimmed, only {' and '.join(MODELS)}: "
            "leave out --vocab"
        )
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise InputError("a tokenizer that marks the parts of a word cannot be trimmed: leave out --vocab")
    return model


def trimmed(tokenizer: Tokenizer, kept_ids: Sequence[int]) -> Tokenizer:
    """The tokenizer with the pieces of ``kept_ids`` alone; ``kept_ids[n]`` becomes id ``n``.

    Raises :class:`InputError` for a kind of tokenizer that cannot be trimmed, and where an added token is
    not among the pieces.

    >>> tokenizer = pe.Pretrained.open().tokenizer
    >>> fewer = trimmed(tokenizer, [n for n in range(tokenizer.vocab_size) if n != tokenizer.token_id("red")])
    >>> len(tokenizer.encode("red")), len(fewer.encode("red")), fewer.decode(fewer.encode("red"))
    (1, 2, 'red')
    """
    spec = json.loads(tokenizer.to_json())
    model, new_ids = model_spec(spec), {old: new for new, old in enumerate(kept_ids)}
    if lost := [token["content"] for token in spec["added_tokens"] if token["id"] not in new_ids]:
        raise InputError(f"the kept pieces lack the added token {shown(lost[0])}")
    if model["type"] == "BPE":
        model["vocab"] = {piece: new_ids[old] for piece, old in model["vocab"].items() if old in new_ids}
        model["merges"] = [pair for pair in model["merges"] if _is_kept(pair, model["vocab"])]
    else:
        model["vocab"] = [model["vocab"][old] for old in kept_ids if old < len(model["vocab"])]
        model["unk_id"] = new_ids.get(model["unk_id"])
    spec["added_tokens"] = [token | {"id": new_ids[token["id"]]} for token in spec["added_tokens"]]
    _renumber(spec["post_processor"], new_ids)
    return Tokenizer.from_spec(spec)


def pair_of(merge: Sequence[str] | str) -> tuple[str, str]:
    """The two pieces that a merge joins; older files write them as one text.

    >>> pair_of("a b"), pair_of(["a", " "])
    (('a', 'b'), ('a', ' '))
    """
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _is_kept(merge: Sequence[str] | str, vocabulary: Mapping[str, int]) -> bool:
    left, right = pair_of(merge)
    return left in vocabulary and right in vocabulary and left + right in vocabulary


def _renumber(processor: Any, new_ids: Mapping[int, int]) -> None:
    """Give the tokens that a post-processor names by id their new ids, in place."""
    match processor:
        case {"type": "TemplateProcessing", "special_tokens": tokens}:
            for token in tokens.values():
                token["ids"] = [new_ids[old] for old in token["ids"]]
        case {"type": "BertProcessing" | "RobertaProcessing"}:
            for end in ("sep", "cls"):
                content, old = processor[end]
                processor[end] = [content, new_ids[old]]
        case {"type": "Sequence", "processors": processors}:
            for one in processors:
                _renumber(one, new_ids)
