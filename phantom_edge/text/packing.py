"""Several questions about one image in one sequence, each as if it stood alone.

A sequence is the prompt's beginning with its image tokens, once, then segments: question, template, answer. A
segment sees the prefix and itself, and its positions continue from the prefix, so its numbers are exactly
those of a prompt with this question only, while the image is encoded and read once. Right and wrong answers
are segments alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phantom_edge.text.prompt import PromptTemplate
from phantom_edge.text.prompt_ids import PromptEncoder
from phantom_edge.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Segment:
    """Ids of what follows the image: question and template, then the answer and its end token, learned."""

    question: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.question) + len(self.answer)


@dataclass(frozen=True)
class Packed:
    """A batch of B sequences of L tokens, and where in them is what to learn.

    ``mask`` [B, L, L] is True where a token may look. ``sources`` [N] are flat indices (b * L + l) of the
    positions whose next token is learned, ``targets`` [N] those tokens, ``answers`` [N] the number of the
    segment each is of.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    sources: Tensor
    targets: Tensor
    answers: Tensor
    segments: int

    def to(self, device: str) -> Packed:
        """The same on another device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if name != "segments"}
        return replace(self, **tensors)


class Packer:
    """Turns questions and answers into segments and batches, with a checkpoint's template and tokenizer."""

    def __init__(self, template: PromptTemplate, tokenizer: Tokenizer, tokens_per_tile: int):
        self._template, self._tokenizer, self._tokens_per_tile = template, tokenizer, tokens_per_tile
        self._prompts = PromptEncoder(template, tokenizer)

    def prefix(self, tiles: int) -> tuple[int, ...]:
        """Ids up to and with the end of an image of ``tiles`` tiles; for 0, the prompt's first marker."""
        return tuple(self._tokenizer.encode(self._start(tiles)))

    def _start(self, tiles: int) -> str:
        t = self._template
        image = t.image_start + t.image_context * (tiles * self._tokens_per_tile) + t.image_end
        return t.user_start + image if tiles else t.special_strings[0]

    def segment(self, question: str, answer: str, *, image: bool = True) -> Segment:
        """The ids of a question with its answer. Raises :class:`InputError` for text with a control token."""
        marker = self._template.image_end if image else self._template.special_strings[0]
        image_tokens = 1 if image else None
        question_ids = self._prompts.first(question, image_tokens)
        full = self._prompts.answered(question, answer, image_tokens)
        if full[: len(question_ids)] != question_ids:  # the answer's first letters merged with the prompt
            full = question_ids + self._prompts.answer(answer)
        [marker_id] = self._tokenizer.encode(marker)
        start = question_ids.index(marker_id) + 1
        return Segment(tuple(question_ids[start:]), tuple(full[len(question_ids) :]))

    def next_segment(self, question: str, answer: str) -> Segment:
        """The ids of a further turn of the same conversation, after the end token of the answer before."""
        ids = self._prompts.next(question)
        return Segment(tuple(ids[1:]), self.segment(question, answer).answer)

    def pack(
        self,
        prefixes: Sequence[Sequence[int]],
        groups: Sequence[Sequence[Segment]],
        chained: Sequence[bool] | None = None,
    ) -> Packed:
        """One sequence per prefix with its group of segments, padded to the longest, segments numbered.

        Where ``chained`` is True a row is one conversation: its segments see those before, positions run on.
        """
        length = max(len(p) + sum(map(len, group)) for p, group in zip(prefixes, groups, strict=True))
        ids = torch.zeros(len(prefixes), length, dtype=torch.long)
        positions, parts = torch.zeros_like(ids), torch.zeros_like(ids)
        sources: list[int] = []
        targets: list[int] = []
        answers: list[int] = []
        count = 0
        for row, (prefix, group) in enumerate(zip(prefixes, groups, strict=True)):
            ids[row, : len(prefix)] = torch.tensor(prefix)
            positions[row, : len(prefix)] = torch.arange(len(prefix))
            at, linked = len(prefix), chained is not None and chained[row]
            for number, segment in enumerate(group, start=1):
                end = at + len(segment)
                ids[row, at:end] = torch.tensor(segment.question + segment.answer)
                start = at if linked else len(prefix)
                positions[row, at:end] = torch.arange(start, start + len(segment))
                parts[row, at:end] = 0 if linked else number
                learned = range(at + len(segment.question) - 1, end - 1)
                sources += [row * length + i for i in learned]
                targets += segment.answer
                answers += [count] * len(segment.answer)
                at, count = end, count + 1
            parts[row, at:] = -1  # padding: seen by nothing that is learned
        places, tokens, segments = (torch.tensor(values) for values in (sources, targets, answers))
        return Packed(ids, positions, _mask(parts), places, tokens, segments, count)


def _mask(parts: Tensor) -> Tensor:
    """Who sees whom [B, L, L], by each token's segment [B, L]: the prefix (0) and the own segment so far."""
    same = parts[:, :, None] == parts[:, None]
    causal = torch.ones(parts.shape[1], parts.shape[1], dtype=torch.bool).tril()
    return (same | (parts[:, None] == 0)) & causal
