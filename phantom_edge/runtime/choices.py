"""Answers out of a list: the tokens of the choices as a tree, which may follow, and how likely each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phantom_edge.bundle.backend import Backend
from phantom_edge.errors import InputError, shown
from phantom_edge.runtime import decoding
from phantom_edge.runtime.answer import check_finite
from phantom_edge.runtime.sampling import REFUSED, Floats
from phantom_edge.text.prompt_ids import PromptEncoder


class Likelihood(NamedTuple):
    """A choice and its probability among the choices."""

    text: str
    probability: float


@dataclass
class Node:
    """A place in the tree: what may follow by token, and the number of the choice that is whole here."""

    next: dict[int, Node] = field(default_factory=dict)
    choice: int | None = None


@dataclass(frozen=True)
class Choices:
    """Choices with the canonical tokens of each, as a tree."""

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    root: Node

    @classmethod
    def of(cls, texts: Sequence[str], prompts: PromptEncoder) -> Choices:
        """Raises :class:`InputError` for a choice that the model's tokenizer cannot write as it stands."""
        ids, root = tuple(tuple(prompts.begun(text)) for text in texts), Node()
        for number, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
            if prompts.tokenizer.decode(tokens) != text:
                raise InputError(f"the model's tokenizer cannot write the choice {shown(text)}; word it else")
            node = root
            for token in tokens:
                node = node.next.setdefault(token, Node())
            node.choice = number
        return cls(tuple(texts), ids, root)

    @property
    def longest(self) -> int:
        """Most tokens of a choice."""
        return max(map(len, self.ids))


class ChoicesConstraint:
    """The state of one answer in the tree."""

    def __init__(self, choices: Choices, end_ids: Sequence[int]) -> None:
        self._node, self._end_ids = choices.root, list(end_ids)

    def restricted(self, logits: Floats) -> Floats:
        """Logits [vocab] with :data:`REFUSED` in the place of what may not follow."""
        allowed = [*self._node.next, *(self._end_ids if self._node.choice is not None else ())]
        only = np.full(len(logits), REFUSED)
        only[allowed] = logits[allowed]
        return only

    def allows(self, token: int) -> bool:
        """Whether a token may follow."""
        return token in self._node.next or (self._node.choice is not None and token in self._end_ids)

    def accept(self, token: int) -> None:
        """Go on with a token, which was allowed."""
        if token not in self._end_ids:
            self._node = self._node.next[token]

    @property
    def complete(self) -> bool:
        """Whether nothing but an end may follow."""
        return not self._node.next


def likelihoods(
    backend: Backend, cache: Any, logits: Floats, choices: Choices, end_ids: Sequence[int]
) -> NDArray[np.float64]:
    """The probability of each choice as the whole answer, among them all: [choices].

    ``logits`` [vocab] are those behind the prompt in ``cache``. Every token of the tree is one decoding step;
    beginnings that choices share are computed once. Ends may be several: their probabilities add up.

    Raises :class:`CheckError` for logits that are not finite.
    """
    scores = np.zeros(len(choices.texts))  # log-probability of tokens and end
    start = cache.length
    open_nodes: list[tuple[Node, int, int, float]] = []  # node, length before it, its token, score with it

    def visit(node: Node, logits: Floats, score: float) -> None:
        log_p = _log_softmax(logits)
        if node.choice is not None:
            scores[node.choice] = score + np.logaddexp.reduce(log_p[list(end_ids)])
        for token, child in node.next.items():
            open_nodes.append((child, cache.length, token, score + float(log_p[token])))

    visit(choices.root, logits, 0.0)
    while open_nodes:
        node, length, token, score = open_nodes.pop()
        # What is taken last stands deepest: up to `length` the cache holds the way to this node.
        decoding.rewind(cache, length)
        visit(node, decoding.append(backend, cache, token), score)
    decoding.rewind(cache, start)
    return np.asarray(np.exp(scores - np.logaddexp.reduce(scores)))


def _log_softmax(logits: Floats) -> NDArray[np.float64]:
    check_finite(logits)
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))
