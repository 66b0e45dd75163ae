"""Recovery: what rounding took, won back without touching an integer.

The integers stay; their scales and the small unquantised vectors (norms, biases) learn to give the original's
next tokens again: the scale training of LSQ (Esser et al. 2019, arXiv 1902.08153), started from calibrated
integers, against the original's logits (Hinton et al. 2015, arXiv 1503.02531). With Phantom Optimization's
objective (:mod:`phantom_edge.training.objective`) wrong answers are pushed away at the same time. The phantom
constants do not learn: they are covered by the fold's certificate.

A scale is trained as a factor on what it was and is rounded to its grid on the way, with the gradient
straight through, so that what is trained is what every format stores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import logits, logits_in_one_graph
from phantom_edge.model.weights import is_module
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.lpbq import nearest_scale
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import store
from phantom_edge.quantize.calibration import HELD_OUT, SAMPLES, CalibrationSet, Sample, drawn_set, folder_set
from phantom_edge.quantize.quality import Quality, quality
from phantom_edge.quantize.result import Quantization
from phantom_edge.training.loop import Stage, Trainer
from phantom_edge.training.objective import mean_by_answer, preference_loss, sft_loss, token_log_probs

OBJECTIVES: Final = ("distil", "phantom")
PHANTOM_SHARE: Final = 0.1
"""Of L_PO beside the divergence: the original's tokens come first."""


@dataclass(frozen=True)
class RecoverOptions:
    """How long and how fast. ``lr`` is of the scales' factors; vectors learn at a tenth of it.

    Raises :class:`InputError`: an unknown objective, or numbers without meaning.
    """

    steps: int = 100
    lr: float = 1e-3
    batch: int = 4
    objective: str = "distil"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InputError(f"unknown objective {self.objective!r}; there are {', '.join(OBJECTIVES)}")
        if self.steps < 1 or self.batch < 1 or not (0 < self.lr < 1):
            raise InputError("recovery needs a step, a sample per step and a rate between 0 and 1")


def recover(
    model: FoldedModel,
    quantization: Quantization,
    fit: CalibrationSet,
    held_out: CalibrationSet,
    options: RecoverOptions | None = None,
    step: Step = no_step,
) -> Quantization:
    """Train scales and vectors of a quantisation; what that bought is in ``facts["recovery"]``.

    Args:
        model: folded, not quantised: the teacher.
        quantization: the model's.
        fit: samples to learn from; made with ``pairs=True`` for the phantom objective.
        held_out: samples to measure on.
        options: how long and how fast.
        step: called with how far it is.

    Returns:
        The same integers with trained scales and vectors, or the quantisation as it was if that did not help.

    Raises :class:`InputError`: the phantom objective without wrong answers; :class:`CheckError`: a loss that
    is not finite.
    """
    options = options or RecoverOptions()
    if options.objective == "phantom" and not any(_pairs(sample)[1] for sample in fit.samples):
        raise InputError("the phantom objective needs wrong answers; give lines with `wrong`, or use distil")
    step("running the original")
    truth = logits(model, held_out.samples)

    def measured(quantization: Quantization) -> Quality:
        return quality(truth, logits(quantization.apply(model), held_out.samples))

    before = measured(quantization)
    recovery = _Recovery(model, quantization, fit.samples, options, step)
    recovery.train()
    trained = recovery.result(quantization)
    step("measuring")
    after = measured(trained)
    kept = after.kl < before.kl
    facts: dict[str, Any] = {
        **asdict(options),
        "before": before.to_dict(),
        "after": after.to_dict(),
        "kept": kept,
        "loss": [recovery.state.curve[n]["loss"] for n in (0, -1)],
        "learned": recovery.count,
        "fitted_on": fit.to_dict(),
    }
    chosen = trained if kept else quantization
    return replace(chosen, facts=quantization.facts | {"recovery": facts})


def recover_file(
    file: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    revision: str | None = None,
    calibrate: str | Path | None = None,
    samples: int = SAMPLES,
    options: RecoverOptions | None = None,
    step: Step = no_step,
) -> Quantization:
    """:func:`recover` from one file of ``phantom-edge quantize`` to another.

    ``calibrate`` is a folder as :func:`folder_set` takes it, a quarter of it held out; None draws scenes.
    """
    options = options or RecoverOptions()
    store.check_output(output, [file])
    quantization = store.load(file)
    step("opening the checkpoint")
    source = Pretrained.open(model, revision=revision, step=step)
    store.check_source(quantization, source)
    fold = Fold.parse(str(quantization.facts.get("fold", "exact")))
    folded = FoldedModel.of(source.config, source.checkpoint, fold, source.first_id)
    pairs = options.objective == "phantom"
    step("preparing calibration")
    if calibrate is None:
        fit = drawn_set(source, samples, pairs=pairs)
        held_out = drawn_set(source, HELD_OUT, split="validation")
    else:
        fit, _ = folder_set(source, calibrate, pairs=pairs).split(0.25)
        _, held_out = folder_set(source, calibrate).split(0.25)
    recovered = recover(folded, quantization, fit, held_out, options, step)
    store.save(output, recovered)
    return recovered


class _Recovery(Trainer[Stage, int]):
    """Scales and vectors of a quantised model as leaves of a graph; a micro-batch is a sample's number."""

    remedy = "recover with a smaller --lr"

    def __init__(
        self,
        model: FoldedModel,
        quantization: Quantization,
        samples: Sequence[Sample],
        options: RecoverOptions,
        step: Step,
    ):
        super().__init__([Stage("recovering", options.steps)], lambda event: step(str(event)))
        self.samples, self.options = samples, options
        self.teacher = logits(model, samples)
        applied = quantization.apply(model)
        self.spec = applied.spec
        tensors = {name: applied.weights[name] for name in applied.weights}
        self.integers = {name: w for name, w in tensors.items() if isinstance(w, QuantizedTensor)}
        self.floats = {name: w.float() for name, w in tensors.items() if isinstance(w, Tensor)}
        self.nearest = {
            name: nearest_scale(quantization.recipe.resolve(_module(name), w.shape).scales, w.scales)
            for name, w in self.integers.items()
        }
        self.factors = {n: torch.zeros_like(w.scales, requires_grad=True) for n, w in self.integers.items()}
        self.codes = {n: w.values.float().unflatten(1, (-1, w.block)) for n, w in self.integers.items()}
        vectors = {n: w for n, w in self.floats.items() if w.ndim == 1 and is_module(n)}
        self.vectors = {n: w.clone().requires_grad_() for n, w in vectors.items()}

    @property
    def count(self) -> int:
        """Parameters that learn."""
        return sum(t.numel() for t in (*self.factors.values(), *self.vectors.values()))

    def begin(self, stage: Stage) -> tuple[dict[str, Tensor], list[torch.optim.Optimizer]]:
        groups = [
            {"params": [*self.factors.values()], "lr": self.options.lr},
            {"params": [*self.vectors.values()], "lr": 0.1 * self.options.lr},
        ]
        return {}, [torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)]

    def batches(self, stage: Stage, first: int) -> Iterator[list[int]]:
        """Numbers of samples, each of which comes once before any comes again."""
        rng, count = random.Random(self.options.seed), len(self.samples)
        order: list[int] = []
        for _ in range(stage.steps):
            batch = []
            for _ in range(min(self.options.batch, count)):
                order = order or rng.sample(range(count), count)
                batch.append(order.pop())
            yield batch

    def schedule(self, stage: Stage, step: int) -> float:
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / stage.steps))

    def loss(self, part: int, parts: Sequence[int]) -> Tensor:
        sample = self.samples[part]
        answer = logits_in_one_graph(self.spec, self.weights(), sample)  # [N, vocab]
        loss = _loss(answer, sample, self.teacher[part], self.options.objective) / self.options.batch
        # The sum over the batch, counted as one value.
        self.state.totals.add("loss", float(loss.detach()), int(self.state.micro == 0))
        return loss

    def scales(self, name: str) -> Tensor:
        """The scales of a weight, on the grid, with a gradient."""
        exact = self.integers[name].scales * self.factors[name].exp()
        return exact + (self.nearest[name](exact.detach(), 0) - exact.detach())

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the model as it is now."""
        # [out, in]
        matrices = {n: (codes * self.scales(n).unsqueeze(-1)).flatten(1) for n, codes in self.codes.items()}
        return self.floats | self.vectors | matrices

    @torch.no_grad()
    def result(self, quantization: Quantization) -> Quantization:
        """The quantisation with the scales and vectors as they are now."""
        integers = {
            _module(name): replace(weight, scales=self.nearest[name](self.scales(name), 0))
            for name, weight in self.integers.items()
        }
        floats = quantization.floats | {name: v.detach().clone() for name, v in self.vectors.items()}
        return replace(quantization, integers=integers, floats=floats)


def _module(weight: str) -> str:
    return weight.removesuffix(".weight")


def _loss(logits: Tensor, sample: Sample, teacher: Tensor, objective: str) -> Tensor:
    """The divergence of logits [N, vocab] from the original's, and with ``phantom`` a share of L_PO."""
    packed = sample.packed
    chosen, rejected = _pairs(sample)
    right = ~torch.isin(packed.answers, torch.tensor(rejected, dtype=torch.long))
    target = teacher[right].log_softmax(-1)
    loss = F.kl_div(logits[right].log_softmax(-1), target, log_target=True, reduction="batchmean")
    if objective == "distil":
        return loss
    log_probs = token_log_probs(logits, packed.targets)
    po = sft_loss(log_probs[right])
    if rejected:
        means = mean_by_answer(log_probs, packed.answers, packed.segments)
        po = po + preference_loss(means[chosen], means[rejected])
    return loss + PHANTOM_SHARE * po


def _pairs(sample: Sample) -> tuple[list[int], list[int]]:
    """Numbers of the segments that are a right answer with a wrong one after it, and of those."""
    if sample.packed.segments == len(sample.questions):
        return [], []
    chosen, rejected, number = [], [], 0
    for question in sample.questions:
        if question.wrong:
            chosen.append(number)
            rejected.append(number + 1)
        number += 2 if question.wrong else 1
    return chosen, rejected
