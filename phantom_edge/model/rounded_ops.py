"""The folded graphs in torch for an NPU, which rounds what every operation gives.

A place where a value is rounded is a *site*. Its name is the same in the torch graph and in the exporter's,
as both are made by the same calls in the same order. A site with a range of its own lies on a grid of uint16;
any other value of an NPU is in fp16.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.model.ops import TorchOps
from phantom_edge.model.sequence_ops import SequenceOps
from phantom_edge.model.weights import dense
from phantom_edge.numbers.ranges import Ranges

Round = Callable[[str, Tensor], Tensor]
"""Called with a site's name and its value; gives the value that goes on."""
MASKED: Final = -10000.0
"""Added to the score of a place that a row may not look at: exact zero after the softmax, and fp16 has it."""
STEP: Final = ".step"
"""After the name of a site: what is rounded on the way to its value."""
SOFTMAX_STEP: Final = re.compile(r".*\.softmax\.\d+\.step")
_BLOCK: Final = re.compile(r"(\w+\.layers\.\d+|vision_encoder\.projector|\w+)(\.|$)")
_FLOAT: Final = re.compile(r".*\.((query|mixed)\.\d+|step|pixels|(qkv|fc1|fc2)\.input)")
_MATRIX: Final = re.compile(r"text_decoder\.(layers\.\d+\.(qkv|o|gate_up|down)|head)\.(input|product|output)")


class Sites:
    """Names of sites, counted anew in every block in the order in which operations are called.

    >>> sites = Sites()
    >>> sites.enter("vision_encoder.layers.3.norm1")
    >>> sites("add"), sites("add")
    ('vision_encoder.layers.3.add.0', 'vision_encoder.layers.3.add.1')
    """

    def __init__(self) -> None:
        self._block, self._counts = "", Counter[str]()

    def enter(self, name: str) -> None:
        """What follows belongs to the block of the module or weight ``name``."""
        match = _BLOCK.match(name)
        block = match[1] if match else name
        if block != self._block:
            self.begin(block)

    def begin(self, block: str) -> None:
        """A new run of a block."""
        self._block, self._counts = block, Counter()

    def __call__(self, kind: str) -> str:
        name = f"{self._block}.{kind}.{self._counts[kind]}"
        self._counts[kind] += 1
        return name


def goes_on_a_grid(site: str) -> bool:
    """Whether a value of uint16 may lie at a site.

    In the vision encoder all but attention's factors: of a product of two values in uint16 Hexagon keeps
    eight bits of one. (What a matrix reads lies on the grid of the operation before.) In the decoder what a
    matrix reads and gives: the rest has few elements, or, with a mask, ranges that are too wide.
    """
    if site.startswith("vision_encoder."):
        return _FLOAT.fullmatch(site) is None
    return _MATRIX.fullmatch(site) is not None


@dataclass(frozen=True)
class Rounding:
    """What an NPU computes (``vision_encoder``, ``text_decoder``), and the ``ranges`` of its sites."""

    graphs: frozenset[str]
    ranges: Ranges = field(default_factory=dict)

    def covers(self, name: str) -> bool:
        """Whether a graph, or the graph of a module, is the NPU's."""
        return name.partition(".")[0] in self.graphs

    def at(self, site: str, value: Tensor) -> Tensor:
        """A value as the NPU holds it: in fp16, and on its grid where it has one.

        A softmax of fp16 loses more: Qualcomm's emulator is 1.6e-3 off, as with exponentials of eight bits,
        where one that gives uint16 is 1e-3 off (``benchmarks/npu_rounding.py``).
        """
        if SOFTMAX_STEP.fullmatch(site) and site.removesuffix(STEP) not in self.ranges:
            return value.bfloat16().float()
        half = value.half().float()
        return self.ranges[site].round(half) if site in self.ranges else half


class Rounded(TorchOps):
    """Operations that call ``at`` with every site's value; constants are sites under their own names.

    What an NPU makes in two steps, a norm, a GELU, a softmax, is rounded after both. Attention is written out
    as there; a class beside it gives the keys, the values and the mask.
    """

    def __init__(self, *arguments: Any, at: Round, **options: Any):
        super().__init__(*arguments, **options)
        self.at, self.sites = at, Sites()

    def _site(self, kind: str, value: Tensor) -> Tensor:
        return self.at(self.sites(kind), value)

    def _in_two(self, kind: str, value: Tensor, rest: Callable[[Tensor], Tensor]) -> Tensor:
        """A value of which a part is made, and rounded, before the rest of the operation."""
        site = self.sites(kind)
        return self.at(site, rest(self.at(site + STEP, value)))

    def _float(self, name: str) -> Tensor:
        return self.at(name, dense(self.weights[name]))

    def linear(self, x: Tensor, name: str) -> Tensor:
        x = self.at(f"{name}.input", x)
        y = self.at(f"{name}.product", self.product(x, name, self.weights[f"{name}.weight"], None))
        if f"{name}.bias" not in self.weights:
            return y
        return self.at(f"{name}.output", y + self._float(f"{name}.bias"))

    def project(self, x: Tensor, name: str) -> Tensor:
        return self._site("project", super().project(x, name))

    def scale(self, x: Tensor, name: str) -> Tensor:
        # Its fp16 has another exponent there, see export/half_constants.py.
        return self._site("scale", x * dense(self.weights[name]))

    def layer_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        self.sites.enter(name)
        weight, bias = self._float(f"{name}.weight"), self._float(f"{name}.bias")
        normal = F.layer_norm(x, x.shape[-1:], eps=eps)
        return self._in_two("norm", normal, lambda normal: normal * weight + bias)

    def rms_norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        self.sites.enter(name)
        weight = self._float(f"{name}.weight")
        return self._in_two("norm", F.rms_norm(x, x.shape[-1:], eps=eps), lambda normal: normal * weight)

    def gelu(self, x: Tensor) -> Tensor:
        return self._in_two("gelu", (1 + torch.erf(x * 0.5**0.5)) / 2, lambda share: x * share)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self._site("sigmoid", super().sigmoid(x))

    def silu(self, x: Tensor) -> Tensor:
        return self.mul(x, self.sigmoid(x))

    def softmax(self, x: Tensor) -> Tensor:
        powers = (x - x.amax(-1, keepdim=True)).exp()
        return self._in_two("softmax", powers, lambda powers: powers / powers.sum(-1, keepdim=True))

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return self._site("add", a + b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return self._site("mul", a * b)

    # --- vision
    def patches(self, pixels: Tensor) -> Tensor:
        at = "vision_encoder.patch_embedding"
        self.sites.begin("vision_encoder")
        weight, bias = (dense(self.weights[f"{at}.{part}"]) for part in ("weight", "bias"))
        pixels = self.at("vision_encoder.pixels", pixels)
        x = F.conv2d(pixels, weight, bias, stride=self.spec.config.vision.patch_size)
        x = self._site("patches", x).flatten(2).transpose(1, 2)  # [T, P, C]
        first = self._float("vision_encoder.class_embedding").expand(len(x), 1, -1)
        x = self._site("concat", torch.cat([first, x], dim=1))
        return self.add(x, self._float(self.spec.positions(pixels.shape[-1])))

    def full_attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = self._site("query", q * q.shape[-1] ** -0.5)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # [T, H, S, D]
        weights = self.softmax(self._site("scores", q @ k.transpose(-2, -1)))
        return self._site("mixed", weights @ v).transpose(1, 2)

    # --- decoder
    def rope(self, x: Tensor) -> Tensor:
        tables = (self.at(f"rope.{kind}", t) for kind, t in zip(("cos", "sin"), self.tables, strict=True))
        cos, sin = (table[None, :, None].repeat(1, 1, 1, 2) for table in tables)  # [1, S, 1, D]
        first, second = x.chunk(2, dim=-1)
        sign = torch.ones_like(sin)
        sign[..., : first.shape[-1]] = -1
        return self.add(self.mul(x, cos), self.mul(torch.cat([second, first], dim=-1), sin * sign))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        """q [B, S, H, W] over k and v [B, N, Hkv, W] where ``mask`` [S, N] is True: [B, S, H, W]."""
        heads = k.shape[2]
        q = self._site("query", q * scale).transpose(1, 2).unflatten(1, (heads, -1))  # [B, Hkv, G, S, W]
        k, v = (t.transpose(1, 2).unsqueeze(2) for t in (k, v))  # [B, Hkv, 1, N, W]
        scores = self._site("scores", q @ k.transpose(-2, -1)).masked_fill(~mask, MASKED)
        weights = self.softmax(self._site("masked", scores))
        return self._site("mixed", weights @ v).flatten(1, 2).transpose(1, 2)

    def cached(self, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """New keys and values as the cache gives them back: in fp16, and on its grid where it is int8."""
        k, v = (self.at(f"text_decoder.layers.{layer}.cache", value) for value in (k, v))
        return (k, v) if self.kv is None else self.kv.round(layer, k, v)


class RoundedOps(Rounded):
    """:class:`Rounded` over a cache."""

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        past = [cache[layer] for cache in (self._keys, self._values)]
        for cache, new in zip(past, self.cached(k, v, layer), strict=True):
            cache[:, self.start : self.end] = new
        mask = torch.ones(q.shape[1], self.end, dtype=torch.bool).tril(self.start)
        return self.attend(q, past[0][:, : self.end], past[1][:, : self.end], mask, scale)


class RoundedSequenceOps(Rounded, SequenceOps):
    """:class:`Rounded` over whole sequences."""

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        k, v = self.cached(k, v, layer)
        mask = self._mask
        if mask is None:
            mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril()
        return self.attend(q, k, v, mask, scale)
