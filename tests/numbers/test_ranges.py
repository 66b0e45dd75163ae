"""Grids of uint16: zero is on them, and rounding is that of ONNX's QuantizeLinear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from phantom_edge.numbers.ranges import STEPS, Range, fingerprint


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-7.0, -2.0), (0.0, 0.0), (-1e-6, 1e6)])
def test_zero_is_a_number_of_the_grid(low, high):
    grid = Range.of(low, high)
    assert 0 <= grid.zero <= STEPS
    assert grid.round(torch.zeros(1)).item() == 0
    assert grid.low <= min(low, 0) + grid.scale
    assert grid.high >= max(high, 0) - grid.scale


def test_values_are_rounded_as_onnx_rounds_them():
    grid = Range.of(-1.7, 2.9)
    x = torch.cat([torch.linspace(-3, 4, 4001), (torch.arange(-50, 50) + 0.5) * grid.scale])
    names = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [len(x)]) for n in "xy"]
    constants = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [grid.scale]),
        helper.make_tensor("zero", TensorProto.UINT16, [], [grid.zero]),
    ]
    graph = helper.make_graph(nodes, "grid", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(grid.round(x).numpy(), expected)


def test_every_grid_counts_for_the_fingerprint():
    ranges = {"a": Range.of(-1, 1), "b": Range.of(0, 5)}
    assert fingerprint(ranges) == fingerprint(dict(reversed(ranges.items())))
    for other in (
        {"a": ranges["a"]},
        ranges | {"b": Range.of(0, 6)},
        ranges | {"b": Range(ranges["b"].scale, 1)},
    ):
        assert fingerprint(other) != fingerprint(ranges)
