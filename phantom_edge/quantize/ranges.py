"""Ranges of an NPU's activations, measured over calibration samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import image_tokens, logits
from phantom_edge.model.rounded_ops import Rounding, goes_on_a_grid
from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.numbers.ranges import Range, Ranges
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.calibration import Sample

HEADROOM: Final = 2.0
"""Beyond the values of the samples. Another picture reaches further, and what is cut off costs far more than
one bit of sixteen: on Nano's drawn scenes 1.5 % of the image tokens without it, 0.07 % with it, as
``benchmarks/npu_rounding.py`` measures."""


@dataclass(frozen=True)
class _Observer(Rounding):
    """Rounds nothing, and keeps the least and greatest value of every site that may lie on a grid."""

    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def at(self, site: str, value: Tensor) -> Tensor:
        if self.covers(site) and goes_on_a_grid(site):
            low, high = (float(end) for end in value.aminmax())
            before = self.seen.get(site, (low, high))
            self.seen[site] = min(low, before[0]), max(high, before[1])
        return value


def extents(
    model: FoldedModel, inputs: Sequence[ModelInput], graphs: frozenset[str], step: Step = no_step
) -> dict[str, tuple[float, float]]:
    """The least and greatest value that ``inputs`` give at every site of ``graphs`` that may lie on a grid.

    ``graphs`` are of ``vision_encoder`` and ``text_decoder``.
    """
    observer = _Observer(graphs)
    observed = model.unrounded.with_rounding(observer)
    images = image_tokens(observed, inputs, step)
    if observer.covers("text_decoder"):
        logits(observed, inputs, images, step=step)
    return observer.seen


def activation_ranges(
    model: FoldedModel, samples: Sequence[Sample], graphs: frozenset[str], step: Step = no_step
) -> Ranges:
    """Grids for the sites of ``graphs`` from calibration samples, with headroom.

    >>> from phantom_edge.quantize.calibration import drawn_set
    >>> nano = pe.Pretrained.open()
    >>> model = FoldedModel.of(nano.config, nano.checkpoint, pe.Fold(), nano.first_id)
    >>> ranges = activation_ranges(model, drawn_set(nano, 8).samples, frozenset({"vision_encoder"}))
    >>> ranges["vision_encoder.layers.0.norm.0"].zero > 0
    True
    """
    seen = extents(model, samples, graphs, step)
    return {site: Range.of(HEADROOM * low, HEADROOM * high) for site, (low, high) in seen.items()}
