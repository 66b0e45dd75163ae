"""Scales for a KV cache in int8: one per layer, key-value head and channel, from calibration.

The cache of a layer holds [k | y_k] and [v | y_v]: plain and phantom channels side by side
(``model/fold.py``). A scale per channel gives the phantom half scales of its own, which it needs: its size
has nothing to do with k's. Keys are as they are cached, after the rotary embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import Images, logits
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.calibration import Sample
from phantom_edge.quantize.quality import Quality, quality

HEADROOM: Final = 1.1
"""Beyond the largest value of the samples: other prompts reach further; a tenth costs a tenth of a step."""
LARGEST: Final = 127


@dataclass(frozen=True, eq=False)
class KVScales:
    """Scales [Hkv, W] per layer, W = head_dim + phantom_dim: value = integer * scale, integers -127..127."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def to_state(self) -> dict[str, Tensor]:
        """Tensors for a safetensors file: ``kv.N.key`` and ``kv.N.value``."""
        layers = enumerate(zip(self.keys, self.values, strict=True))
        return {f"kv.{n}.{kind}": t for n, (k, v) in layers for kind, t in (("key", k), ("value", v))}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> KVScales:
        """Undo :meth:`to_state`, or raise :class:`InputError` for a missing layer or a scale that is none."""
        count = sum(name.startswith("kv.") for name in state) // 2
        try:
            keys, values = (tuple(state[f"kv.{n}.{kind}"] for n in range(count)) for kind in ("key", "value"))
        except KeyError as error:
            raise InputError(f"KV scales: {error} is missing") from None
        good = all(bool((t > 0).all()) and bool(torch.isfinite(t).all()) for t in (*keys, *values))
        if not count or not good:
            raise InputError("KV scales: each must be positive and finite")
        return cls(keys, values)

    def fingerprint(self) -> str:
        """SHA-256 of all scales, whatever file they come from."""
        digest = hashlib.sha256()
        for name, scales in sorted(self.to_state().items()):
            digest.update(f"{name}/{tuple(scales.shape)}".encode())
            digest.update(scales.contiguous().float().numpy().tobytes())
        return digest.hexdigest()

    def round(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [1, S, Hkv, W] as an int8 cache gives them back."""
        return _rounded(k, self.keys[layer]), _rounded(v, self.values[layer])


def kv_scales(model: FoldedModel, samples: Sequence[Sample], step: Step = no_step) -> KVScales:
    """Scales from the keys and values that ``samples`` give, with a little headroom.

    >>> from phantom_edge.quantize.calibration import drawn_set
    >>> nano = pe.Pretrained.open()
    >>> model = FoldedModel.of(nano.config, nano.checkpoint, pe.Fold(), nano.first_id)
    >>> kv_scales(model, drawn_set(nano, 8).samples).keys[0].shape      # kv heads, head and phantom dimension
    torch.Size([2, 64])
    """
    largest: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, k: Tensor, v: Tensor) -> None:
        if name.endswith(".attention"):
            keys, values = (x.abs().amax((0, 1)) for x in (k, v))  # [Hkv, W]
            before = largest.get(name, (keys, values))
            largest[name] = torch.maximum(before[0], keys), torch.maximum(before[1], values)

    logits(model, samples, observe=watch, step=step)
    layers = [largest[f"text_decoder.layers.{n}.attention"] for n in range(model.config.decoder.layers)]
    return KVScales(tuple(_scale(k) for k, _ in layers), tuple(_scale(v) for _, v in layers))


def kv_quality(
    model: FoldedModel,
    samples: Sequence[Sample],
    scales: KVScales,
    reference: Sequence[Tensor],
    images: Images | None = None,
) -> Quality:
    """The next tokens of a model with an int8 cache against ``reference``, the logits without.

    ``images`` are the samples' image tokens, where they are at hand: the cache does not change them.
    """
    return quality(reference, logits(model.with_kv(scales), samples, images))


def _rounded(x: Tensor, scale: Tensor) -> Tensor:
    return (x / scale).round().clamp(-LARGEST, LARGEST) * scale


def _scale(absmax: Tensor) -> Tensor:
    # A channel that is always zero (a phantom direction nobody uses) takes any scale.
    return torch.where(absmax > 0, absmax * HEADROOM / LARGEST, torch.ones_like(absmax)).clone()
