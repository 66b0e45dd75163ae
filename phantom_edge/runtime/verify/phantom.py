"""Is the phantom dimension in the artifact at all?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from phantom_edge.report.report import Check
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import Trace

NAME: Final = "phantom dimension present"
LIMIT: Final = 0.5
REASON: Final = "an artifact without the phantom dimension lies nearer to the model without it: above 1"


class Distances(NamedTuple):
    """Mean absolute differences of logits, over all prompts."""

    to_phantom: float
    """From the artifact to torch with the phantom dimension."""
    to_none: float
    """From the artifact to torch without it."""
    rounding: float
    """Between torch with and without the runtime's rounding: what the artifact may be off for that alone."""
    effect: float
    """Between torch with and without the phantom dimension."""


def unrounded(references: Sequence[Reference], traces: Sequence[Trace]) -> Check:
    """Judged where nothing is rounded, so that the phantom's effect stands alone."""
    distances = [
        Distances(
            _mean(t.logits, r.plain.logits), _mean(t.logits, r.without), 0.0, _mean(r.plain.logits, r.without)
        )
        for r, t in zip(references, traces, strict=True)
    ]
    return judge(distances)


def as_shipped(references: Sequence[Reference], traces: Sequence[Trace]) -> Check:
    """Judged on the rounded run, where there is no other."""
    distances = [
        Distances(
            _mean(t.logits, r.trace.logits),
            _mean(t.logits, r.without),
            _mean(r.plain.logits, r.trace.logits),
            _mean(r.plain.logits, r.without),
        )
        for r, t in zip(references, traces, strict=True)
    ]
    return judge(distances)


def judge(distances: Sequence[Distances]) -> Check:
    """The distance to the model with phantom over that to the model without: far below 1 if it is there.

    Undecided where rounding alone moves logits by more than half of what the phantom dimension does.
    """
    total = Distances(*(sum(column) / len(distances) for column in zip(*distances, strict=True)))
    ratio = total.to_phantom / total.to_none if total.to_none else float("inf")
    detail = f"mean logit distance: with phantom {total.to_phantom:.2e}, without {total.to_none:.2e}"
    if ratio > LIMIT and total.rounding > LIMIT * total.effect:
        words = (
            f"undecided: rounding moves these logits by {total.rounding:.2e}, the phantom dimension by "
            f"{total.effect:.2e}; ask with another --prompt"
        )
        return Check(NAME, ratio, LIMIT, None, words, REASON)
    return Check.at_most(NAME, ratio, LIMIT, REASON, detail)


def _mean(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).mean())
