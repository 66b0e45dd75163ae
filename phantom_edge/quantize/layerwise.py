"""Quantising a folded model block by block, each with the inputs that the blocks before it, already
quantised, give.

One block's weights, second moments and integers are in memory at a time, beside one state per sample. What
comes out is one set of integers on the common grid, and the few vectors that scales were folded into.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor

from phantom_edge.bundle.manifest import ModuleRow
from phantom_edge.errors import InputError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights, Maker, shape_of, view
from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import PRESETS, Precision, Recipe
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import blockwise
from phantom_edge.quantize.calibration import Sample
from phantom_edge.quantize.gptq import gptq, objective
from phantom_edge.quantize.hqq import hqq
from phantom_edge.quantize.input_statistics import Gatherer, Moments
from phantom_edge.quantize.scaling import Seam, best_scale, candidates, fold_scale, seams

GridOf = Callable[[QuantizedTensor], ActivationGrid]


@dataclass(frozen=True)
class Method:
    """How integers are found: ``rounding`` is ``rtn``, ``hqq`` or ``gptq``; ``scaled`` folds scales before
    it.

    >>> str(Method.parse("awq"))
    'awq'
    """

    rounding: str
    scaled: bool = False

    @classmethod
    def parse(cls, text: str) -> Method:
        """One of :data:`METHODS`. Raises :class:`InputError`."""
        if text not in METHODS:
            raise InputError(f"unknown method {text!r}; there are {', '.join(METHODS)}")
        return METHODS[text]

    @property
    def calibrated(self) -> bool:
        """Whether it looks at any data."""
        return self.scaled or self.rounding == "gptq"

    def __str__(self) -> str:
        return next(name for name, method in METHODS.items() if method == self)


METHODS: Final = {
    "rtn": Method("rtn"),
    "hqq": Method("hqq"),
    "awq": Method("rtn", scaled=True),
    "gptq": Method("gptq"),
    "gptq-awq": Method("gptq", scaled=True),
}
"""``rtn``: error-searched round-to-nearest; ``awq``: the same after scaling; ``gptq-awq``: both."""


@dataclass
class Quantization:
    """Integers by module, float tensors that are no longer the checkpoint's, and how both came about.

    ``cache`` is the state of :class:`~phantom_edge.quantize.kv.KVScales`, for a platform that keeps its cache
    in int8.
    """

    recipe: Recipe
    method: str
    integers: dict[str, QuantizedTensor]
    floats: dict[str, Tensor] = field(default_factory=dict)
    rows: tuple[ModuleRow, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Tensor] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Of all modules' weights, without what no recipe touches."""
        return sum(row.bytes for row in self.rows)

    def apply(self, model: FoldedModel, step: Step = no_step) -> FoldedModel:
        """The folded model with these numbers in the place of its own.

        Raises :class:`InputError` when a tensor is of another model.
        """
        for name, tensor in {**{f"{n}.weight": q for n, q in self.integers.items()}, **self.floats}.items():
            if name not in model.weights or shape_of(model.weights, name) != tuple(tensor.shape):
                raise InputError(f"{name}: the quantised weights are of another model")
        base = replace(model, weights=LazyWeights(overlaid(model.weights, self.floats))).quantized(
            self.recipe, step
        )
        integers = {f"{name}.weight": q for name, q in self.integers.items()}
        return replace(base, weights=LazyWeights(overlaid(base.weights, integers), keep=True))


def overlaid(weights: Mapping, new: Mapping[str, Tensor | QuantizedTensor]) -> dict[str, Maker]:
    """Makers of ``weights`` with some of them replaced."""
    makers = view(weights, lambda name: name not in new)
    return makers | {n: Maker(tuple(t.shape), lambda t=t: t) for n, t in new.items() if n in weights}


def quantize_layerwise(
    model: FoldedModel,
    recipe: Recipe,
    method: Method,
    samples: Sequence[Sample],
    *,
    activation: GridOf | None = None,
    step: Step = no_step,
) -> Quantization:
    """Quantise ``model`` by ``recipe`` with ``method`` over calibration samples.

    ``activation`` is the grid that a runtime holds inputs on: the scales are then chosen for it too. ``step``
    is told which block is at work.

    Raises:
        InputError: a weight that cannot be quantised, by name.
        CheckError: an activation that is not finite.
    """
    recipe.plan(model.module_shapes())
    return _Run(model, recipe, method, activation, step).over(samples)


def forms(
    model: FoldedModel,
    method: Method,
    samples: Sequence[Sample],
    precisions: Mapping[str, Sequence[Precision]],
    *,
    step: Step = no_step,
) -> dict[str, dict[Precision, QuantizedTensor]]:
    """Every module in several precisions, each by itself in a model that is otherwise not quantised.

    ``precisions`` names the integer ones of each module. Memory: all of them at once, a byte per weight and
    precision.
    """
    run = _Run(model, PRESETS["fp32"], replace(method, scaled=False), None, step, precisions)
    run.over(samples)
    return {name: run.forms[name] for name in precisions}


class _Run:
    def __init__(
        self,
        model: FoldedModel,
        recipe: Recipe,
        method: Method,
        activation: GridOf | None,
        step: Step,
        precisions: Mapping[str, Sequence[Precision]] | None = None,
    ):
        self.model, self.recipe, self.method, self.step = model, recipe, method, step
        self.activation = activation
        self.spec, self.shapes = model.spec, model.module_shapes()
        self.integers: dict[str, QuantizedTensor] = {}
        self.floats: dict[str, Tensor] = {}
        self.rows: list[ModuleRow] = []
        self.precisions = precisions or {}
        self.forms: dict[str, dict[Precision, QuantizedTensor]] = {name: {} for name in self.precisions}

    @torch.no_grad()
    def over(self, samples: Sequence[Sample]) -> Quantization:
        spec, weights = self.spec, self.model.weights
        states = blockwise.patches(spec, self._stored(weights), samples)
        for block in blockwise.vision_blocks(spec):
            states = self._block(block, samples, states)
        self._embedding()
        table = {
            f"{blockwise.EMBEDDING}.weight": self.integers.get(
                blockwise.EMBEDDING, weights[f"{blockwise.EMBEDDING}.weight"]
            )
        }
        states = blockwise.join(spec, table, samples, states)
        for block in blockwise.decoder_blocks(spec):
            states = self._block(block, samples, states)
        self._head(blockwise.final_states(spec, weights, samples, states))
        return Quantization(self.recipe, str(self.method), self.integers, self.floats, tuple(self.rows))

    def _stored(self, weights):
        """The unquantised tensors in the type that the recipe gives them."""
        kind = self.recipe.float_type.dtype
        names = ("patch_embedding.weight", "class_embedding", "position_embedding")
        stored = {f"vision_encoder.{n}": weights[f"vision_encoder.{n}"].to(kind).float() for n in names}
        return stored | {
            "vision_encoder.patch_embedding.bias": weights["vision_encoder.patch_embedding.bias"]
        }

    def _block(self, block: blockwise.Block, samples: Sequence[Sample], states: list[Tensor]) -> list[Tensor]:
        self.step(f"quantising {block.name}")
        weights = blockwise.weights_of(self.model.weights, block.name)
        gathered = Gatherer(block.modules)
        after = list(blockwise.advance(self.spec, block, weights, samples, states, observe=gathered))
        new = self._modules(block.name, block.modules, weights, gathered.moments)
        if all(torch.equal(weights[n], t) for n, t in new.items() if isinstance(t, Tensor)) and not any(
            isinstance(t, QuantizedTensor) for t in new.values()
        ):
            return after
        return list(blockwise.advance(self.spec, block, blockwise.plain(weights | new), samples, states))

    def _head(self, states: list[Tensor]) -> None:
        self.step(f"quantising {blockwise.HEAD}")
        names = [f"{blockwise.HEAD}.weight", "text_decoder.norm.weight"]
        weights = {name: self.model.weights[name] for name in names}
        moments = Moments(blockwise.HEAD)
        for x in states:
            moments.add(x)
        self._modules(blockwise.HEAD, (blockwise.HEAD,), weights, {blockwise.HEAD: moments})

    def _modules(
        self, block: str, modules: Sequence[str], weights: dict[str, Tensor], moments: Mapping[str, Moments]
    ) -> dict[str, QuantizedTensor | Tensor]:
        """Scale, then round, the modules of one block; what changed, by tensor name."""
        original = dict(weights)
        scales: dict[str, tuple[str, Tensor]] = {}
        if self.method.scaled:
            for seam in seams(self.spec, block):
                scales[seam.sink] = self._scale(seam, weights, moments[seam.sink])
                weights |= fold_scale(weights, seam, scales[seam.sink][1])
        changed = {n: t for n, t in weights.items() if not torch.equal(t, original[n])}
        self.floats |= {n: t for n, t in changed.items() if t.ndim == 1}
        new: dict[str, QuantizedTensor | Tensor] = dict(changed)
        for name in modules:
            told, scale = scales.get(name, ("none", None))
            new[f"{name}.weight"] = self._module(name, weights[f"{name}.weight"], moments[name], told, scale)
        return new

    def _precision(self, name: str) -> Precision:
        return self.recipe.resolve(name, self.shapes[name])

    def _scale(self, seam: Seam, weights: Mapping[str, Tensor], moments: Moments) -> tuple[str, Tensor]:
        """The best scale of a seam for error-searched rounding of the sink, and for the grid of its
        inputs.
        """
        weight, precision = weights[f"{seam.sink}.weight"], self._precision(seam.sink)
        tried = candidates(moments.mean_abs, moments.absmax, weight)
        if not precision.is_integer:
            return "none", tried["none"]
        second, some = moments.second, moments.some

        def cost(scale: Tensor) -> float:
            moved = weight * scale
            rounded = quantize_weight(moved, precision.bits, precision.group)
            total = objective(moved, rounded, second / scale / scale[:, None])
            if self.activation is not None:
                x = some / scale
                noise = fake_quantize(x, self.activation(rounded), precision.group) - x
                total += float((noise @ moved.T).square().sum() / len(some))
            return total

        return best_scale(tried, cost)

    def _module(
        self, name: str, weight: Tensor, moments: Moments, told: str, scale: Tensor | None
    ) -> QuantizedTensor | Tensor:
        precision = self._precision(name)
        second, some = moments.second, moments.some
        if scale is not None:
            second, some = second / scale / scale[:, None], some / scale
        if name in self.precisions:
            self.forms[name] = {p: self._round(name, weight, second, p) for p in self.precisions[name]}
            return weight
        size = max(float(((weight @ second) * weight).sum()), 1e-30)
        act = fake_quantize(some, ActivationGrid.TOKEN_INT8) - some
        act = math.sqrt(
            float((act @ weight.T).square().sum() / (some @ weight.T).square().sum().clamp_min(1e-30))
        )
        if not precision.is_integer:
            stored = weight.to(precision.dtype)
            error = (stored.float() - weight) @ second
            error = math.sqrt(float((error * (stored.float() - weight)).sum().clamp_min(0)) / size)
            count = weight.numel() * stored.element_size()
            self.rows.append(ModuleRow(name, str(precision), count, error, error, act, moments.outlier, told))
            if told != "none":
                self.floats[f"{name}.weight"] = weight
            return stored
        rounded = self._round(name, weight, second, precision)
        plain = (
            rounded if str(self.method) == "rtn" else quantize_weight(weight, precision.bits, precision.group)
        )
        before, after = (math.sqrt(max(objective(weight, q, second), 0) / size) for q in (plain, rounded))
        self.rows.append(
            ModuleRow(name, str(precision), rounded.nbytes, before, after, act, moments.outlier, told)
        )
        self.integers[name] = rounded
        return rounded

    def _round(self, name: str, weight: Tensor, second: Tensor, precision: Precision) -> QuantizedTensor:
        try:
            if self.method.rounding == "gptq":
                return gptq(weight, second, precision.bits, precision.group)
            if self.method.rounding == "hqq":
                return hqq(weight, precision.bits, precision.group)
            return quantize_weight(weight, precision.bits, precision.group)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def _embedding(self) -> None:
        """The embedding is looked up, not multiplied: its rows are rounded by themselves."""
        name, precision = blockwise.EMBEDDING, self._precision(blockwise.EMBEDDING)
        for p in self.precisions.get(name, ()):
            self.forms[name][p] = quantize_weight(self.model.weights[f"{name}.weight"], p.bits, p.group)
        if not precision.is_integer:
            return
        weight = self.model.weights[f"{name}.weight"]
        self.integers[name] = rounded = quantize_weight(weight, precision.bits, precision.group)
        error = float((rounded.dequantize() - weight).norm() / weight.norm())
        self.rows.append(ModuleRow(name, str(precision), rounded.nbytes, error, error, 0.0, 1.0))
