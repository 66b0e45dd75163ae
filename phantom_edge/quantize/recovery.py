"""Recovery: what rounding took, won back without touching an integer.

The integers stay; their scales and the small unquantised vectors (norms, biases) learn to give the original's
next tokens again: the scale training of LSQ (Esser et al. 2019, arXiv 1902.08153), started from calibrated
integers, against the original's logits (Hinton et al. 2015, arXiv 1503.02531). With the Phantom Optimization
objective (:mod:`.objective`) answers that are wrong are pushed away at the same time. The phantom constants
do not learn: they are covered by the fold's certificate.

A scale is trained as a factor on what it was and passes through :func:`round_scale` on the way, with the
gradient straight through, so that what is trained is what every format stores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel, is_module
from phantom_edge.numbers.grid import QuantizedTensor, round_scale
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import blockwise, store
from phantom_edge.quantize.calibration import SAMPLES, CalibrationSet, Sample, drawn_set, folder_set
from phantom_edge.quantize.job import HELD_OUT, check_source
from phantom_edge.quantize.layerwise import Quantization
from phantom_edge.quantize.quality import Quality, quality
from phantom_edge.training.objective import mean_by_answer, preference_loss, sft_loss, token_log_probs

OBJECTIVES: Final = ("distil", "phantom")
PHANTOM_SHARE: Final = 0.1
"""Of L_PO beside the divergence: the original's tokens come first."""


@dataclass(frozen=True)
class RecoverOptions:
    """How long and how fast. ``lr`` is of the scales' factors; vectors learn at a tenth of it.

    Raises:
        InputError: an unknown objective, or numbers without meaning.
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
            raise InputError(
                "recovery needs at least one step, one sample per step and a rate between 0 and 1"
            )


def recover(
    model: FoldedModel,
    found: Quantization,
    fit: CalibrationSet,
    held: CalibrationSet,
    options: RecoverOptions | None = None,
    step: Step = no_step,
) -> Quantization:
    """Train scales and vectors of ``found`` on ``fit``; what it bought on ``held`` is in
    ``facts["recovery"]``.

    Args:
        model: folded, not quantised: the teacher.
        found: its quantisation.
        fit: samples to learn from; made with ``pairs=True`` for the phantom objective.
        held: samples to measure on.
        options: how long and how fast.
        step: told how far it is.

    Returns:
        The same integers with trained scales and vectors, or ``found``'s own numbers where training did not
        help.

    Raises:
        InputError: the phantom objective without wrong answers.
        CheckError: a loss that is not finite.
    """
    options = options or RecoverOptions()
    if options.objective == "phantom" and not any(_pairs(sample)[1] for sample in fit.samples):
        raise InputError("the phantom objective needs wrong answers; give lines with `wrong`, or use distil")
    step("running the original")
    truth = blockwise.logits(model.spec, model.weights, held.samples)
    before = _quality(truth, found, model, held)
    student = _Student(model, found)
    curve = _train(student, model, fit.samples, options, step)
    trained = student.result(found)
    step("measuring")
    after = _quality(truth, trained, model, held)
    kept = after.kl < before.kl
    told: dict[str, Any] = {
        **asdict(options),
        "before": before.to_dict(),
        "after": after.to_dict(),
        "kept": kept,
        "loss": [curve[0], curve[-1]],
        "learned": student.count,
        "fitted_on": fit.to_dict(),
    }
    chosen = trained if kept else found
    return replace(chosen, facts=found.facts | {"recovery": told})


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

    ``calibrate`` is a folder as :func:`folder_set` takes it, a quarter of which is held out; None takes drawn
    scenes.
    """
    options = options or RecoverOptions()
    store.check_output(output)
    found = store.load(file)
    step("opening the checkpoint")
    source = Pretrained.open(model, revision=revision)
    check_source(found, source)
    fold = Fold.parse(str(found.facts.get("fold", "exact")))
    folded = FoldedModel.of(source.config, source.checkpoint, fold, source.first_id)
    pairs = options.objective == "phantom"
    step("preparing calibration")
    if calibrate is None:
        fit, held = drawn_set(source, samples, pairs=pairs), drawn_set(source, HELD_OUT, split="validation")
    else:
        fit, _ = folder_set(source, calibrate, pairs=pairs).parts(0.25)
        _, held = folder_set(source, calibrate).parts(0.25)
    recovered = recover(folded, found, fit, held, options, step)
    store.save(output, recovered)
    return recovered


def _quality(
    truth: Sequence[Tensor], found: Quantization, model: FoldedModel, held: CalibrationSet
) -> Quality:
    applied = found.apply(model)
    return quality(truth, blockwise.logits(applied.spec, applied.weights, held.samples))


class _Student:
    """The quantised model with its scales and vectors as leaves of a graph."""

    def __init__(self, model: FoldedModel, found: Quantization):
        applied = found.apply(model)
        self.spec = applied.spec
        self.fixed: dict[str, Tensor | QuantizedTensor] = {n: applied.weights[n] for n in applied.weights}
        self.factors = {
            name: torch.zeros_like(w.scales, requires_grad=True)
            for name, w in self.fixed.items()
            if isinstance(w, QuantizedTensor)
        }
        self.codes = {
            n: self.fixed[n].values.float().unflatten(1, (-1, self.fixed[n].block)) for n in self.factors
        }
        self.vectors = {
            name: w.float().clone().requires_grad_()
            for name, w in self.fixed.items()
            if isinstance(w, Tensor) and w.ndim == 1 and is_module(name)
        }

    @property
    def count(self) -> int:
        """Parameters that learn."""
        return sum(t.numel() for t in (*self.factors.values(), *self.vectors.values()))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        return [
            {"params": [*self.factors.values()], "lr": lr},
            {"params": [*self.vectors.values()], "lr": 0.1 * lr},
        ]

    def scales(self, name: str) -> Tensor:
        """The scales of a weight, on the grid, with a gradient."""
        exact = self.fixed[name].scales * self.factors[name].exp()
        return exact + (round_scale(exact.detach()) - exact.detach())

    def weights(self) -> dict[str, Tensor]:
        """Every tensor of the model as it is now."""
        made = {n: w.float() for n, w in self.fixed.items() if isinstance(w, Tensor)} | self.vectors
        for name, codes in self.codes.items():
            made[name] = (codes * self.scales(name).unsqueeze(-1)).flatten(1)  # [out, in]
        return made

    @torch.no_grad()
    def result(self, found: Quantization) -> Quantization:
        integers = {}
        for name in self.factors:
            weight: QuantizedTensor = self.fixed[name]
            scales = round_scale(self.scales(name))
            integers[name.removesuffix(".weight")] = QuantizedTensor(
                weight.values, scales, weight.bits, weight.group
            )
        floats = found.floats | {name: vector.detach().clone() for name, vector in self.vectors.items()}
        return replace(found, integers=integers, floats=floats)


def _train(
    student: _Student, model: FoldedModel, samples: Sequence[Sample], options: RecoverOptions, step: Step
) -> list[float]:
    """Descend for so many steps; the loss of each."""
    teacher = blockwise.logits(model.spec, model.weights, samples)
    optimizer = torch.optim.AdamW(student.groups(options.lr), betas=(0.9, 0.99), weight_decay=0.0)
    rates = [group["lr"] for group in optimizer.param_groups]
    rng, curve = random.Random(options.seed), []
    order: list[int] = []
    for number in range(options.steps):
        step(
            f"recovering: step {number + 1} of {options.steps}" + (f", loss {curve[-1]:.3g}" if curve else "")
        )
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * number / options.steps)))
        total = 0.0
        for _ in range(min(options.batch, len(samples))):
            order = order or rng.sample(range(len(samples)), len(samples))
            index = order.pop()
            loss = _loss(student, samples[index], teacher[index], options) / options.batch
            loss.backward()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise CheckError(f"the loss of step {number + 1} is not a number; recover with a smaller --lr")
        optimizer.step()
        optimizer.zero_grad()
        curve.append(total)
    return curve


def _loss(student: _Student, sample: Sample, teacher: Tensor, options: RecoverOptions) -> Tensor:
    logits = _forward(student, sample)  # [N, vocab]
    packed = sample.packed
    chosen, rejected = _pairs(sample)
    right = ~torch.isin(packed.answers, torch.tensor(rejected, dtype=torch.long))
    target = teacher[right].log_softmax(-1)
    loss = F.kl_div(logits[right].log_softmax(-1), target, log_target=True, reduction="batchmean")
    if options.objective == "distil":
        return loss
    log_probs = token_log_probs(logits, packed.targets)
    po = sft_loss(log_probs[right])
    if rejected:
        means = mean_by_answer(log_probs, packed.answers, packed.segments)
        po = po + preference_loss(means[chosen], means[rejected])
    return loss + PHANTOM_SHARE * po


def _pairs(sample: Sample) -> tuple[list[int], list[int]]:
    """Numbers of the segments that are a right answer with a wrong one after it, and of those."""
    if sample.packed.segments == len(sample.asked):
        return [], []
    chosen, rejected, number = [], [], 0
    for asked in sample.asked:
        if asked.wrong:
            chosen.append(number)
            rejected.append(number + 1)
        number += 2 if asked.wrong else 1
    return chosen, rejected


def _forward(student: _Student, sample: Sample) -> Tensor:
    spec = student.spec
    return blockwise.logits_of_one(
        blockwise.PackedOps(spec, student.weights(), packed=sample.packed), spec, sample
    )
