"""The pieces of a tokenizer's model: the bytes of each, and by which others the merges make it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from phantom_edge.text.decoding import TextDecoder
from phantom_edge.text.tokenizer import Tokenizer
from phantom_edge.text.trimmed import model_spec, pair_of


@dataclass(frozen=True)
class Pieces:
    """A BPE's pieces and merges, or a unigram model's pieces, which need no others.

    >>> pieces = Pieces.of(pe.Pretrained.open().tokenizer)
    >>> [pieces.names[index] for index in sorted(pieces.constituents(pieces.ids["red"]))]
    ['d', 'e', 'r', 're', 'red']
    """

    ids: Mapping[str, int]
    names: Mapping[int, str]
    ranks: Mapping[tuple[str, str], int]
    decoder: TextDecoder
    added: frozenset[int]
    """Ids of added tokens, which no merge makes."""
    always: frozenset[int]
    """Ids without which some text is not encoded, or not to what decodes to it."""
    whole_words: bool = False
    """Whether a word that is a piece is taken at once, whatever the merges make of it."""
    unigram: bool = False
    _constituents: dict[int, frozenset[int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Pieces:
        """Raises :class:`InputError` for a kind of model that cannot be trimmed."""
        spec = json.loads(tokenizer.to_json())
        model = model_spec(spec)
        unigram = model["type"] == "Unigram"
        pairs = enumerate(piece for piece, _ in model["vocab"]) if unigram else None
        ids = model["vocab"] if pairs is None else {piece: index for index, piece in pairs}
        added = {token["id"]: token["content"] for token in spec["added_tokens"]}
        decoder = TextDecoder.from_spec(spec["decoder"])
        return cls(
            ids=ids,
            names={index: piece for piece, index in ids.items()} | added,
            ranks={} if unigram else {pair_of(pair): n for n, pair in enumerate(model["merges"])},
            decoder=decoder,
            added=frozenset(added),
            always=frozenset({*added, *_base(spec, model, ids, decoder)}),
            whole_words=bool(model.get("ignore_merges")),
            unigram=unigram,
        )

    def constituents(self, index: int) -> frozenset[int]:
        """The ids of all pieces from which a text comes to this one, itself included; none if no text does.

        What is joined inside a piece does not depend on what stands around it, because no pair across its
        ends was joined: so its own text says by which pieces it is made.
        """
        if index not in self._constituents:
            self._constituents[index] = self._made(index)
        return self._constituents[index]

    def closure(self, ids: Iterable[int]) -> set[int]:
        """The ids with all that they are made by."""
        return {needed for index in ids for needed in self.constituents(index)}

    def text(self, index: int) -> str | None:
        """The characters of a piece; None where it ends or begins within one."""
        try:
            return self.decoder.to_bytes(self.names[index]).decode()
        except UnicodeDecodeError:
            return None

    def _made(self, index: int) -> frozenset[int]:
        piece = self.names[index]
        if self.unigram or index in self.added or index in self.always:
            return frozenset({index})
        symbols = list(piece)
        made = set(symbols)
        for joined in self._joined(symbols):
            made.add(joined)
        if len(symbols) > 1 and not self.whole_words:
            return frozenset()
        return frozenset({index, *(self.ids[name] for name in made if name in self.ids)})

    def _joined(self, symbols: list[str]) -> Iterator[str]:
        """What the merges make of ``symbols``, one after the other, which are joined in place."""
        last = len(self.ranks)
        while len(symbols) > 1:
            ranks = [self.ranks.get(pair, last) for pair in itertools.pairwise(symbols)]
            best = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[best] == last:
                return
            symbols[best : best + 2] = [symbols[best] + symbols[best + 1]]
            yield symbols[best]


def _base(
    spec: Mapping[str, Any], model: Mapping[str, Any], ids: Mapping[str, int], decoder: TextDecoder
) -> Iterator[int]:
    """Ids of the pieces that stand for what has no other: bytes, and what the rules beside the model name."""
    byte_fallback = bool(model.get("byte_fallback"))
    rules = [spec[part] for part in ("normalizer", "pre_tokenizer", "decoder")]
    named = set(json.dumps(rules, ensure_ascii=False))
    for piece, index in ids.items():
        named_or_alone = len(piece) == 1 and (not byte_fallback or piece in named)
        if named_or_alone or decoder.is_byte(piece):
            yield index
    if (unknown := model.get("unk_token")) is not None and unknown in ids:
        yield ids[unknown]
    if model["type"] == "Unigram":
        if model["unk_id"] is not None:
            yield model["unk_id"]
        # The cost of an unknown character follows from the lowest score.
        yield min(range(len(model["vocab"])), key=lambda index: model["vocab"][index][1])
