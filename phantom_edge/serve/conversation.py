"""From the API's messages to what the prompt's template knows: turns, and one picture before the first.

The published templates have no turn for a system: its text stands before the first question, followed by a
blank line. The picture stands before that question as well, so that it belongs to the first user message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.request import ImagePart, Message

MAX_TEXT: Final = 1 << 20
"""Characters of a conversation; no model's context holds as many."""


@dataclass(frozen=True)
class Conversation:
    """``history`` are questions with their answers, ``picture`` is the URL of one, "" where there is none."""

    question: str
    history: tuple[tuple[str, str], ...] = ()
    picture: str = ""


def conversation(messages: Sequence[Message]) -> Conversation:
    """The turns of a request. Raises :class:`ApiError` for messages that no prompt can be made of.

    >>> from phantom_edge.serve.conversation import conversation
    >>> from phantom_edge.serve.request import Message
    >>> said = [("system", "Be brief."), ("user", "Is it red?"), ("assistant", "Yes"), ("user", "Sure?")]
    >>> conversation([Message(role=role, content=text) for role, text in said])
    Conversation(question='Sure?', history=(('Be brief.\\n\\nIs it red?', 'Yes'),), picture='')
    """
    _check_length(messages)
    system = [_text(m) for m in messages if m.role in ("system", "developer")]
    turns = _turns([m for m in messages if m.role in ("user", "assistant")])
    texts = [(role, "\n\n".join(filter(None, map(_text, said)))) for role, said in turns]
    questions = [text for role, text in texts if role == "user"]
    answers = [text for role, text in texts if role == "assistant"]
    first = "\n\n".join(filter(None, [*system, questions[0]]))
    *earlier, last = [first, *questions[1:]]
    return Conversation(last, tuple(zip(earlier, answers, strict=True)), _picture(turns))


def _turns(messages: Sequence[Message]) -> list[tuple[str, list[Message]]]:
    """Messages of one role in a row are one turn; they begin and end with the user's."""
    turns: list[tuple[str, list[Message]]] = []
    for message in messages:
        if turns and turns[-1][0] == message.role:
            turns[-1][1].append(message)
        else:
            turns.append((message.role, [message]))
    if not turns or turns[0][0] != "user":
        raise _refused("the conversation does not begin with a message of the user; put one first")
    if turns[-1][0] != "user":
        raise _refused("the last message is the assistant's; end with a message of the user")
    return turns


def _picture(turns: Sequence[tuple[str, Sequence[Message]]]) -> str:
    """The one picture's URL. Clients may send the same picture again with every question."""
    pictures = [[url for message in said for url in _urls(message)] for _, said in turns]
    different = dict.fromkeys(url for urls in pictures for url in urls)
    if len(different) > 1:
        what = f"the conversation has {len(different)} pictures, and the model looks at one"
        raise _refused(f"{what}; begin a conversation for each", "too_many_images")
    if different and not pictures[0]:
        what = "the picture is in a later message, and the model sees it before the first question"
        raise _refused(f"{what}; move it into the first user message, or begin a new conversation with it")
    return next(iter(different), "")


def _urls(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return []
    urls = [part.image_url.url for part in message.content if isinstance(part, ImagePart)]
    if urls and message.role != "user":
        raise _refused("a picture is in the assistant's message; put it into the user's")
    return urls


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content if not isinstance(part, ImagePart))


def _check_length(messages: Sequence[Message]) -> None:
    length = sum(len(_text(message)) for message in messages)
    if length > MAX_TEXT:
        what = f"the messages have {length} characters, more than any context holds; send at most {MAX_TEXT}"
        raise _refused(what, "context_length_exceeded")


def _refused(message: str, code: str = "invalid_value") -> ApiError:
    return ApiError(400, message, param="messages", code=code)
