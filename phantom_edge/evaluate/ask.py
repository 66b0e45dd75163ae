"""Asking: one context per picture that all its questions share, and the loop over the items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Record
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session

Progress = Callable[[int, int, int], None]
"""Told after each question how many are done, of how many, and how many replies are right."""


def silent(done: int, total: int, right: int) -> None:
    """The progress that nobody hears."""


@dataclass(frozen=True)
class Reply:
    """The text of an answer, how many tokens it took, and why it ended."""

    text: str
    tokens: int
    stop: str


@dataclass
class PictureContext:
    """Independent questions on one picture, which is encoded and prefilled once, for the first of them.

    The prompt is always cut after the picture, also for a single question, so that an answer does not depend
    on which others are asked: a runtime may keep one range of activations per call. For each further question
    the cache goes back to the end of the picture.
    """

    session: Session
    image: Any = None
    _cache: Any = None
    _prefix: list[int] = field(default_factory=list)

    def ask(self, question: str, max_tokens: int) -> Reply:
        """The greedy answer. Raises :class:`InputError`, before any work, for a prompt that cannot be
        asked.
        """
        session = self.session
        ids = self._ids(question)
        if len(ids) > session.backend.context:
            raise InputError(
                f"the prompt needs {len(ids)} tokens, the context holds {session.backend.context}; "
                "use fewer tiles (--max-tiles) or export with a larger --context"
            )
        start = self._end_of_picture(ids)
        if self._cache is None or not start or ids[:start] != self._prefix:
            self._begin(ids[:start])
        else:
            rewind(self._cache, start)
        logits = session.prefill(ids[start:], self._cache)
        return self._decode(logits, max_tokens)

    def _ids(self, question: str) -> list[int]:
        session = self.session
        rows = None if self.image is None else session.image_tokens(self.image)
        return session.tokenizer.encode(session.spec.template.render([(question, None)], rows))

    def _end_of_picture(self, ids: list[int]) -> int:
        """How many ids belong to the picture and what stands before it; 0 without one."""
        if self.image is None:
            return 0
        return len(ids) - ids[::-1].index(self.session.spec.image_token_id)

    def _begin(self, prefix: list[int]) -> None:
        """A new context with the picture in it; none is kept if that fails."""
        session, self._cache = self.session, None
        cache = session.backend.make_cache()
        if prefix:
            session.prefill(prefix, cache, session.encode_image(self.image))
        self._cache, self._prefix = cache, prefix

    def _decode(self, logits: Any, max_tokens: int) -> Reply:
        session, stream, choose = self.session, self.session.tokenizer.stream(), Sampling().chooser()
        pieces: list[str] = []
        while True:
            token = choose(logits)
            if token in session.spec.end_ids:
                stop = "end"
                break
            pieces.append(stream.push(token))
            if len(pieces) == max_tokens:
                stop = "length"
                break
            if self._cache.length == session.backend.context:
                stop = "context"
                break
            logits = session.decode(token, self._cache)
        return Reply("".join([*pieces, stream.finish()]), len(pieces), stop)


def rewind(cache: Any, length: int) -> None:
    """Let a cache forget all but its first ``length`` positions.

    Every backend writes where ``length`` points and attends to nothing behind it. The original's cache grows
    instead, and is cut.
    """
    cache.length = length
    for layer in getattr(cache, "layers", ()):
        layer.k, layer.v = layer.k[:, :length], layer.v[:, :length]  # [1, N, Hkv, D]


def evaluate(session: Session, items: Iterable[Item], progress: Progress = silent) -> EvalResult:
    """Ask every item, greedily, and judge the replies. Items of one picture are asked together, whatever
    their order.

    One picture is held at a time. The result has no name yet;
    :func:`~phantom_edge.evaluate.job.evaluate_models` gives it one.

    Raises:
        InputError: a picture cannot be read, or not one question could be asked.
    """
    items = list(items)
    records: dict[str, Record] = {}
    clock, right = time.perf_counter(), 0
    groups = _by_picture(items)
    for group in groups:
        for record in _ask_group(session, group):
            records[record.id] = record
            right += record.correct
            progress(len(records), len(items), right)
    ordered = [records[item.id] for item in items]
    if ordered and all(record.error for record in ordered):
        raise InputError(f"no question could be asked: {ordered[0].error}")
    pictures = sum(group[0].picture is not None for group in groups)
    return EvalResult("", ordered, seconds=time.perf_counter() - clock, pictures=pictures)


def _by_picture(items: Sequence[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(f"picture {item.picture.key}" if item.picture else f"item {item.id}", []).append(
            item
        )
    return list(groups.values())


def _ask_group(session: Session, group: list[Item]) -> Iterator[Record]:
    picture = group[0].picture
    image = None if picture is None else picture.load(session.spec.tile_size)
    context = PictureContext(session, image)
    for item in group:
        about = (item.id, item.task, "" if picture is None else picture.key, item.question, item.answer)
        try:
            reply = context.ask(item.question, item.max_tokens)
        except InputError as error:
            yield Record(*about, reply="", correct=False, error=str(error))
            continue
        text = reply.text.strip()
        yield Record(*about, text, bool(item.judge(text)), reply.tokens, reply.stop)
