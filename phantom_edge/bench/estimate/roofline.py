"""Seconds from work and rates: the roofline, summed over a graph's kinds of operations. Pure arithmetic.

Williams, Waterman, Patterson, Roofline (2009): a matrix product takes as long as the slower of reading its
weights and computing. The rest is attention, everything that writes values, and a fixed time per operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phantom_edge.bench.estimate.count import Model, Work


@dataclass(frozen=True)
class Rates:
    """What a device does per second in one runtime.

    ``read`` bytes of weights, by kind, when one token is multiplied; ``multiply`` operations, by kind, when
    many are, and ``multiply_image`` those of the vision encoder. ``attend_one`` and ``attend_many``
    operations of the decoder's attention for one and for many new tokens, ``attend_image`` of the vision
    encoder's; ``cache`` bytes of the KV cache; ``write`` values of everything else in the decoder,
    ``write_image`` in the vision encoder; ``call`` seconds per operation.
    """

    read: Mapping[str, float]
    multiply: Mapping[str, float]
    multiply_image: Mapping[str, float]
    attend_one: float
    attend_many: float
    attend_image: float
    cache: float
    write: float
    write_image: float
    call: float

    def products(self, work: Work) -> float:
        """Seconds of the matrix products."""
        read, multiply = self.read, self.multiply
        return sum(max(work.weights[k] / read[k], work.products[k] / multiply[k]) for k in work.kinds)

    def rest(self, work: Work) -> float:
        """Seconds of everything but products and attention."""
        return work.elements / self.write + work.calls * self.call

    def vision(self, model: Model) -> float:
        """Seconds of one tile."""
        work = model.vision()
        products = sum(work.products[kind] / self.multiply_image[kind] for kind in work.kinds)
        rest = work.elements / self.write_image + work.calls * self.call
        return products + rest + work.attention / self.attend_image

    def decode(self, model: Model, cached: int) -> float:
        """Seconds of one generated token on a cache that holds ``cached`` already."""
        work, embed = model.decoder(1, cached), model.embedding(1)
        attention = max(work.attention / self.attend_one, work.cached / self.cache)
        return self.products(work) + self.rest(work) + attention + self.rest(embed)

    def prefill(self, model: Model, tokens: int, chunk: int) -> float:
        """Seconds of a prompt of ``tokens`` tokens, ``chunk`` at a time."""
        total = 0.0
        for start in range(0, tokens, chunk):
            steps = min(chunk, tokens - start)
            work, embed = model.decoder(steps, start), model.embedding(steps)
            attention = max(work.attention / self.attend_many, work.cached / self.cache)
            total += self.products(work) + self.rest(work) + attention + self.rest(embed)
        return total
