"""Rotary position embedding in its three published forms, as tables of cos and sin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phantom_edge.checkpoint.config import RopeConfig
from phantom_edge.errors import InputError


def rotary_tables(rope: RopeConfig, head_dim: int, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin [S, head_dim / 2] in fp32 for ``positions`` [S] of a sequence of ``length`` tokens so far.

    ``length`` matters beyond ``rope.original_context`` only: there ``dynamic`` widens its base
    (``modeling_internlm2.py``, ``InternLM2DynamicNTKScalingRotaryEmbedding``) and ``su`` takes its long
    factors (``modeling_phi3.py``, ``Phi3SuScaledRotaryEmbedding``); cached keys keep their rotation.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim  # [D/2]
    theta, factors, scale = rope.theta, torch.ones(head_dim // 2), 1.0
    if rope.kind == "dynamic" and length > rope.original_context:
        growth = rope.factor * length / rope.original_context - (rope.factor - 1)
        theta = theta * growth ** (head_dim / (head_dim - 2))
    if rope.kind == "su":
        factors = torch.tensor(rope.long_factor if length > rope.original_context else rope.short_factor)
        stretch = rope.max_context / rope.original_context
        if stretch > 1:
            scale = math.sqrt(1 + math.log(stretch) / math.log(rope.original_context))
    frequencies = 1.0 / (factors * theta**exponent)
    angles = positions.float()[:, None] * frequencies[None]  # [S, D/2]
    return angles.cos() * scale, angles.sin() * scale


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate ``x`` [B, S, H, D], whose two halves are the pairs, by tables [S, D/2]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos[None, :, None], sin[None, :, None]  # [1, S, 1, D/2]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def check_context(rope: RopeConfig, context: int) -> None:
    """Raise :class:`InputError` for a context at which the tables would depend on the length so far."""
    if context < 1:
        raise InputError(f"--context is {context}; give a number of tokens of at least 1")
    if context > rope.original_context:
        why, most = "this model's rotary embedding changes with the length", rope.original_context
        raise InputError(f"--context {context} is beyond {most} tokens, where {why}; use at most {most}")


def static_tables(rope: RopeConfig, head_dim: int, context: int) -> tuple[Tensor, Tensor]:
    """cos and sin [context, head_dim / 2] for a graph; `check_context` says which contexts have them."""
    check_context(rope, context)
    return rotary_tables(rope, head_dim, torch.arange(context), context)
