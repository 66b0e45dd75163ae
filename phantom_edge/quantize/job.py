"""Quantising a checkpoint as one call: calibrate, choose precisions, round, and measure what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import fold_weights
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import EMBEDDING, Images, image_tokens, logits
from phantom_edge.model.weights import LazyWeights, Maker, dense, is_module, shape_of, view
from phantom_edge.numbers.activations import ActivationGrid, GridOf
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import GROUPS, PRESETS, Recipe
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import mixed
from phantom_edge.quantize.budget import Choice, meet_kl, recipe_of, under_bytes
from phantom_edge.quantize.cache import Cache, key_of
from phantom_edge.quantize.calibration import calibration_sets
from phantom_edge.quantize.kv import kv_quality, kv_scales
from phantom_edge.quantize.layerwise import integers_by_precision, quantize_layerwise
from phantom_edge.quantize.options import MIXED, QuantizeOptions
from phantom_edge.quantize.quality import Quality, quality
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.sensitivity import Options, shares
from phantom_edge.records import to_json

MIXED_SIZE: Final = 1.1
"""Without a budget ``mixed`` may be this many times as large as plain int4."""
SENSITIVITY_SAMPLES: Final = 16
"""Enough to tell modules apart."""
RUNTIME_GRIDS: Final[Mapping[str, GridOf]] = {
    "with inputs on XNNPACK's grid": lambda weight: ActivationGrid.TOKEN_INT8,
    "with inputs on ONNX Runtime's grids": lambda weight: (
        ActivationGrid.BLOCK_INT8 if weight.bits == 4 else ActivationGrid.TENSOR_UINT8
    ),
}
"""What rounding the inputs of integer products costs as well, on the platforms that do it."""


def quantize(
    source: Pretrained,
    model: FoldedModel,
    options: QuantizeOptions,
    *,
    activation: GridOf | None = None,
    cache: Path | None = None,
    step: Step = no_step,
) -> Quantization:
    """Quantise a folded model, with everything that was measured in ``facts``.

    ``activation`` is the grid on which a platform holds the inputs of integer products, where that is known:
    scales and precisions are then chosen for it, and it is part of what is measured. ``cache`` is a folder
    where results are kept by the content that they follow from, so that a second target, or another budget,
    does not cost it all again.

    Raises :class:`InputError`: bad options or calibration data, a budget that cannot be met, a weight that
    cannot be quantised; :class:`CheckError`: an activation that is not finite.
    """
    options = replace(options, quant=options.quant or MIXED)
    options.base.plan(model.module_shapes())  # refuses a rule without work, before any other
    step("preparing calibration")
    job = _Job(source, model, options, activation, Cache(cache), step)
    key = job.cache_key("quantization", options)
    kept = job.cache.quantization(key)
    if kept is not None:
        return kept
    quantization = job.run()
    job.cache.keep_quantization(key, quantization)
    return quantization


class _Job:
    """What the steps of one quantisation share: the model, both sets of samples, the original's answers."""

    def __init__(
        self,
        source: Pretrained,
        model: FoldedModel,
        options: QuantizeOptions,
        activation: GridOf | None,
        cache: Cache,
        step: Step,
    ):
        self.source, self.model, self.options = source, model, options
        self.activation, self.cache, self.step = activation, cache, step
        self.fit, self.held_out = calibration_sets(source, options.calibrate, options.samples)
        self.images: dict[GridOf | None, Images] = {}  # of the quantised vision encoder, by grid of inputs
        self.logits: dict[GridOf | None, list[Tensor]] = {}  # of the quantised model, by grid of inputs

    def run(self) -> Quantization:
        options, model, samples = self.options, self.model, self.held_out.samples
        self.step("running the original")
        self.original_images = image_tokens(model, samples, self.step)
        self.original_logits = logits(model, samples, self.original_images, step=self.step)
        facts: dict[str, Any] = {
            "source": self.source.sha256(),
            "fold": str(model.fold),
            "calibration": self.fit.to_dict(),
            "measured_on": self.held_out.to_dict(),
        }
        if options.quant == MIXED:
            quantization, facts["sensitivity"] = self._quantize_mixed()
        else:
            quantization = self._quantize(options.base)
        quantization, facts["fold_from"] = self._choose_fold(quantization)
        facts["measured"] = {name: q.to_dict() for name, q in self._measure(quantization).items()}
        if options.kv_cache:
            facts["kv_cache"] = self._calibrate_cache(quantization)
        facts["bytes"] = mixed.weight_bytes(model, quantization.recipe)
        quantization.facts = facts
        if self.source.sha256() != facts["source"]:
            raise InputError(f"{self.source.name}: changed on disk while it was at work; quantise it again")
        return quantization

    def cache_key(self, result: str, options: object) -> str:
        """The name under which a result is kept: everything that it follows from."""
        grid = [str(self.activation(_example(bits))) for bits in (4, 8)] if self.activation else None
        return key_of(
            {
                "result": result,
                "options": options,
                "recipe": to_json(self.options.base),
                "source": self.source.sha256(),
                "config": to_json(self.source.config),  # of what was tailored: a vocabulary, a size of tiles
                "fold": self.model.fold,
                "fit": self.fit.sha256,
                "held_out": self.held_out.sha256,
                "grid": grid,
            }
        )

    # --- one recipe -----------------------------------------------------------------------------------------

    def _quantize(self, recipe: Recipe) -> Quantization:
        method, fit = self.options.rounding, self.fit.samples
        return quantize_layerwise(self.model, recipe, method, fit, activation=self.activation, step=self.step)

    def _quality(self, model: FoldedModel) -> Quality:
        model = model.on_grid(self.activation)
        return quality(self.original_logits, logits(model, self.held_out.samples, step=self.step))

    def _run(self, quantization: Quantization, grid: GridOf | None) -> list[Tensor]:
        """Logits of the quantised model, inputs on a grid.

        Its image tokens are computed once per grid: the decoder's fold does not change them.
        """
        model, samples = quantization.apply(self.model).on_grid(grid), self.held_out.samples
        if grid not in self.images:
            self.images[grid] = image_tokens(model, samples, self.step)
        return logits(model, samples, self.images[grid], step=self.step)

    def _measure(self, quantization: Quantization) -> dict[str, Quality]:
        """With inputs exact and as the runtimes round them, and round-to-nearest int4 for comparison."""
        self.step("measuring")
        grids: dict[str, GridOf | None] = {"quantised": self.activation}
        grids |= RUNTIME_GRIDS if self.activation is None else {"inputs exact": None}
        rows = {}
        for name, grid in grids.items():
            if grid not in self.logits:
                self.logits[grid] = self._run(quantization, grid)
            rows[name] = quality(self.original_logits, self.logits[grid])
            if grid is not None:
                del self.logits[grid]
        nearest = PRESETS["int4"].on_grid(self.options.scale_grid)
        rows["round-to-nearest int4"] = self._quality(self.model.quantized(nearest))
        return rows

    # --- a precision per module -----------------------------------------------------------------------------

    def _quantize_mixed(self) -> tuple[Quantization, dict[str, Any]]:
        """The best choice under the budget, and the record of the choice."""
        options, float_type = self._sensitivities(), self.options.base.float_type
        rest, limit_kl = mixed.other_bytes(self.model, PRESETS["int4"]), self.options.budget_kl
        if limit_kl is None:
            limit = self._byte_budget()
            choice = under_bytes(options, limit, rest)
            quantization = self._quantize(recipe_of(choice, float_type))
            return quantization, mixed.choice_facts(options, choice, {"bytes": limit}, rest)
        tried: list[tuple[Choice, Quantization]] = []

        def measure(choice: Choice) -> float:
            quantization = self._quantize(recipe_of(choice, float_type))
            tried.append((choice, quantization))
            return self._quality(quantization.apply(self.model)).kl

        choice = meet_kl(options, limit_kl, measure)
        quantization = next(quantization for other, quantization in tried if other == choice)
        return quantization, mixed.choice_facts(options, choice, {"nats": limit_kl}, rest)

    def _byte_budget(self) -> int:
        if self.options.budget_mb is not None:
            return round(self.options.budget_mb * 1e6)
        return int(MIXED_SIZE * mixed.weight_bytes(self.model, PRESETS["int4"]))

    def _sensitivities(self) -> Options:
        """What every module may become, with bytes and cost."""
        model, base, method = self.model, self.options.base, self.options.rounding
        key = self.cache_key("sensitivity", [str(method), self.options.overrides, self.options.scale_grid])
        kept = self.cache.options(key)
        if kept is not None:
            return kept
        precisions = mixed.integer_precisions(model, base, self.options.scale_grid)
        integers = integers_by_precision(model, method, self.fit.samples, precisions, step=self.step)
        samples = self.fit.samples[:SENSITIVITY_SAMPLES]
        options = shares(model, samples, integers, activation=self.activation, step=self.step)
        options = mixed.without_overridden(options, mixed.overridden(model, base))
        self.cache.keep_options(key, options)
        return options

    # --- the fold and the cache -----------------------------------------------------------------------------

    def _choose_fold(self, quantization: Quantization) -> tuple[Quantization, dict[str, Any]]:
        """The phantom constants of the original or of the quantised weights, whichever keep more."""
        if not any(self.model.spec.phantom_dims):
            return quantization, {"chosen": "original"}
        self.step("folding once more, from the quantised weights")
        constants = refolded(self.source, self.model, quantization)
        quantised = replace(quantization, floats=quantization.floats | constants)
        folds = {"original": quantization, "quantised": quantised}
        answers = {name: self._run(fold, self.activation) for name, fold in folds.items()}
        kl = {name: quality(self.original_logits, answer).kl for name, answer in answers.items()}
        chosen = min(kl, key=kl.__getitem__)
        self.logits[self.activation] = answers[chosen]
        return folds[chosen], {"chosen": chosen, "kl": kl}

    def _calibrate_cache(self, quantization: Quantization) -> dict[str, Any]:
        """Scales of an int8 cache, which become part of ``quantization``; what it costs beyond and alone."""
        self.step("int8 KV cache")
        model, samples = quantization.apply(self.model), self.held_out.samples
        scales = kv_scales(model, self.fit.samples, self.step)
        beyond = kv_quality(model, samples, scales, self.logits[None], self.images[None])
        alone = kv_quality(self.model, samples, scales, self.original_logits, self.original_images)
        quantization.cache = scales.to_state()
        return {"beyond_quantised": beyond.to_dict(), "alone": alone.to_dict()}


def refolded(source: Pretrained, model: FoldedModel, quantization: Quantization) -> dict[str, Tensor]:
    """Phantom constants computed from the quantised decoder: its own first token, its own q, k and v."""
    quantized = quantization.apply(model)

    def maker(name: str) -> Maker[Tensor]:
        return Maker(shape_of(model.weights, name), lambda: dense(quantized.weights[name]))

    makers = view(source.checkpoint, lambda name: True)
    for name in quantized.weights:
        if name.startswith(("text_decoder.", f"{EMBEDDING}.")) and is_module(name):
            makers[name] = maker(name)
    _, folded = fold_weights(model.config, LazyWeights(makers), model.fold, model.first_id)
    return {name: folded[name] for name in folded if not is_module(name)}


def _example(bits: int) -> QuantizedTensor:
    return QuantizedTensor(torch.zeros(1, GROUPS[0], dtype=torch.int8), torch.ones(1, 1), bits, GROUPS[0])
