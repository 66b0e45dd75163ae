"""Scales folded into neighbours: a channel is made smaller where it is produced and larger where it is used.

The product stays what it was, but the rounding does not: weights that meet large activations become large and
so are rounded relatively finer (AWQ, Lin et al. 2023, arXiv 2306.00978, section 3.2: s = mean|x|^alpha, alpha
searched), and activations with outlier channels become even (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438,
equation 4: s = max|x|^alpha / max|w|^(1 - alpha)).

A seam is a place where that costs no operation: a norm's weight before a matrix, ``up`` before ``down``
(silu(gate) is multiplied with ``up`` channel by channel), the vision encoder's values before its output
projection. There is none before ``fc2`` (GELU is not linear) and none before the decoder's ``o``: the phantom
half of a head is a function of v, and the gate adds it to the plain half channel by channel, so that v's
channels cannot be scaled one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.model.spec import FoldedSpec

ALPHAS: Final = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_SPAN: Final = 64.0
"""A scale stays within 1/64 and 64: what lies further is an input that hardly ever occurs."""


@dataclass(frozen=True)
class Seam:
    """Where a scale can move: ``sink`` is the module whose input it is, ``sources`` what produces that input.

    ``rows`` are the rows of the sources that do, or None for all of a vector.
    """

    sink: str
    sources: tuple[str, ...]
    rows: tuple[int, int] | None = None


def seams(spec: FoldedSpec, block: str) -> list[Seam]:
    """The seams inside one block, by the block's name, or of the head."""
    if block == "text_decoder.head":
        return [Seam(block, ("text_decoder.norm.weight",))]
    if block == "vision_encoder.projector":
        return [Seam(f"{block}.fc1", (f"{block}.norm.weight", f"{block}.norm.bias"))]
    if block.startswith("vision_encoder."):
        c = spec.config.vision.hidden_size
        values = (f"{block}.qkv.weight", f"{block}.qkv.bias")
        return [
            Seam(f"{block}.qkv", (f"{block}.norm1.weight", f"{block}.norm1.bias")),
            Seam(f"{block}.proj", values, (2 * c, 3 * c)),
            Seam(f"{block}.fc1", (f"{block}.norm2.weight", f"{block}.norm2.bias")),
        ]
    f = spec.config.decoder.intermediate_size
    return [
        Seam(f"{block}.qkv", (f"{block}.norm1.weight",)),
        Seam(f"{block}.gate_up", (f"{block}.norm2.weight",)),
        Seam(f"{block}.down", (f"{block}.gate_up.weight",), (f, 2 * f)),
    ]


def fold_scale(weights: Mapping[str, Tensor], seam: Seam, scale: Tensor) -> dict[str, Tensor]:
    """The weights of a seam with the scale [in]: sources divided by it, the sink's columns multiplied.

    Raises :class:`InputError` when a scale is not positive and finite.
    """
    if not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise InputError(f"{seam.sink}: a scale to fold must be positive and finite")
    changed = {f"{seam.sink}.weight": weights[f"{seam.sink}.weight"] * scale}
    for name in seam.sources:
        if name not in weights:
            continue
        tensor = weights[name].clone()
        start, end = seam.rows or (0, len(tensor))
        tensor[start:end] /= scale[:, None] if tensor.ndim == 2 else scale
        changed[name] = tensor
    return changed


def candidates(mean_abs: Tensor, absmax: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Scales [in] to try, by name: AWQ's and SmoothQuant's families over alpha, with a geometric mean of one.

    Args:
        mean_abs: [in], mean of the inputs' magnitudes.
        absmax: [in], largest of them.
        weight: [out, in].
    """
    largest = weight.abs().amax(0)
    scales = {"none": torch.ones_like(mean_abs)}
    for alpha in ALPHAS[1:]:
        scales[f"awq {alpha:g}"] = _centred(mean_abs.pow(alpha))
    for alpha in ALPHAS[2:-2]:
        scales[f"smooth {alpha:g}"] = _centred(absmax.pow(alpha) / largest.clamp_min(1e-8).pow(1 - alpha))
    return scales


def best_scale(tried: Mapping[str, Tensor], cost: Callable[[Tensor], float]) -> tuple[str, Tensor]:
    """The candidate of least ``cost``; "none" unless another gains at least a percent."""
    costs = {name: cost(scale) for name, scale in tried.items()}
    name = min(costs, key=costs.__getitem__)
    if costs[name] > 0.99 * costs["none"]:
        name = "none"
    return name, tried[name]


def _centred(scale: Tensor) -> Tensor:
    logs = scale.clamp_min(torch.finfo(torch.float32).tiny).log()
    return (logs - logs.median()).clamp(-torch.tensor(_SPAN).log(), torch.tensor(_SPAN).log()).exp()
