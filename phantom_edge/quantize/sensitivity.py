"""What each module's precision costs: its share of the KL divergence of the next tokens, for all modules at
once.

For a small change d of the parameters KL(p || p + d) = d^T F d / 2 with Fisher's information F, the mean over
tokens y drawn from the model itself of the outer product of grad log p(y) with itself (Kunstner et al. 2019,
arXiv 1905.12558, section 2; the same quadratic is behind HAWQ, arXiv 1911.03852). So one backward pass gives,
for *every* module, the directional derivative along what its quantisation changes, and half the mean of its
square is the module's share. Rounding the inputs of a matrix product is such a change too, of its output, and
enters the same derivative.

Measuring instead each module alone costs one run of the model per module and precision. :func:`alone` does
that; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.errors import CheckError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import FP16, Precision
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import blockwise
from phantom_edge.quantize.calibration import Sample
from phantom_edge.quantize.layerwise import overlaid
from phantom_edge.quantize.quality import divergence

DRAWS: Final = 4
"""Backward passes per sample, each with tokens drawn anew: 16 samples give the shares to about a sixth."""
GridOf = Callable[[QuantizedTensor], ActivationGrid]


@dataclass(frozen=True)
class Option:
    """One precision of a module: bytes of its weight, and the KL divergence in nats per position that it
    costs.
    """

    precision: Precision
    bytes: int
    kl: float


Options = dict[str, list[Option]]
Forms = Mapping[str, Mapping[Precision, QuantizedTensor]]


def shares(
    model: FoldedModel,
    samples: Sequence[Sample],
    forms: Forms,
    *,
    activation: GridOf | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    step: Step = no_step,
) -> Options:
    """The cost of each form of each module, and of fp16, by Fisher's information.

    Args:
        model: folded, not quantised.
        samples: what to measure on.
        forms: integers by precision, per module.
        activation: the grid that a runtime holds the inputs of such a product on.
        draws: backward passes per sample.
        seed: of the drawn tokens.
        step: told how far it is.

    Raises:
        CheckError: a derivative that is not finite.
    """
    pool = _Pool(model, forms, activation)
    generator = torch.Generator().manual_seed(seed)
    for number, sample in enumerate(samples, start=1):
        step(f"sensitivity: sample {number} of {len(samples)}")
        log_probs = pool.run(sample).log_softmax(-1)  # [N, vocab]
        for draw in range(draws):
            tokens = torch.multinomial(log_probs.detach().exp(), 1, generator=generator)  # [N, 1]
            log_probs.gather(1, tokens).sum().backward(retain_graph=draw + 1 < draws)
            pool.close_draw()
    positions = sum(len(sample.packed.sources) for sample in samples)
    return pool.options(draws * positions)


def alone(
    model: FoldedModel,
    samples: Sequence[Sample],
    forms: Forms,
    *,
    step: Step = no_step,
) -> Options:
    """The same, measured: each module quantised alone, one run of the model for each of its forms."""
    truth = blockwise.logits(model.spec, model.weights, samples)
    options: Options = {}
    for name, of_module in forms.items():
        step(f"sensitivity: {name}")
        weight = model.weights[f"{name}.weight"]
        options[name] = []
        for precision, form in {**of_module, FP16: weight.half()}.items():
            changed = replace(model, weights=LazyWeights(overlaid(model.weights, {f"{name}.weight": form})))
            kl = float(divergence(truth, blockwise.logits(changed.spec, changed.weights, samples)).mean())
            options[name].append(Option(precision, _bytes(form), kl))
    return options


class _Pool:
    """The model's modules as leaves of a graph, and the derivatives along each of their forms."""

    def __init__(self, model: FoldedModel, forms: Forms, activation: GridOf | None):
        self.model, self.forms, self.activation = model, forms, activation
        self.held = {name: model.weights[name] for name in model.weights}
        self.held |= {n: w.float() for n, w in self.held.items()}
        self.sums: dict[str, dict[Precision, float]] = {
            n: dict.fromkeys([*f, FP16], 0.0) for n, f in forms.items()
        }
        self.now = {n: dict.fromkeys(s, 0.0) for n, s in self.sums.items()}
        for name in forms:
            weight = self.held[f"{name}.weight"].clone().requires_grad_()
            weight.register_post_accumulate_grad_hook(lambda w, name=name: self._along(name, w))
            self.held[f"{name}.weight"] = weight

    def run(self, sample: Sample) -> Tensor:
        """Logits [N, vocab] with a graph behind them."""
        return blockwise.logits_of_one(_HookedOps(self, sample), self.model.spec, sample)

    def _along(self, name: str, weight: Tensor) -> None:
        gradient, exact = weight.grad, weight.detach()
        for precision, form in {**self.forms[name], FP16: exact.half()}.items():
            restored = form.dequantize() if isinstance(form, QuantizedTensor) else form.float()
            self.now[name][precision] += float((gradient * (restored - exact)).sum())
        weight.grad = None

    def along_input(self, name: str, gradient: Tensor, x: Tensor) -> None:
        """Add what rounding the inputs ``x`` [..., in] changes, given the output's gradient [..., out]."""
        weight = self.held[f"{name}.weight"].detach()
        for precision, form in self.forms[name].items():
            noise = fake_quantize(x, self.activation(form), form.group) - x
            self.now[name][precision] += float((gradient * F.linear(noise, weight)).sum())

    def close_draw(self) -> None:
        """Square the derivatives of one backward pass into the sums."""
        for name, derivatives in self.now.items():
            for precision, value in derivatives.items():
                if value != value or abs(value) == float("inf"):
                    raise CheckError(
                        f"{name}: the derivative of the logits is not finite; the checkpoint is broken"
                    )
                self.sums[name][precision] += value * value
                derivatives[precision] = 0.0

    def options(self, count: int) -> Options:
        found: Options = {}
        for name, sums in self.sums.items():
            forms = {**self.forms[name], FP16: self.held[f"{name}.weight"].detach().half()}
            found[name] = [Option(p, _bytes(form), 0.5 * sums[p] / count) for p, form in forms.items()]
        return found


class _HookedOps(blockwise.PackedOps):
    def __init__(self, pool: _Pool, sample: Sample):
        super().__init__(pool.model.spec, pool.held, packed=sample.packed)
        self.pool = pool

    def linear(self, x, name):
        y = super().linear(x, name)
        if self.pool.activation is not None and name in self.pool.forms and y.requires_grad:
            inputs = x.detach()
            y.register_hook(lambda gradient: self.pool.along_input(name, gradient, inputs))
        return y


def _bytes(form: QuantizedTensor | Tensor) -> int:
    return form.nbytes


def total(options: Iterable[Option]) -> tuple[int, float]:
    """Bytes and KL of a choice; shares add up as far as changes of different modules are independent."""
    chosen = list(options)
    return sum(o.bytes for o in chosen), sum(o.kl for o in chosen)
