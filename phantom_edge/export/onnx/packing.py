"""Our integers in the layouts of ONNX Runtime's operations, and back. Pure arithmetic, no files.

``MatMulNBits``: B uint8 [N, K / block, block / 2], value + 8, first of a pair low; scales [N, K / block].
With 8 bits B is uint8 [N, K / block, block], value + 128, the last block filled up where K is no multiple.
``DynamicQuantizeMatMul``: B int8 [K, N], scales [N]. ``Gather``: rows int8 [V, C], scales [V, 1].
(``onnxruntime/contrib_ops``: ``docs/ContribOperators.md``.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles, unpack_nibbles

OFFSET: Final = 8
"""Zero point that MatMulNBits takes when it is given none: four bits hold value + 8."""
BYTE_OFFSET: Final = 128
"""The same for eight bits."""
CHANNEL_BLOCKS: Final = (128, 64, 32)
"""Sizes of the blocks that a channel is cut into: powers of two of at least 32, which every kernel takes."""


def pack_blocks(weight: QuantizedTensor) -> np.ndarray:
    """int4 [N, K] in groups to ``MatMulNBits``' B: uint8 [N, K / group, group / 2]."""
    packed = pack_nibbles(weight.values, offset=OFFSET)  # [N, K/2]
    return packed.reshape(len(packed), -1, weight.block // 2).numpy()  # [N, K/group, group/2]


def unpack_blocks(packed: np.ndarray, scales: np.ndarray, group: int) -> QuantizedTensor:
    """Undo :func:`pack_blocks`. Raises :class:`InputError` when the two arrays do not fit each other."""
    if packed.dtype != np.uint8 or packed.ndim != 3 or packed.shape[2] * 2 != group:
        shape = list(packed.shape)
        expected = f"uint8 [N, K/{group}, {group // 2}]"
        raise InputError(f"int4 weight is {packed.dtype} {shape}, expected {expected}")
    rows = torch.from_numpy(packed.copy()).flatten(1)  # [N, K/2]
    values = unpack_nibbles(rows, 2 * rows.shape[1], offset=OFFSET)  # [N, K]
    return QuantizedTensor(values, _scales(scales), 4, group)


def pack_columns(weight: QuantizedTensor) -> np.ndarray:
    """int8 [N, K] per output channel to ``DynamicQuantizeMatMul``'s B: int8 [K, N]."""
    return weight.values.T.contiguous().numpy()  # [K, N]


def channel_block(k: int) -> int | None:
    """The block that a channel of ``k`` inputs is cut into without a rest, if there is one."""
    return next((size for size in CHANNEL_BLOCKS if k % size == 0), None)


def pack_channels(weight: QuantizedTensor) -> tuple[np.ndarray, torch.Tensor]:
    """int8 [N, K] per channel to 8-bit ``MatMulNBits``' B [N, blocks, block] and scales [N, blocks]."""
    k = weight.shape[1]
    block = channel_block(k) or CHANNEL_BLOCKS[-1]
    bytes_ = (weight.values.to(torch.int16) + BYTE_OFFSET).to(torch.uint8)  # [N, K]
    filled = torch.nn.functional.pad(bytes_, (0, -k % block), value=BYTE_OFFSET)
    blocks = filled.reshape(len(filled), -1, block)  # [N, blocks, block]
    return blocks.contiguous().numpy(), weight.scales.expand(-1, blocks.shape[1]).contiguous()


def unpack_channels(packed: np.ndarray, scales: np.ndarray, k: int) -> QuantizedTensor:
    """Undo :func:`pack_channels`. Raises :class:`InputError` unless channels have one scale and fit."""
    if packed.dtype != np.uint8 or packed.ndim != 3 or not 0 <= packed[0].size - k < packed.shape[2]:
        shape = list(packed.shape)
        raise InputError(f"int8 weight is {packed.dtype} {shape}, expected uint8 blocks of {k} inputs")
    if scales.shape != packed.shape[:2] or (scales != scales[:, :1]).any():
        raise InputError("int8 weight whose scales are not one per output channel")
    values = torch.from_numpy(packed.reshape(len(packed), -1)[:, :k].astype(np.int16) - BYTE_OFFSET)  # [N, K]
    return QuantizedTensor(values.to(torch.int8), _scales(scales[:, :1]), 8)


def unpack_columns(packed: np.ndarray, scales: np.ndarray) -> QuantizedTensor:
    """Undo :func:`pack_columns`; ``scales`` is [N]."""
    return QuantizedTensor(torch.from_numpy(packed.T.copy()), _scales(scales[:, None]), 8)


def unpack_rows(rows: np.ndarray, scales: np.ndarray) -> QuantizedTensor:
    """The embedding's rows int8 [V, C] and scales [V, 1]."""
    return QuantizedTensor(torch.from_numpy(rows.copy()), _scales(scales), 8)


def _scales(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
