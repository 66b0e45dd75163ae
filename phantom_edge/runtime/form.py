"""The form of an answer: a list of choices, a regular expression, or a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from phantom_edge.errors import InputError, shown
from phantom_edge.runtime.choices import Choices, ChoicesConstraint
from phantom_edge.runtime.grammar import (
    GrammarConstraint,
    check_grammar,
    checked_schema,
    regex_grammar,
    schema_grammar,
)
from phantom_edge.runtime.sampling import Choose, Floats, greedy
from phantom_edge.text.prompt_ids import PromptEncoder

MAX_CHOICES: Final = 1000
MAX_CHOICE: Final = 200
"""Characters of a choice."""


class Constraint(Protocol):
    """The state of one answer in its form."""

    def restricted(self, logits: Floats) -> Floats:
        """Logits [vocab] with :data:`REFUSED` in the place of what may not follow.

        Raises :class:`InputError` where nothing may: the tokenizer has no piece for a character.
        """

    def allows(self, token: int) -> bool:
        """Whether a token may follow."""

    def accept(self, token: int) -> None:
        """Go on with a token, which was allowed."""

    @property
    def complete(self) -> bool:
        """Whether nothing but an end may follow."""


@dataclass(frozen=True)
class Form:
    """What an answer must be, from its first character to its last: exactly one of the three.

    ``choices``: one of 1 to 1,000 texts. ``regex``: a regular expression that matches the whole answer.
    ``schema``: a JSON schema, or True for any JSON object; the answer is JSON in one line.

    Raises :class:`InputError` when it is made: none or several of them, choices that are empty or twice
    there, a regular expression that is refused, a schema that is none or that no text meets.

    >>> session = pe.Session.open("nano-desktop")
    >>> form = pe.Form(regex=r"[0-9] objects")
    >>> "".join(session.generate("How many objects are there?", image="photo.jpg", form=form))
    '2 objects'
    """

    choices: Sequence[str] | None = None
    regex: str | None = None
    schema: Mapping[str, Any] | bool | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            what = " and ".join(given) if given else "nothing"
            raise InputError(f"a form is choices, a regex or a schema, one of them; this one has {what}")
        if self.choices is not None:
            object.__setattr__(self, "choices", _checked_choices(self.choices))
        elif self.regex is not None:
            check_grammar(regex_grammar(_text(self.regex, "the regular expression")), _REGEX)
        elif self.schema is not None:
            object.__setattr__(self, "schema", checked_schema(self.schema))

    def begin(self, prompts: PromptEncoder, end_ids: Sequence[int]) -> Constraint:
        """The state of a new answer. Raises :class:`InputError` where the model cannot write this form."""
        tokenizer = prompts.tokenizer
        if self.choices is not None:
            return ChoicesConstraint(Choices.of(self.choices, prompts), end_ids)
        spaces = tokenizer.dropped_spaces
        if self.regex is not None:
            return GrammarConstraint(regex_grammar(self.regex, spaces), tokenizer, end_ids, _REGEX)
        assert isinstance(self.schema, Mapping)
        return GrammarConstraint(schema_grammar(self.schema, spaces), tokenizer, end_ids, _SCHEMA)


def within(constraint: Constraint | None, choose: Choose) -> Choose:
    """The same way to choose, from what ``constraint`` allows."""
    if constraint is None:
        return choose

    def chosen(logits: Floats) -> int:
        token = greedy(logits)
        # Most often the likeliest of all is allowed, and then it is the likeliest of those that are.
        if choose is not greedy or not constraint.allows(token):
            token = choose(constraint.restricted(logits))
        constraint.accept(token)
        return token

    return chosen


_REGEX, _SCHEMA = "the regular expression", "the JSON schema"


def _checked_choices(choices: Sequence[str]) -> tuple[str, ...]:
    if isinstance(choices, str) or not isinstance(choices, Sequence):
        raise InputError("the choices are no list of texts; give one, such as ['yes', 'no']")
    if not 1 <= len(choices) <= MAX_CHOICES:
        raise InputError(f"there are {len(choices):,} choices; give 1 to {MAX_CHOICES:,}")
    seen = set()
    for choice in choices:
        if not 1 <= len(_text(choice, "a choice")) <= MAX_CHOICE:
            raise InputError(f"a choice has {len(choice):,} characters; give 1 to {MAX_CHOICE}")
        if choice in seen:
            raise InputError(f"the choice {shown(choice)} is there twice; give each once")
        seen.add(choice)
    return tuple(choices)


def _text(value: object, what: str) -> str:
    """``value`` if it is a text of characters. Raises :class:`InputError`."""
    if not isinstance(value, str):
        raise InputError(f"{what} is {type(value).__name__}; give a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} holds half of a surrogate pair, which is no character; remove it") from None
    return value
