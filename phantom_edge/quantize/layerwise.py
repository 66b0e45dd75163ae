"""Quantising a folded model block by block, each with the inputs that the quantised blocks before it give.

One block's weights, second moments and integers are in memory at a time, beside one state per sample. The
result is one set of integers on the common grid, and the few vectors that scales were folded into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from phantom_edge.bundle.manifest import ModuleRow
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import (
    EMBEDDING,
    HEAD,
    Block,
    LoadedBlock,
    decoder_blocks,
    embed,
    final_states,
    load,
    patches,
    vision_blocks,
)
from phantom_edge.model.ops import Weights
from phantom_edge.model.weights import Weight, dense
from phantom_edge.numbers.activations import ActivationGrid, GridOf, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import PRESETS, Precision, Recipe
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.calibration import Sample
from phantom_edge.quantize.gptq import objective
from phantom_edge.quantize.input_statistics import Gatherer, InputStatistics
from phantom_edge.quantize.methods import RoundingMethod
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.scaling import Seam, best_scale, candidates, fold_scale, seams

IntegersByPrecision = dict[Precision, QuantizedTensor]


def quantize_layerwise(
    model: FoldedModel,
    recipe: Recipe,
    method: RoundingMethod,
    samples: Sequence[Sample],
    *,
    activation: GridOf | None = None,
    step: Step = no_step,
) -> Quantization:
    """Quantise ``model`` by ``recipe`` with ``method`` over calibration samples.

    ``activation`` is the grid that a runtime holds inputs on: the scales are then chosen for it too.

    Raises :class:`InputError`: a weight that cannot be quantised, by name; :class:`CheckError`: an activation
    that is not finite.
    """
    recipe.plan(model.module_shapes())
    return _Blockwise(model, recipe, method, activation, step).run(samples)


def integers_by_precision(
    model: FoldedModel,
    method: RoundingMethod,
    samples: Sequence[Sample],
    precisions: Mapping[str, Sequence[Precision]],
    *,
    step: Step = no_step,
) -> dict[str, IntegersByPrecision]:
    """Every module in several precisions, each by itself in a model that is otherwise not quantised.

    ``precisions`` names the integer ones of each module. Memory: all of them at once, a byte per weight and
    precision.
    """
    unscaled = replace(method, scaled=False)
    run = _Blockwise(model, PRESETS["fp32"], unscaled, None, step, precisions)
    run.run(samples)
    return {name: run.by_precision[name] for name in precisions}


class _Blockwise:
    """One pass over the blocks; it collects integers, changed vectors and the modules' table."""

    def __init__(
        self,
        model: FoldedModel,
        recipe: Recipe,
        method: RoundingMethod,
        activation: GridOf | None,
        step: Step,
        precisions: Mapping[str, Sequence[Precision]] | None = None,
    ):
        self.model, self.recipe, self.method, self.step = model, recipe, method, step
        self.activation, self.shapes = activation, model.module_shapes()
        self.integers: dict[str, QuantizedTensor] = {}
        self.floats: dict[str, Tensor] = {}
        self.rows: list[ModuleRow] = []
        self.precisions = precisions or {}
        self.by_precision: dict[str, IntegersByPrecision] = {name: {} for name in self.precisions}

    @torch.no_grad()
    def run(self, samples: Sequence[Sample]) -> Quantization:
        model, config = self.model, self.model.config
        states = patches(model.spec, self._stored_patches(), [sample.pixels for sample in samples])
        for block in vision_blocks(config):
            states = self._quantize_block(block, samples, states)
        states = embed(model.spec, self._quantize_embedding(), samples, states)
        for block in decoder_blocks(config):
            states = self._quantize_block(block, samples, states)
        self._quantize_head(final_states(model.spec, model.weights, samples, states))
        return Quantization(self.recipe, str(self.method), self.integers, self.floats, tuple(self.rows))

    def _stored_patches(self) -> Weights:
        """The tensors before the first block, in the type that the recipe gives them."""
        weights, dtype = self.model.weights, self.recipe.float_type.dtype
        parts = ("patch_embedding.weight", "class_embedding", "position_embedding")
        stored = {name: dense(weights[name]).to(dtype) for name in (f"vision_encoder.{p}" for p in parts)}
        bias = "vision_encoder.patch_embedding.bias"
        return {**stored, bias: weights[bias]}

    def _quantize_embedding(self) -> Weights:
        """The embedding is looked up, not multiplied: its rows are rounded by themselves."""
        weight, precision = self.model.matrix(EMBEDDING), self._precision(EMBEDDING)
        for p in self.precisions.get(EMBEDDING, ()):
            self.by_precision[EMBEDDING][p] = quantize_weight(weight, p.bits, p.group, scales=p.scales)
        if not precision.is_integer:
            return {f"{EMBEDDING}.weight": weight}
        rounded = quantize_weight(weight, precision.bits, precision.group, scales=precision.scales)
        error = float((rounded.dequantize() - weight).norm() / weight.norm())
        self.integers[EMBEDDING] = rounded
        self.rows.append(ModuleRow(EMBEDDING, str(precision), rounded.nbytes, error, error, 0.0, 1.0))
        return {f"{EMBEDDING}.weight": rounded}

    def _quantize_block(
        self, block: Block, samples: Sequence[Sample], states: Sequence[Tensor]
    ) -> list[Tensor]:
        self.step(f"quantising {block.name}")
        (loaded,) = load(block, [self.model])
        gatherer = Gatherer(block.modules)
        after = loaded.run(samples, states, gatherer)
        weights = {name: dense(weight) for name, weight in loaded.weights.items()}
        changed = self._quantize_modules(block.name, block.modules, weights, gatherer.statistics)
        if not changed:
            return after
        return LoadedBlock(block, self.model, {**weights, **changed}).run(samples, states)

    def _quantize_head(self, states: Sequence[Tensor]) -> None:
        self.step(f"quantising {HEAD}")
        names = (f"{HEAD}.weight", "text_decoder.norm.weight")
        weights = {name: dense(self.model.weights[name]) for name in names}
        statistics = InputStatistics(HEAD)
        for x in states:
            statistics.add(x)
        self._quantize_modules(HEAD, (HEAD,), weights, {HEAD: statistics})

    def _quantize_modules(
        self,
        block: str,
        modules: Sequence[str],
        original: Mapping[str, Tensor],
        statistics: Mapping[str, InputStatistics],
    ) -> dict[str, Weight]:
        """Scale, then round, the modules of one block; the tensors that this changes, by name."""
        weights = dict(original)
        scales: dict[str, tuple[str, Tensor]] = {}
        if self.method.scaled:
            for seam in seams(self.model.spec, block):
                scales[seam.sink] = self._best_scale(seam, weights, statistics[seam.sink])
                weights |= fold_scale(weights, seam, scales[seam.sink][1])
        scaled = {n: t for n, t in weights.items() if not torch.equal(t, original[n])}
        self.floats |= {n: t for n, t in scaled.items() if t.ndim == 1}
        changed: dict[str, Weight] = dict(scaled)
        for name in modules:
            weight = weights[f"{name}.weight"]
            stored = self._quantize_module(name, weight, statistics[name], scales.get(name))
            if isinstance(stored, QuantizedTensor) or not torch.equal(stored, original[f"{name}.weight"]):
                changed[f"{name}.weight"] = stored
        return changed

    def _precision(self, name: str) -> Precision:
        return self.recipe.resolve(name, self.shapes[name])

    def _best_scale(
        self, seam: Seam, weights: Mapping[str, Tensor], statistics: InputStatistics
    ) -> tuple[str, Tensor]:
        """The best scale of a seam for error-searched rounding of the sink and for the grid of its inputs."""
        weight, precision = weights[f"{seam.sink}.weight"], self._precision(seam.sink)
        tried = candidates(statistics.mean_abs, statistics.absmax, weight)
        if not precision.is_integer:
            return "none", tried["none"]
        second, some = statistics.second, statistics.some

        def cost(scale: Tensor) -> float:
            moved = weight * scale
            rounded = quantize_weight(moved, precision.bits, precision.group, scales=precision.scales)
            total = objective(moved, rounded, second / scale / scale[:, None])
            if self.activation is not None:
                x = some / scale
                noise = fake_quantize(x, self.activation(rounded), precision.group) - x
                total += float((noise @ moved.T).square().sum() / len(some))
            return total

        return best_scale(tried, cost)

    def _quantize_module(
        self, name: str, weight: Tensor, statistics: InputStatistics, scale: tuple[str, Tensor] | None
    ) -> Weight:
        """A module's weight as it is stored; ``scale``, by name, is in it already, but not in its inputs."""
        precision, second, some = self._precision(name), statistics.second, statistics.some
        if scale is not None:
            second, some = second / scale[1] / scale[1][:, None], some / scale[1]
        if name in self.precisions:
            for p in self.precisions[name]:
                self.by_precision[name][p] = self.method.quantize(name, weight, second, p)
            return weight
        scale_name = "none" if scale is None else scale[0]
        size = max(float(((weight @ second) * weight).sum()), 1e-30)
        row = (_input_error(some, weight), statistics.outlier, scale_name)
        if not precision.is_integer:
            stored = weight.to(precision.dtype)
            change = stored.float() - weight
            error = math.sqrt(float(((change @ second) * change).sum().clamp_min(0)) / size)
            self.rows.append(ModuleRow(name, str(precision), stored.nbytes, error, error, *row))
            if scale_name != "none":
                self.floats[f"{name}.weight"] = weight
            return stored
        rounded = self.method.quantize(name, weight, second, precision)
        is_nearest = self.method.rounding == "rtn"
        nearest = (
            rounded
            if is_nearest
            else quantize_weight(weight, precision.bits, precision.group, scales=precision.scales)
        )
        before, after = (math.sqrt(max(objective(weight, q, second), 0) / size) for q in (nearest, rounded))
        self.integers[name] = rounded
        self.rows.append(ModuleRow(name, str(precision), rounded.nbytes, before, after, *row))
        return rounded


def _input_error(inputs: Tensor, weight: Tensor) -> float:
    """What rounding the inputs alone to int8 per token changes in the output, relative."""
    noise = fake_quantize(inputs, ActivationGrid.TOKEN_INT8) - inputs
    error = (noise @ weight.T).square().sum() / (inputs @ weight.T).square().sum().clamp_min(1e-30)
    return math.sqrt(float(error))
