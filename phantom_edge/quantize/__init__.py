"""Quantisation: one grid of integers for all formats, the search for their scales, recipes, activation
grids.
"""

from phantom_edge.numbers.activations import ActivationGrid, fake_quantize
from phantom_edge.numbers.apply import apply_recipe
from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles, round_scale, unpack_nibbles
from phantom_edge.numbers.recipe import (
    PRESETS,
    Assignment,
    Precision,
    Recipe,
    Rule,
    load_recipe,
)
from phantom_edge.numbers.scale_search import quantize_weight, relative_error

__all__ = [
    "PRESETS",
    "ActivationGrid",
    "Assignment",
    "Precision",
    "QuantizedTensor",
    "Recipe",
    "Rule",
    "apply_recipe",
    "fake_quantize",
    "load_recipe",
    "pack_nibbles",
    "quantize_weight",
    "relative_error",
    "round_scale",
    "unpack_nibbles",
]
