"""A tokenizer with fewer pieces: the rest of the rules as they were, ids renumbered.

A BPE without some merges still makes every piece whose merges it has. At each step it joins the pair of
lowest rank that it knows; where it knows all pairs that the whole tokenizer would join, that is the same one.
So a text whose pieces, intermediate ones included, are all kept is encoded as before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from phantom_edge.errors import InputError
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
    return model


def trimmed(tokenizer: Tokenizer, kept_ids: Sequence[int]) -> Tokenizer:
    """The tokenizer with the pieces of ``kept_ids`` alone; ``kept_ids[n]`` becomes id ``n``.

    Raises :class:`InputError` for a kind of tokenizer that cannot be trimmed.

    >>> source = pe.Pretrained.open()
    >>> fewer = trimmed(source.tokenizer, range(400))
    >>> fewer.encode("red") == [n for n in source.tokenizer.encode("red") if n < 400]
    True
    """
    spec = json.loads(tokenizer.to_json())
    model, new_ids = model_spec(spec), {old: new for new, old in enumerate(kept_ids)}
    if model["type"] == "BPE":
        model["vocab"] = {piece: new_ids[old] for piece, old in model["vocab"].items() if old in new_ids}
        model["merges"] = [pair for pair in model["merges"] if _is_kept(pair, model["vocab"])]
    else:
        model["vocab"] = [model["vocab"][old] for old in kept_ids if old < len(model["vocab"])]
        model["unk_id"] = new_ids.get(model["unk_id"])
    spec["added_tokens"] = [
        token | {"id": new_ids[token["id"]]} for token in spec["added_tokens"] if token["id"] in new_ids
    ]
    _renumber(spec["post_processor"], new_ids)
    return Tokenizer.from_spec(spec)


def _is_kept(pair: Sequence[str] | str, vocabulary: Mapping[str, int]) -> bool:
    left, right = pair.split(" ") if isinstance(pair, str) else pair
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
