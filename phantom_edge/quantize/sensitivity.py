"""What each module's precision costs: its share of the KL divergence, for all modules at once.

For a small change d of the parameters KL(p || p + d) = d^T F d / 2 with Fisher's information F, the mean over
tokens y drawn from the model itself of the outer product of grad log p(y) with itself (Kunstner et al. 2019,
arXiv 1905.12558, section 2; the same quadratic is behind HAWQ, arXiv 1911.03852). So one backward pass gives,
for *every* module, the directional derivative along what its quantisation changes, and half the mean of its
square is the module's share. Rounding the inputs of a matrix product is such a change too, of its output, and
enters the same derivative.

Measuring each module alone costs a run per module and precision; a test does that, and compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.errors import CheckError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import logits_in_one_graph
from phantom_edge.model.weights import Weight, dense
from phantom_edge.numbers.activations import GridOf, fake_quantize
from phantom_edge.numbers.recipe import FP16, Precision
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.calibration import Sample
from phantom_edge.quantize.layerwise import IntegersByPrecision

DRAWS: Final = 4
"""Backward passes per sample, each with tokens drawn anew: 16 samples give the shares to about a sixth."""


@dataclass(frozen=True)
class Option:
    """One precision of a module: bytes of its weight, and its cost as KL divergence in nats per position."""

    precision: Precision
    bytes: int
    kl: float


Options = dict[str, list[Option]]
Integers = Mapping[str, IntegersByPrecision]


def shares(
    model: FoldedModel,
    samples: Sequence[Sample],
    integers: Integers,
    *,
    activation: GridOf | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    step: Step = no_step,
) -> Options:
    """The cost of each precision of each module, and of fp16, by Fisher's information.

    Args:
        model: folded, not quantised.
        samples: what to measure on.
        integers: by precision, per module.
        activation: the grid that a runtime holds the inputs of such a product on.
        draws: backward passes per sample.
        seed: of the drawn tokens.
        step: reports each sample.

    Raises :class:`CheckError`: a derivative that is not finite.
    """
    derivatives = _Derivatives(model, integers, activation)
    generator = torch.Generator().manual_seed(seed)
    for number, sample in enumerate(samples, start=1):
        step(f"sensitivity: sample {number} of {len(samples)}")
        log_probs = derivatives.logits(sample).log_softmax(-1)  # [N, vocab]
        for draw in range(draws):
            tokens = torch.multinomial(log_probs.detach().exp(), 1, generator=generator)  # [N, 1]
            log_probs.gather(1, tokens).sum().backward(retain_graph=draw + 1 < draws)
            derivatives.close_draw()
    positions = sum(len(sample.sources) for sample in samples)
    return derivatives.options(draws * positions)


class _Derivatives:
    """The modules' weights as leaves of a graph, and the derivatives along each change of one."""

    def __init__(self, model: FoldedModel, integers: Integers, activation: GridOf | None):
        self.spec, self.integers, self.activation = model.spec, integers, activation
        self.weights = {name: dense(weight) for name, weight in model.weights.items()}
        for name in integers:
            weight = self.weights[f"{name}.weight"].clone().requires_grad_()
            weight.register_post_accumulate_grad_hook(partial(self._along_weight, name))
            self.weights[f"{name}.weight"] = weight
        self.squares = {name: dict.fromkeys([*own, FP16], 0.0) for name, own in integers.items()}
        self.of_draw = {name: dict.fromkeys([*own, FP16], 0.0) for name, own in integers.items()}

    def logits(self, sample: Sample) -> Tensor:
        """Logits [N, vocab] with a graph behind them."""
        observe = None if self.activation is None else partial(self._observe, self.activation)
        return logits_in_one_graph(self.spec, self.weights, sample, observe)

    def _stored(self, name: str) -> dict[Precision, Weight]:
        """What a module's weight may become."""
        return {**self.integers[name], FP16: self.weights[f"{name}.weight"].detach().half()}

    def _along_weight(self, name: str, weight: Tensor) -> None:
        gradient, weight.grad = weight.grad, None
        if gradient is not None:
            for precision, stored in self._stored(name).items():
                change = dense(stored) - weight.detach()
                self.of_draw[name][precision] += float((gradient * change).sum())

    def _observe(self, activation: GridOf, name: str, x: Tensor, y: Tensor) -> None:
        if name in self.integers and y.requires_grad:
            y.register_hook(partial(self._along_inputs, activation, name, x.detach()))

    def _along_inputs(self, activation: GridOf, name: str, x: Tensor, gradient: Tensor) -> None:
        """Add what rounding the inputs ``x`` [..., in] changes, given the output's gradient [..., out]."""
        weight = self.weights[f"{name}.weight"].detach()
        for precision, rounded in self.integers[name].items():
            noise = fake_quantize(x, activation(rounded), rounded.group) - x
            self.of_draw[name][precision] += float((gradient * F.linear(noise, weight)).sum())

    def close_draw(self) -> None:
        """Square the derivatives of one backward pass into the sums."""
        for name, derivatives in self.of_draw.items():
            for precision, value in derivatives.items():
                if not math.isfinite(value):
                    raise CheckError(f"{name}: a derivative is not finite; the checkpoint is broken")
                self.squares[name][precision] += value * value
                derivatives[precision] = 0.0

    def options(self, count: int) -> Options:
        """Bytes and cost of every change, after ``count`` positions and draws."""
        return {
            name: [
                Option(precision, stored.nbytes, 0.5 * self.squares[name][precision] / count)
                for precision, stored in self._stored(name).items()
            ]
            for name in self.integers
        }


def total(options: Iterable[Option]) -> tuple[int, float]:
    """Bytes and KL of a choice; shares add up as far as changes of different modules are independent."""
    chosen = list(options)
    return sum(o.bytes for o in chosen), sum(o.kl for o in chosen)
