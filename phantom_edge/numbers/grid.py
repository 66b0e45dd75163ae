"""The one quantised representation: symmetric integers and their scales, exact in all three artifacts.

XNNPACK keeps the scales of int4 blocks as bfloat16, Core ML keeps every scale as float16, ONNX Runtime as
float32. A scale with at most eight significant bits that is a multiple of 2^-24 is the same number in all of
them, so the weights that the three runtimes multiply with are bit-identical and one measurement of accuracy
serves three files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from phantom_edge.errors import InputError

RANGES: Final = {4: (-8, 7), 8: (-127, 127)}
"""Lowest and highest integer by bits; int8 leaves out -128, which overflows where a kernel negates it."""

SCALE_MIN: Final = 2.0**-24  # float16's smallest subnormal
SCALE_MAX: Final = 65280.0  # 255 * 2^8: the last value of eight significant bits below float16's 65504
_FINE: Final = 2.0**-17  # below it bfloat16's spacing is finer than float16's 2^-24


def round_scale(scale: Tensor) -> Tensor:
    """Nearest scale that bfloat16 and float16 both hold exactly: at most 8 bits, a multiple of 2^-24.

    Args:
        scale: any shape, positive; what is too small or too large is moved to 2^-24 or 65280.

    Returns:
        fp32 of the same shape, never zero.

    Example:
        >>> round_scale(torch.tensor([0.0123, 1e-9, 1e9])).tolist()
        [0.0123291015625, 5.960464477539063e-08, 65280.0]
    """
    scale = scale.to(torch.float32)
    coarse = scale.to(torch.bfloat16).to(torch.float32)  # round to nearest, ties to even, 8 significant bits
    fine = torch.round(scale * 2.0**24) * 2.0**-24
    return torch.where(scale < _FINE, fine, coarse).clamp_(SCALE_MIN, SCALE_MAX)


def pack_nibbles(values: Tensor, high_first: bool = False, offset: int = 0) -> Tensor:
    """Put two four-bit integers into each byte, along the last dimension.

    Args:
        values: int8 [..., n], -8..7.
        high_first: the first of a pair goes into the high four bits (otherwise into the low ones).
        offset: 0 keeps two's complement, 8 stores value + 8 (0..15).

    Returns:
        uint8 [..., ceil(n / 2)]; an odd row is completed with an encoded zero.

    Example:
        >>> pack_nibbles(torch.tensor([1, -1], dtype=torch.int8)).tolist()
        [241]
        >>> pack_nibbles(torch.tensor([1, -1], dtype=torch.int8), offset=8).tolist()
        [121]
    """
    if values.shape[-1] % 2:
        values = torch.nn.functional.pad(values, (0, 1))
    # int8 addition wraps, so -8 + 0 becomes 0xF8 and the mask keeps its low half: two's complement.
    codes = values.add(offset).view(torch.uint8).bitwise_and_(0xF)
    first, second = codes[..., 0::2], codes[..., 1::2]
    return first << 4 | second if high_first else second << 4 | first


def unpack_nibbles(packed: Tensor, count: int, high_first: bool = False, offset: int = 0) -> Tensor:
    """Undo `pack_nibbles`.

    Args:
        packed: uint8 [..., ceil(count / 2)].
        count: length of the unpacked last dimension.
        high_first: as given to `pack_nibbles`.
        offset: as given to `pack_nibbles`.

    Returns:
        int8 [..., count], -8..7.

    Example:
        >>> unpack_nibbles(torch.tensor([241], dtype=torch.uint8), 2).tolist()
        [1, -1]
    """
    low, high = packed & 0xF, packed >> 4
    pair = (high, low) if high_first else (low, high)
    codes = torch.stack(pair, dim=-1).flatten(-2)[..., :count].view(torch.int8)  # [..., count]
    return codes - offset if offset else ((codes ^ 8) - 8)  # the second form extends bit 3 as the sign


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A weight matrix as symmetric integers: weight[o, i] = values[o, i] * scales[o, i // group].

    Attributes:
        values: int8 [out, in]: -8..7 for 4 bits, -127..127 for 8.
        scales: fp32 [out, in / group], or [out, 1] per output channel; every one equal to its own
            `round_scale`.
        bits: 4 or 8.
        group: input features that share a scale, or None for one scale per output channel.

    Raises:
        InputError: a shape, type, range or scale that one of the three formats could not hold.

    Example:
        >>> q = QuantizedTensor(torch.tensor([[3, -8]], dtype=torch.int8), torch.tensor([[0.5]]), bits=4)
        >>> q.dequantize().tolist()
        [[1.5, -4.0]]
    """

    values: Tensor
    scales: Tensor
    bits: int
    group: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in RANGES:
            raise InputError(f"quantised tensor: bits must be 4 or 8, not {self.bits}")
        if self.values.dtype != torch.int8 or self.values.ndim != 2 or self.values.numel() == 0:
            raise InputError(
                f"quantised tensor: values must be int8 [out, in], not {self.values.dtype} "
                f"{list(self.values.shape)}"
            )
        out_features, in_features = self.values.shape
        group = in_features if self.group is None else self.group
        if group < 1 or in_features % group:
            raise InputError(f"quantised tensor: groups of {group} do not divide {in_features} inputs")
        expected = (out_features, in_features // group)
        if self.scales.dtype != torch.float32 or tuple(self.scales.shape) != expected:
            raise InputError(
                f"quantised tensor: scales must be float32 {list(expected)},"
                f" not {self.scales.dtype} {list(self.scales.shape)}"
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        low, high = RANGES[self.bits]
        smallest, largest = (int(v) for v in self.values.aminmax())
        if smallest < low or largest > high:
            raise InputError(
                f"quantised tensor: int{self.bits} values must lie in {low}..{high}, not "
                f"{smallest}..{largest}"
            )
        # NaN fails this too, as do zero and infinity.
        if not torch.equal(round_scale(self.scales), self.scales):
            raise InputError("quantised tensor: a scale is not exact in bf16 and fp16; use round_scale")

    @property
    def zero_point(self) -> int:
        """Always 0: the grid is symmetric."""
        return 0

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def block(self) -> int:
        """Input features that share a scale: the group, or all of them."""
        return self.group or self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes in a file: integers, two to a byte for int4, and float16 scales."""
        out_features, in_features = self.shape
        row = (in_features + 1) // 2 if self.bits == 4 else in_features
        return out_features * row + 2 * self.scales.numel()

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights the integers stand for.

        Args:
            dtype: type of the result; the product is formed in fp32, where it is exact. It is exact in
                float16 too for 4 bits (at most 11 significant bits), not for 8.

        Returns:
            [out, in].
        """
        return self.dequantize_rows(0, self.shape[0]).to(dtype)

    def dequantize_rows(self, start: int, stop: int) -> Tensor:
        """Output features ``start`` up to ``stop`` in fp32, [stop - start, in] or fewer at the end."""
        # [out, in/block, block]
        blocks = self.values[start:stop].to(torch.float32).unflatten(1, (-1, self.block))
        return torch.flatten(blocks.mul_(self.scales[start:stop].unsqueeze(-1)), 1)  # [out, in]

    def rows(self, index: Tensor) -> QuantizedTensor:
        """The output features of ``index``, in that order, with the same integers and scales."""
        return QuantizedTensor(self.values[index], self.scales[index], self.bits, self.group)

    def to_state(self) -> dict[str, Tensor]:
        """Tensors for a safetensors file: `values` (int4: two a byte, first low), `scales` (fp16), `grid`."""
        values = pack_nibbles(self.values) if self.bits == 4 else self.values
        grid = torch.tensor([self.bits, self.group or 0, self.shape[1]], dtype=torch.int32)
        return {
            "values": values.contiguous(),
            "scales": self.scales.to(torch.float16).contiguous(),
            "grid": grid,
        }

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> QuantizedTensor:
        """Undo `to_state`.

        Args:
            state: the three tensors; others are refused.

        Raises:
            InputError: a tensor is missing, unknown or does not fit the others.
        """
        if set(state) != {"values", "scales", "grid"} or state["grid"].numel() != 3:
            raise InputError(f"quantised state: expected values, scales, grid of three, not {sorted(state)}")
        bits, group, in_features = (int(v) for v in state["grid"])
        values = unpack_nibbles(state["values"], in_features) if bits == 4 else state["values"]
        if values.shape[-1] != in_features:
            raise InputError(
                f"quantised state: the grid says {in_features} input features, the values {values.shape[-1]}"
            )
        return cls(values, state["scales"].to(torch.float32), bits, group or None)
