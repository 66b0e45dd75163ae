"""A quantisation: integers per module, the tensors that changed with them, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from phantom_edge.bundle.manifest import ModuleRow
from phantom_edge.errors import InputError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights, Maker, Weight, shape_of, view
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.progress import Step, no_step
from phantom_edge.records import to_json


@dataclass
class Quantization:
    """Integers by module, float tensors that are no longer the checkpoint's, and how both came about.

    ``cache`` is the state of :class:`~phantom_edge.quantize.kv.KVScales`, for a platform that keeps its cache
    in int8; ``facts`` are the measurements, as they go into a manifest.
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
        integers = {f"{name}.weight": weight for name, weight in self.integers.items()}
        changed: dict[str, Weight] = {**integers, **self.floats}
        for name, tensor in changed.items():
            if name not in model.weights or shape_of(model.weights, name) != tuple(tensor.shape):
                raise InputError(f"{name}: the quantised weights are of another model")
        base = replace(model, weights=LazyWeights(overlaid(model.weights, self.floats)))
        base = base.quantized(self.recipe, step)
        return replace(base, weights=LazyWeights(overlaid(base.weights, integers), keep=True))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, for machines."""
        recipe, modules = to_json(self.recipe), to_json(self.rows)
        return {"method": self.method, "recipe": recipe, "modules": modules, **self.facts}


def overlaid(weights: Mapping[str, Weight], new: Mapping[str, Weight]) -> dict[str, Maker[Weight]]:
    """Makers of ``weights`` with some of them replaced."""

    def maker(weight: Weight) -> Maker[Weight]:
        return Maker(tuple(weight.shape), lambda: weight)

    makers = view(weights, lambda name: name not in new)
    return makers | {name: maker(weight) for name, weight in new.items() if name in weights}
