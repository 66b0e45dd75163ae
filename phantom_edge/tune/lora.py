"""Low-rank adapters (LoRA, arXiv 2106.09685) on the linear weights of the decoder's and the ViT's layers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE = 2.0  # alpha / rank: what an adapter's product is multiplied with
_ADAPTED = re.compile(
    r"(text_decoder\.layers\.\d+\.(qkv|o|gate_up|down)|vision_encoder\.layers\.\d+\.(qkv|proj|fc1|fc2))\.weight"
)


@dataclass
class Adapter:
    """A low-rank update of one weight: ``weight + scale * up @ down`` (section 4.1)."""

    down: Tensor  # [rank, in]
    up: Tensor  # [out, rank]
    scale: float


def is_adapted(name: str) -> bool:
    """Whether a weight, by canonical name, gets an adapter.

    >>> is_adapted("text_decoder.layers.3.qkv.weight"), is_adapted("text_decoder.head.weight")
    (True, False)
    """
    return _ADAPTED.fullmatch(name) is not None


def make_adapters(weights: Mapping[str, Tensor], rank: int, seed: int) -> dict[str, Adapter]:
    """An adapter of ``rank`` for every weight that gets one; ``up`` is zero, so nothing changes at first.

    Each is drawn from seed and name (section 4.1: down at random, up zero); a weight thinner than the rank
    bounds it.
    """
    return {name: _adapter(name, weight, rank, seed) for name, weight in weights.items() if is_adapted(name)}


def _adapter(name: str, weight: Tensor, rank: int, seed: int) -> Adapter:
    rows, columns = weight.shape
    rank = min(rank, rows, columns)
    number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
    generator = torch.Generator("cpu").manual_seed(number)
    down = (torch.rand(rank, columns, generator=generator, device="cpu") * 2 - 1) * columns**-0.5
    up = torch.zeros(rows, rank)
    return Adapter(down.to(weight.device).requires_grad_(), up.to(weight.device).requires_grad_(), SCALE)


def low_rank(x: Tensor, adapter: Adapter) -> Tensor:
    """What an adapter adds to a linear map's output: x [..., in] to [..., out]."""
    return adapter.scale * F.linear(F.linear(x, adapter.down), adapter.up)


def merged(weight: Tensor, adapter: Adapter) -> Tensor:
    """The weight with its adapter in it, in fp32."""
    return weight.float() + adapter.scale * (adapter.up @ adapter.down)
