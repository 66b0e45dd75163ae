"""What a fold changes, as numbers: the part of a fold's certificate that is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCertificate:
    """What the fold changes in one layer, in absolute values."""

    layer: int
    phantom_dim: int
    """Directions that carry the phantom dimension."""
    score_bound: float
    """The most that an attention score changes."""
    output_bound: float
    """The most that one value of a head's output changes."""
    proved: bool
    """Whether the bounds are proved; else they are the largest of many samples."""
    logit_change: float
    """The largest measured change of a logit when only this layer is folded so."""


@dataclass(frozen=True)
class FoldCertificate:
    """How the phantom dimension was folded into constants, and what that changes."""

    fold: str
    """``exact``, ``rank:R`` or ``auto:TOLERANCE``."""
    layers: tuple[LayerCertificate, ...]
    logit_change: float
    """The largest measured change of any logit against the original, in fp32."""
    probe_tokens: int
    """Tokens over which it was measured."""
