"""The form of answers on the command line: which one, how likely each choice is, and whether it was met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.errors import CheckError, InputError

if TYPE_CHECKING:
    from phantom_edge.runtime.choices import Likelihood
    from phantom_edge.runtime.form import Form
    from phantom_edge.runtime.session import Chat


def chosen_form(choices: str | None, regex: str | None, schema: Path | None) -> Form | None:
    """The form that one of the options asks for. Raises :class:`InputError` for several and for bad ones."""
    from phantom_edge.runtime.form import Form
    from phantom_edge.runtime.grammar import MAX_SCHEMA
    from phantom_edge.system.reading import read_json

    options = {"--choices": choices, "--regex": regex, "--schema": schema}
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: an answer has one form; give one of them")
    if choices is not None:
        return Form(choices=[choice.strip() for choice in choices.split(",")])
    if regex is not None:
        return Form(regex=regex)
    return None if schema is None else Form(schema=read_json(schema, MAX_SCHEMA, "mend it"))


def likelihoods(chat: Chat, question: str, form: Form | None) -> tuple[list[Likelihood], float]:
    """How likely each choice is, nothing for a form without choices; and what encoding the picture took."""
    if form is None or form.choices is None:
        return [], 0.0
    return chat.rank(question, form.choices), chat.timing.vision


def check_met(form: Form | None, stops: Sequence[str]) -> None:
    """Raise :class:`CheckError` where an answer was cut before it met its form."""
    cut = [stop for stop in stops if stop != "end"]
    if form is not None and cut:
        which = "the answer" if len(stops) == 1 else f"{len(cut)} of {len(stops)} answers"
        raise CheckError(
            f"{which} ended by {cut[0]} before its form was met; raise --max-tokens or --context"
        )
