"""What the tests of calibrated quantisation share: a tiny source, its folded model and its calibration, made
once.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from folded_models import folded

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.folded import FoldedModel
from phantom_edge.quantize.calibration import CalibrationSet, drawn_set


@cache
def source_of(folder: Path) -> Pretrained:
    return Pretrained.open(folder)


@cache
def drawn(folder: Path, count: int = 8, split: str = "train") -> CalibrationSet:
    return drawn_set(source_of(folder), count, split=split)


def model_of(folder: Path) -> FoldedModel:
    return folded(folder)
