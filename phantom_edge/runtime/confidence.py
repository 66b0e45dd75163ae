"""How sure a model is of a free answer: the probability that it gave to just these tokens, and to their end.

The libraries in Swift, Kotlin and TypeScript have the same rule; `tests/support/confidence_vectors.json`
holds all to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from phantom_edge.runtime.sampling import Floats

MOST_TOKENS: Final = 12
"""Of a longer answer the probability says little: many wordings are equally good, and share it."""
LEAST_CONFIDENCE: Final = 0.5
"""Below it, "not sure": that this is the answer is then less likely than that it is another."""


class Confidence:
    """One answer, token by token; it costs a softmax for each of the first twelve and one for the end.

    Probabilities are the model's own: of the logits as they come, before a temperature or a form's mask. Ends
    may be several: their probabilities add up.

    >>> import numpy as np
    >>> confidence = Confidence(end_ids=[2])
    >>> confidence.add(np.log(np.array([0.5, 0.3, 0.2], np.float32)), 0)
    >>> round(confidence.ended(np.log(np.array([0.1, 0.3, 0.6], np.float32))), 6)
    0.3
    """

    def __init__(self, end_ids: Sequence[int]) -> None:
        self._end_ids, self._tokens, self._score = list(end_ids), 0, 0.0

    def add(self, logits: Floats, token: int) -> None:
        """Go on with a token and the logits [vocab] that it was chosen from."""
        self._tokens += 1
        if self._tokens <= MOST_TOKENS:
            self._score += _log_probability(logits, [token])

    def ended(self, logits: Floats | None = None) -> float | None:
        """The probability of the whole answer; None where it has more than twelve tokens.

        ``logits`` [vocab] are those that the end was chosen from, None where a form left nothing but the end.
        """
        if self._tokens > MOST_TOKENS:
            return None
        end = 0.0 if logits is None else _log_probability(logits, self._end_ids)
        return min(1.0, math.exp(self._score + end))


def _log_probability(logits: Floats, ids: Sequence[int]) -> float:
    """The logarithm of the probability that one of ``ids`` follows."""
    top = logits.max()
    weights = np.subtract(logits, top, dtype=np.float32)
    chosen = weights[ids].astype(np.float64)
    total = float(np.exp(weights, out=weights).sum())
    return float(np.logaddexp.reduce(chosen)) - math.log(total)
