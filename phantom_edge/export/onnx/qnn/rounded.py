"""The same operations with values on grids of uint16 between them: what Hexagon computes fastest.

A grid is a ``QuantizeLinear`` and a ``DequantizeLinear`` of one scale and zero point behind an operation.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from phantom_edge.export.onnx import packing
from phantom_edge.export.onnx.ops import SCALES, VALUES
from phantom_edge.export.onnx.qnn.fixed import FixedOps
from phantom_edge.export.onnx.writer import GraphBuilder
from phantom_edge.model.ops import Weights
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.ranges import Ranges

SCALE: Final = ".grid_scale"
ZERO: Final = ".grid_zero"
"""Ends of the names of a site's two constants."""


class RoundedOnnxOps(FixedOps):
    """:class:`FixedOps` with the sites that have a range on their grids, the others in fp16."""

    def __init__(self, graph: GraphBuilder, spec: FoldedSpec, weights: Weights, ranges: Ranges):
        super().__init__(graph, spec, weights)
        self.ranges = ranges
        self._grids: dict[str, tuple[str, str]] = {}  # scale and zero point by value

    def at(self, site: str, value: str) -> str:
        if site not in self.ranges:
            return value
        grid = self.ranges[site]
        scale = self.graph.scalar(site + SCALE, np.float32(grid.scale))
        zero = self.graph.scalar(site + ZERO, np.uint16(grid.zero))
        return self._on(value, (scale, zero))

    def like(self, value: str, moved: str) -> str:
        return self._on(moved, self._grids[value]) if value in self._grids else moved

    def _on(self, value: str, grid: tuple[str, str]) -> str:
        stored = self.graph.node("QuantizeLinear", [value, *grid])
        result = self.graph.node("DequantizeLinear", [stored, *grid])
        self._grids[result] = grid
        return result

    def _matmul_bytes(self, x: str, name: str, weight: QuantizedTensor) -> str:
        if f"{name}.product" not in self.ranges:
            return super()._matmul_bytes(x, name, weight)
        self.kinds[name] = "MatMul int8"
        values = self.graph.initializer(f"{name}.weight{VALUES}", packing.pack_columns(weight))
        scales = self.graph.initializer(f"{name}.weight{SCALES}", weight.scales[:, 0].numpy())
        return self.graph.node("MatMul", [x, self.graph.node("DequantizeLinear", [values, scales], axis=1)])

    def full_attention(self, q: str, k: str, v: str) -> str:
        for value in (q, k, v):  # factors in fp16, see model/rounded_ops.py
            self._grids.pop(value, None)
        return super().full_attention(q, k, v)

    def rope(self, x: str) -> str:
        self._grids.pop(x, None)
        return super().rope(x)
