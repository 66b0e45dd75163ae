"""How sure the model is of an answer, on the command line, and that there is an answer at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phantom_edge.cli.printing import say
from phantom_edge.errors import CheckError, one_line

if TYPE_CHECKING:
    from phantom_edge.runtime.choices import Likelihood
    from phantom_edge.runtime.form import Form


def certainty(confidence: float | None, ranked: Sequence[Likelihood], form: Form | None) -> float | None:
    """How likely an answer is, None where that is not known.

    A choice's is its share among the choices. Words that a pattern or a schema asks for are not the model's
    own: how likely it held them says nothing.
    """
    if form is None:
        return confidence
    return ranked[0].probability if ranked else None


def say_doubt(answer: str, probability: float | None) -> None:
    """Say on stderr that the model is not sure, where that is so: the answer itself stays as it is."""
    from phantom_edge.runtime.confidence import LEAST_CONFIDENCE

    if answer.strip() and probability is not None and probability < LEAST_CONFIDENCE:
        say(f"not sure (perhaps {one_line(answer, 100)}, {percent(probability)})")


def percent(probability: float) -> str:
    """A probability for people; what is not certain is neither 0 nor 100 %.

    >>> from phantom_edge.cli.certainty import percent
    >>> percent(0.312), percent(0.9999), percent(1e-9), percent(1.0)
    ('31 %', 'over 99 %', 'under 1 %', '100 %')
    """
    if 0.99 < probability < 1:
        return "over 99 %"
    return "under 1 %" if 0 < probability < 0.01 else f"{100 * probability:.0f} %"


def check_answered(answers: Sequence[dict[str, Any]]) -> None:
    """Raise :class:`CheckError` where an answer has no text: an empty line is no result."""
    empty = [answer for answer in answers if not answer["answer"].strip()]
    if not empty:
        return
    which = "" if len(answers) == 1 else f" to {len(empty)} of {len(answers)} questions"
    if all(answer["stop"] == "stop" for answer in empty):
        raise CheckError(f"there is no answer{which} before the text of --stop; give another --stop")
    raise CheckError(
        f"the model gave no answer{which}; ask in other words, point at the thing with --at X,Y, "
        "or list what it may be with --choices"
    )
