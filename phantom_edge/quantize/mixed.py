"""``mixed``: the precisions that each module may take, their bytes, and the record of what was chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import EMBEDDING
from phantom_edge.model.weights import is_module, shape_of
from phantom_edge.numbers.recipe import GROUPS, INT8, Precision, Recipe, ScaleGrid
from phantom_edge.quantize.budget import Choice
from phantom_edge.quantize.sensitivity import Options, total

INT4: Final = Precision(4, GROUPS[0])


def overridden(model: FoldedModel, base: Recipe) -> dict[str, Precision]:
    """The modules whose precision an override names: they have no choice."""
    plan = base.plan(model.module_shapes())
    return {entry.name: entry.precision for entry in plan if not entry.reason.startswith("no rule")}


def integer_precisions(
    model: FoldedModel, base: Recipe, scales: ScaleGrid = ScaleGrid.FREE
) -> dict[str, Sequence[Precision]]:
    """The integer precisions that every module may take; fp16 is a choice beside them."""
    fixed = overridden(model, base)
    precisions: dict[str, Sequence[Precision]] = {}
    for name, (_, width) in model.module_shapes().items():
        free = [INT8] if name == EMBEDDING else [INT4.on_grid(scales), INT8]
        choices = [fixed[name]] if name in fixed else free
        precisions[name] = [p for p in choices if p.is_integer and not (p.group and width % p.group)]
    return precisions


def without_overridden(options: Options, fixed: dict[str, Precision]) -> Options:
    """Only the precision that an override names, where one does."""
    return {
        name: [option for option in own if name not in fixed or option.precision == fixed[name]]
        for name, own in options.items()
    }


def weight_bytes(model: FoldedModel, recipe: Recipe) -> int:
    """Bytes of all weights under a recipe."""
    sizes = (matrix_bytes(recipe.resolve(n, s), s) for n, s in model.module_shapes().items())
    return sum(sizes) + other_bytes(model, recipe)


def other_bytes(model: FoldedModel, recipe: Recipe) -> int:
    """Bytes of the tensors that no rule of a recipe touches, in the type that they are stored in."""
    modules = {f"{name}.weight" for name in model.module_shapes()}
    size = 0
    for name in model.weights:
        if name not in modules:
            shape = shape_of(model.weights, name)
            stored_as_float_type = len(shape) >= 2 and is_module(name)
            size += math.prod(shape) * (recipe.float_type.bits // 8 if stored_as_float_type else 4)
    return size


def matrix_bytes(precision: Precision, shape: tuple[int, int]) -> int:
    """Bytes of a matrix [out, in] in a precision, with its scales."""
    out, width = shape
    if not precision.is_integer:
        return out * width * precision.bits // 8
    return out * ((width * precision.bits + 7) // 8) + 2 * out * (width // (precision.group or width))


def choice_facts(options: Options, choice: Choice, budget: dict[str, float], other: int) -> dict[str, Any]:
    """What was chosen and what there was to choose from, for the manifest; ``other`` bytes had no choice."""
    size, kl = total(choice.values())
    return {
        "budget": budget,
        "bytes": size + other,
        "predicted_kl": kl,
        "modules": {
            name: {
                "chosen": str(choice[name].precision),
                "options": [{"precision": str(o.precision), "bytes": o.bytes, "kl": o.kl} for o in own],
            }
            for name, own in options.items()
        },
    }
