"""What an NPU's graphs take of its memory, by count, and what fits."""

from __future__ import annotations

from typing import Final

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.grid import QuantizedTensor

LIMIT: Final = 3_750_000_000
"""Of one session: Hexagon has addresses of 32 bits, of which 3.75 GB are to be had (Qualcomm's guide to the
HTP backend, *HTP session and artifact usage guidelines*; PowerServe's developers name the same number)."""
HALF: Final = 2  # bytes of fp16
LIVE: Final = 3  # large activations at a time: scores, their softmax, and what is made of it


def check_memory(model: FoldedModel, options: ExportOptions) -> None:
    """Raise :class:`InputError` where the NPU's decoder does not fit, with what it takes and what fits."""
    if model.rounding is None or not model.rounding.covers("text_decoder"):
        return
    weights = _weights(model)
    needed = weights + options.context * _per_token(model, options.chunk)
    if needed <= LIMIT:
        return
    room = max(0, LIMIT - weights) // _per_token(model, options.chunk)
    advice = f"at most {room} tokens fit: give --context {room}" if room else "leave the decoder to the CPU"
    raise InputError(
        f"--context {options.context}: the decoder takes {needed / 1e9:.1f} GB of an NPU session's "
        f"{LIMIT / 1e9:.2f}, {weights / 1e9:.1f} of them weights; {advice}, or use --npu vision"
    )


def _weights(model: FoldedModel) -> int:
    """Bytes of the decoder's weights: integers with their scales, and floats in fp16."""
    total = 0
    for name in model.weights:
        if name.startswith("text_decoder."):
            weight = model.weights[name]
            total += weight.nbytes if isinstance(weight, QuantizedTensor) else HALF * weight.numel()
    return total


def _per_token(model: FoldedModel, chunk: int) -> int:
    """Bytes for every token of the context: keys and values of all layers, and the scores of one."""
    d = model.config.decoder
    value = HALF if model.kv is None else 1
    cache = sum(2 * value * d.kv_heads * model.spec.width(n) for n in range(d.layers))
    return cache + LIVE * HALF * d.heads * chunk
