"""Shapes of a folded model's tensors, from its config alone: no checkpoint is opened."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from phantom_edge.checkpoint.key_map import tensor_sources
from phantom_edge.model.spec import FoldedSpec

Shape = tuple[int, ...]
# Of a checkpoint: folded into other tensors.
LEFT_OUT = (".phantom.", ".gate1.", ".gate2.", ".scale1", ".scale2")


@lru_cache(maxsize=8)
def folded_shapes(spec: FoldedSpec) -> Mapping[str, Shape]:
    """Every tensor of a folded model by name, as :func:`phantom_edge.model.fold.fold_weights` makes them."""
    shapes = {}
    for name, source in tensor_sources(spec.config).items():
        if not any(part in name for part in LEFT_OUT):
            rows = sum(shape[0] for _, shape in source.parts)
            shapes[name] = (rows, *source.parts[0][1][1:])
    for layer in range(spec.config.decoder.layers):
        if spec.phantom_dims[layer]:
            shapes |= _phantom(spec, layer)
    return MappingProxyType(shapes)


def _phantom(spec: FoldedSpec, layer: int) -> dict[str, Shape]:
    """The constants of one layer: W, A and M of each y, then a scale, or a compressed layer's basis."""
    d, rank, at = spec.config.decoder, spec.phantom_dims[layer], f"text_decoder.layers.{layer}"
    dim = d.head_dim
    shapes: dict[str, Shape] = {}
    for kind, heads in (("query", d.heads), ("key", d.kv_heads), ("value", d.kv_heads)):
        name = f"{at}.phantom.{kind}"
        shapes |= {f"{name}.in": (dim, dim), f"{name}.heads": (heads, dim), f"{name}.mix": (dim, heads)}
        shapes |= {f"{name}.basis": (rank, dim)} if spec.compressed(layer) else {f"{name}.scale": (1,)}
    shapes |= {f"{at}.gate.weight": (1, dim + rank), f"{at}.gate.bias": (1,)}
    shapes |= {f"{at}.gate.basis": (dim, rank)} if spec.compressed(layer) else {f"{at}.gate.scale": (1,)}
    return shapes


def goes_on_a_grid(name: str, shape: Shape) -> bool:
    """Whether a recipe's float type is meant for this tensor: not vectors, phantom constants, gates."""
    return len(shape) >= 2 and ".phantom." not in name and ".gate." not in name


def is_module(name: str, shape: Shape) -> bool:
    """Whether a recipe decides on this tensor: a weight matrix, no phantom constant and no gate."""
    return name.endswith(".weight") and len(shape) == 2 and goes_on_a_grid(name, shape)
