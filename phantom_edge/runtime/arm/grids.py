"""How ONNX Runtime rounds activations on Arm: the kernels that a core's features choose have their own grids.

x86 rounds the input of a 4-bit product block by block. On Arm with dot products Arm's own library of kernels
does it row by row, as XNNPACK does; without them the product is in floats. With SME the 8-bit products of
whole matrices go row by row as well. The weights' integers and scales are the same everywhere: those kernels
cut scales to bf16, which holds them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

from phantom_edge.export.onnx import activation_grid
from phantom_edge.numbers.activations import ActivationGrid, GridOf
from phantom_edge.numbers.grid import QuantizedTensor


def grids_of(features: Iterable[str]) -> GridOf:
    """The grid of each weight's input on a core with these features, as ``/proc/cpuinfo`` spells them."""
    names = frozenset(features)

    def grid(weight: QuantizedTensor) -> ActivationGrid:
        usual = activation_grid(weight)
        if usual is ActivationGrid.BLOCK_INT8:
            if "asimddp" not in names:
                return ActivationGrid.NONE
            return ActivationGrid.TOKEN_INT8 if weight.bits == 4 else usual
        if usual is ActivationGrid.TENSOR_UINT8 and "sme" in names:
            return ActivationGrid.TOKEN_INT8
        return usual

    return grid
