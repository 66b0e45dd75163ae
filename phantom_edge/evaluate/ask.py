"""Asking: one chat per picture, which is rewound for each of its questions, and the loop over the items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Record
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.runtime.session import Chat, Session

OnReply = Callable[[int, int, int], None]
"""Called after each question with how many are done, of how many, and how many replies are right."""


def no_replies(done: int, total: int, right: int) -> None:
    """An :data:`OnReply` that shows nothing."""


def evaluate(
    session: Session, items: Iterable[Item], on_reply: OnReply = no_replies, *, constrain: bool = False
) -> EvalResult:
    """Ask every item, greedily, and judge the replies; items of one picture together, in any order.

    With ``constrain`` the reply to an item that has choices is the likeliest of them, with its probability.
    One picture is in memory at a time. The result has no name yet;
    :func:`~phantom_edge.evaluate.job.evaluate_models` gives it one.

    Raises :class:`InputError`: a picture cannot be read, or not one question could be asked.
    """
    items = list(items)
    records: dict[str, Record] = {}
    clock, right = time.perf_counter(), 0
    groups = _by_picture(items)
    for group in groups:
        for record in _ask_group(session, group, constrain):
            records[record.id] = record
            right += record.correct
            on_reply(len(records), len(items), right)
    ordered = [records[item.id] for item in items]
    if ordered and all(record.error for record in ordered):
        raise InputError(f"no question could be asked: {ordered[0].error}")
    pictures = sum(group[0].picture is not None for group in groups)
    return EvalResult("", ordered, seconds=time.perf_counter() - clock, pictures=pictures)


def _by_picture(items: Sequence[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        key = f"picture {item.picture.key}" if item.picture else f"item {item.id}"
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def _ask_group(session: Session, group: list[Item], constrain: bool) -> Iterator[Record]:
    picture = group[0].picture
    image = None if picture is None else picture.load(session.spec.tile_size)
    chat = session.chat(image)
    for item in group:
        about = (item.id, item.task, "" if picture is None else picture.key, item.question, item.answer)
        chat.rewind()  # also before the first question, so that no answer depends on the others
        try:
            chosen = constrain and bool(item.choices)
            text, confidence = _reply(chat, item, chosen)
        except InputError as error:
            yield Record(*about, reply="", correct=False, error=str(error))
            continue
        right, timing = bool(item.judge(text)), chat.timing
        yield Record(*about, text, right, timing.new_tokens, timing.stop, "", confidence, chosen)


def _reply(chat: Chat, item: Item, chosen: bool) -> tuple[str, float | None]:
    """The reply, the likeliest of the choices where it is to be ``chosen``, and its probability."""
    if chosen:
        best = chat.rank(item.question, item.choices)[0]
        return best.text, best.probability
    text = "".join(chat.ask(item.question, max_tokens=item.max_tokens)).strip()
    return text, chat.timing.confidence
