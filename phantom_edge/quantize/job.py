"""Quantising a checkpoint as one call: calibrate, choose a precision per module, round, and measure what it
cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import fold_weights
from phantom_edge.model.folded import FoldedModel, is_module
from phantom_edge.model.weights import LazyWeights, Maker, shape_of, view
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import GROUPS, INT8, PRESETS, Precision, Recipe, load_recipe
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize import blockwise
from phantom_edge.quantize.budget import meet_kl, recipe_of, under_bytes
from phantom_edge.quantize.cache import Cache, key_of
from phantom_edge.quantize.calibration import SAMPLES, CalibrationSet, check_count, drawn_set, folder_set
from phantom_edge.quantize.kv import kv_quality, kv_scales
from phantom_edge.quantize.layerwise import Method, Quantization, forms, quantize_layerwise
from phantom_edge.quantize.quality import Quality, quality
from phantom_edge.quantize.sensitivity import Options, shares, total
from phantom_edge.records import to_json

MIXED: Final = "mixed"
MIXED_SIZE: Final = 1.1
"""Without a budget ``mixed`` may be this many times as large as plain int4."""
LARGE: Final = 100_000_000
LARGE_SAMPLES: Final = 16
HELD_OUT: Final = 64
"""Of 16, single positions led the mean: the order of sums moved it by 40 percent. Of 64 it moves by two."""
PROBED: Final = 16
"""Samples for the sensitivities: enough to tell modules apart."""
INT4: Final = Precision(4, GROUPS[0])
GRIDS: Final = {
    "with inputs on XNNPACK's grid": lambda weight: ActivationGrid.TOKEN_INT8,
    "with inputs on ONNX Runtime's grids": lambda weight: (
        ActivationGrid.BLOCK_INT8 if weight.bits == 4 else ActivationGrid.TENSOR_UINT8
    ),
}
"""What rounding the inputs of integer products costs as well, on the platforms that do; see
:class:`ActivationGrid`.
"""
GridOf = Callable[[QuantizedTensor], ActivationGrid]


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantise. ``quant`` is ``mixed``, a preset or a TOML file; a budget goes with ``mixed`` only.

    ``method`` None takes GPTQ. ``calibrate`` is a folder of pictures, None the drawn ones; ``samples`` how
    many. ``budget_mb`` is for all the weights, in 10^6 bytes, ``budget_kl`` in nats per next token.

    >>> pe.QuantizeOptions("int4", budget_mb=4.0)
    Traceback (most recent call last):
    phantom_edge.errors.InputError: --budget-mb chooses a precision per module: use it with --quant mixed
    """

    quant: str = MIXED
    overrides: tuple[str, ...] = ()
    method: str | None = None
    calibrate: Path | None = None
    samples: int | None = None
    budget_mb: float | None = None
    budget_kl: float | None = None
    kv_cache: bool = True

    def __post_init__(self) -> None:
        """Raise :class:`InputError` for options that do not go together or have no meaning."""
        Method.parse(self.method or "gptq")
        if self.budget_mb is not None and self.budget_kl is not None:
            raise InputError("--budget-mb and --budget-kl: give one of the two")
        for name, value in (("--budget-mb", self.budget_mb), ("--budget-kl", self.budget_kl)):
            if value is None:
                continue
            if self.quant != MIXED:
                raise InputError(f"{name} chooses a precision per module: use it with --quant mixed")
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; it must be above 0")
        if self.samples is not None:
            check_count(self.samples)

    @property
    def base(self) -> Recipe:
        """The recipe to begin with; for ``mixed`` one that only says what its overrides do."""
        if self.quant != MIXED:
            return load_recipe(self.quant, self.overrides)
        return replace(load_recipe("fp16", self.overrides), name=MIXED)


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

    Raises:
        InputError: bad options or calibration data, a budget that cannot be met, a weight that cannot be
            quantised.
        CheckError: an activation that is not finite.
    """
    return _Job(source, model, options, activation, Cache(cache), step).run()


class _Job:
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
        self.method = Method.parse(options.method or "gptq")
        self.images: dict[GridOf | None, list[torch.Tensor]] = {}
        self.answers: dict[GridOf | None, list[torch.Tensor]] = {}

    def run(self) -> Quantization:
        options, model = self.options, self.model
        options.base.plan(model.module_shapes())  # refuses a rule without work, before any other
        self.step("preparing calibration")
        self.fit, self.held = self._data()
        key = self._key("quantization", options)
        if (kept := self.cache.quantization(key)) is not None:
            return kept
        self.step("running the original")
        self.seen = blockwise.image_tokens(model.spec, model.weights, self.held.samples, step=self.step)
        self.truth = blockwise.logits(
            model.spec, model.weights, self.held.samples, images=self.seen, step=self.step
        )
        facts: dict[str, Any] = {
            "source": self.source.sha256(),
            "fold": str(model.fold),
            "calibration": self.fit.to_dict(),
            "measured_on": self.held.to_dict(),
        }
        if options.quant == MIXED:
            found, choice = self._mixed()
            facts["sensitivity"] = choice
        else:
            found = self._rounded(options.base)
        found, fold = self._folded_best(found)
        facts["fold_from"] = fold
        facts["measured"] = {n: q.to_dict() for n, q in self._measured(found).items()}
        if options.kv_cache:
            facts["kv_cache"] = self._kv(found)
        facts["bytes"] = self.bytes(found.recipe)
        found.facts = facts
        if self.source.sha256() != facts["source"]:
            raise InputError(f"{self.source.name}: changed on disk while it was at work; quantise it again")
        self.cache.keep_quantization(key, found)
        return found

    def _key(self, what: str, options: object) -> str:
        grid = [str(self.activation(_example(bits))) for bits in (4, 8)] if self.activation else None
        return key_of(
            {
                "what": what,
                "options": options,
                "recipe": to_json(self.options.base),
                "source": self.source.sha256(),
                "fold": self.model.fold,
                "fit": self.fit.sha256,
                "held": self.held.sha256,
                "grid": grid,
            }
        )

    # --- data -----------------------------------------------------------------------------------------------

    def _data(self) -> tuple[CalibrationSet, CalibrationSet]:
        return calibration(self.source, self.options.calibrate, self.options.samples)

    # --- sizes ----------------------------------------------------------------------------------------------

    def bytes(self, recipe: Recipe) -> int:
        """Of all weights under a recipe: modules, and the rest in the type that it is stored in."""
        sizes = (_size(recipe.resolve(n, s), s) for n, s in self.model.module_shapes().items())
        return sum(sizes) + self._rest(recipe)

    def _rest(self, recipe: Recipe) -> int:
        modules = {f"{name}.weight" for name in self.model.module_shapes()}
        total = 0
        for name in self.model.weights:
            if name not in modules:
                shape = shape_of(self.model.weights, name)
                on_grid = len(shape) >= 2 and is_module(name)
                total += math.prod(shape) * (recipe.float_type.bits // 8 if on_grid else 4)
        return total

    # --- one recipe -----------------------------------------------------------------------------------------

    def _rounded(self, recipe: Recipe) -> Quantization:
        return quantize_layerwise(
            self.model, recipe, self.method, self.fit.samples, activation=self.activation, step=self.step
        )

    def _logits(self, model: FoldedModel):
        return blockwise.logits(
            model.spec, model.weights, self.held.samples, activation=self.activation, step=self.step
        )

    def _quality(self, model: FoldedModel) -> Quality:
        return quality(self.truth, self._logits(model))

    def _images(self, found: Quantization, grid: GridOf | None) -> list[torch.Tensor]:
        """What its vision encoder gives, once per grid of inputs: refolding the decoder does not change
        it.
        """
        if grid not in self.images:
            model = found.apply(self.model)
            self.images[grid] = blockwise.image_tokens(
                model.spec, model.weights, self.held.samples, activation=grid, step=self.step
            )
        return self.images[grid]

    def _run(self, found: Quantization, grid: GridOf | None) -> list[torch.Tensor]:
        """Logits of what was found, inputs on a grid."""
        model, images = found.apply(self.model), self._images(found, grid)
        return blockwise.logits(
            model.spec, model.weights, self.held.samples, images=images, activation=grid, step=self.step
        )

    def _measured(self, found: Quantization) -> dict[str, Quality]:
        """This with inputs in fp32 and as the runtimes round them, and round-to-nearest int4 for
        comparison.
        """
        self.step("measuring")
        grids = {
            "quantised": self.activation,
            **(GRIDS if self.activation is None else {"inputs exact": None}),
        }
        rows = {}
        for name, grid in grids.items():
            if grid not in self.answers:
                self.answers[grid] = self._run(found, grid)
            rows[name] = quality(self.truth, self.answers[grid])
            if grid is not None:
                del self.answers[grid]
        rows["round-to-nearest int4"] = self._quality(self.model.quantized(load_recipe("int4")))
        return rows

    # --- mixed ----------------------------------------------------------------------------------------------

    def _mixed(self) -> tuple[Quantization, dict[str, Any]]:
        options = self._options()
        base, rest = self.options.base, self._rest(PRESETS["int4"])
        budget: dict[str, float]
        if self.options.budget_kl is not None:
            tried: dict[tuple, Quantization] = {}

            def measure(choice) -> float:
                found = self._rounded(recipe_of(choice, base.float_type))
                tried[_key(choice)] = found
                return self._quality(found.apply(self.model)).kl

            choice = meet_kl(options, self.options.budget_kl, measure)
            found, budget = tried[_key(choice)], {"nats": self.options.budget_kl}
        else:
            limit = self._limit()
            choice = under_bytes(options, limit, rest)
            found, budget = self._rounded(recipe_of(choice, base.float_type)), {"bytes": limit}
        size, kl = total(choice.values())
        told = {
            "budget": budget,
            "bytes": size + rest,
            "predicted_kl": kl,
            "modules": {
                name: {
                    "chosen": str(choice[name].precision),
                    "options": [
                        {"precision": str(o.precision), "bytes": o.bytes, "kl": o.kl} for o in found_options
                    ],
                }
                for name, found_options in options.items()
            },
        }
        return found, told

    def _limit(self) -> int:
        if self.options.budget_mb is not None:
            return round(self.options.budget_mb * 1e6)
        return int(MIXED_SIZE * self.bytes(PRESETS["int4"]))

    def _options(self) -> Options:
        """What every module may become, with bytes and cost; a module that an override names has no
        choice.
        """
        shapes, base = self.model.module_shapes(), self.options.base
        plan = base.plan(shapes)
        pinned = {entry.name: entry.precision for entry in plan if not entry.reason.startswith("no rule")}
        wanted: dict[str, list[Precision]] = {}
        for name, shape in shapes.items():
            choices = [pinned[name]] if name in pinned else [INT4, INT8]
            integers = [p for p in choices if p.is_integer and not (p.group and shape[1] % p.group)]
            wanted[name] = (
                [INT8] if name == blockwise.EMBEDDING and integers and name not in pinned else integers
            )
        key = self._key("sensitivity", [str(self.method), self.options.overrides])
        if (kept := self.cache.options(key)) is not None:
            return kept
        made = forms(self.model, self.method, self.fit.samples, wanted, step=self.step)
        samples = self.fit.samples[:PROBED]
        options = shares(self.model, samples, made, activation=self.activation, step=self.step)
        options = {
            name: [o for o in found if name not in pinned or o.precision == pinned[name]]
            for name, found in options.items()
        }
        self.cache.keep_options(key, options)
        return options

    # --- the fold -------------------------------------------------------------------------------------------

    def _folded_best(self, found: Quantization) -> tuple[Quantization, dict[str, Any]]:
        """The phantom constants from the originals or from the quantised weights, whichever is nearer the
        original.
        """
        if not any(self.model.spec.phantom_dims):
            return found, {"chosen": "original"}
        self.step("folding once more, from the quantised weights")
        again = replace(found, floats=found.floats | refolded(self.source, self.model, found))
        logits = {
            "original": self._run(found, self.activation),
            "quantised": self._run(again, self.activation),
        }
        kl = {name: quality(self.truth, told).kl for name, told in logits.items()}
        chosen = min(kl, key=kl.__getitem__)
        self.answers[self.activation] = logits[chosen]
        return (again if chosen == "quantised" else found), {"chosen": chosen, "kl": kl}

    # --- the cache ------------------------------------------------------------------------------------------

    def _kv(self, found: Quantization) -> dict[str, Any]:
        """Scales of an int8 cache, which become part of ``found``, and what it costs beyond the weights and
        alone.
        """
        self.step("int8 KV cache")
        model, original, samples = found.apply(self.model), self.model, self.held.samples
        scales = kv_scales(model, self.fit.samples, self.step)
        own, images = self.answers[None], self._images(found, None)
        both = kv_quality(model.spec, model.weights, samples, scales, own, images)
        alone = kv_quality(original.spec, original.weights, samples, scales, self.truth, self.seen)
        found.cache = scales.to_state()
        return {"beyond_quantised": both.to_dict(), "alone": alone.to_dict()}


def calibration(
    source: Pretrained, folder: Path | None, samples: int | None
) -> tuple[CalibrationSet, CalibrationSet]:
    """Samples to fit on and others to measure on: of ``folder``, or drawn; ``samples`` of them, or what suits
    the size.

    Raises :class:`InputError` as :func:`folder_set`.
    """
    if folder is not None:
        return folder_set(source, folder, samples).parts(0.25)
    large = source.checkpoint.parameters > LARGE
    fit = drawn_set(source, samples or (LARGE_SAMPLES if large else SAMPLES))
    return fit, drawn_set(source, LARGE_SAMPLES // 2 if large else HELD_OUT, split="validation")


def refolded(source: Pretrained, model: FoldedModel, found: Quantization) -> dict[str, Any]:
    """Phantom constants computed from the quantised decoder: its own first token, its own q, k and v."""
    quantised = found.apply(model)
    makers = view(source.checkpoint, lambda name: True)
    for name in quantised.weights:
        if name.startswith(("text_decoder.", f"{blockwise.EMBEDDING}.")) and is_module(name):
            makers[name] = Maker(
                shape_of(model.weights, name),
                lambda name=name: blockwise.plain({name: quantised.weights[name]})[name],
            )
    _, folded = fold_weights(model.config, LazyWeights(makers), model.fold, model.first_id)
    return {name: folded[name] for name in folded if not is_module(name)}


def check_source(found: Quantization, source: Pretrained) -> None:
    """Raise :class:`InputError` when a quantisation was made from another checkpoint."""
    if found.facts.get("source") != source.sha256():
        raise InputError(
            f"the quantisation was made from another checkpoint than {source.name} (SHA-256 differs); "
            "quantise this one"
        )


def _size(precision: Precision, shape: tuple[int, int]) -> int:
    out, width = shape
    if not precision.is_integer:
        return out * width * precision.bits // 8
    return out * ((width * precision.bits + 7) // 8) + 2 * out * (width // (precision.group or width))


def _example(bits: int) -> QuantizedTensor:
    return QuantizedTensor(torch.zeros(1, GROUPS[0], dtype=torch.int8), torch.ones(1, 1), bits, GROUPS[0])


def _key(choice) -> tuple:
    return tuple((name, str(option.precision)) for name, option in choice.items())


def to_dict(found: Quantization) -> dict[str, Any]:
    """Everything about a quantisation but its tensors, for machines."""
    return {
        "method": found.method,
        "recipe": to_json(found.recipe),
        "modules": to_json(found.rows),
        **found.facts,
    }


__all__ = ["MIXED", "QuantizeOptions", "calibration", "check_source", "quantize", "refolded", "to_dict"]
