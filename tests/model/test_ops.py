"""The reference operations where they compute in pieces."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from phantom_edge.model import linear_by_rows
from phantom_edge.model.ops import TorchOps
from phantom_edge.numbers.scale_search import quantize_weight


@pytest.fixture
def weight():
    return torch.randn(50, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["int4", "int8", "fp16", "bf16", "fp32"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_in_pieces_is_the_whole_one(monkeypatch, weight, kind, bias):
    """Pieces of 7 rows, the last of one."""
    monkeypatch.setattr(linear_by_rows, "PIECE", 7 * 64)
    stored = {
        "int4": lambda: quantize_weight(weight, 4, 32),
        "int8": lambda: quantize_weight(weight, 8, None),
        "fp16": weight.half,
        "bf16": weight.bfloat16,
        "fp32": lambda: weight,
    }[kind]()
    weights = {"m.weight": stored} | ({"m.bias": torch.arange(50.0)} if bias else {})
    x = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(1))
    product = TorchOps(None, weights).linear(x, "m")
    dense = stored.dequantize() if kind in ("int4", "int8") else stored.float()
    expected = F.linear(x, dense, weights.get("m.bias"))
    assert product.shape == (1, 3, 50)
    torch.testing.assert_close(product, expected, rtol=1e-6, atol=1e-5)


def test_rows_are_those_of_the_whole_matrix(weight):
    for quantized in (quantize_weight(weight, 4, 32), quantize_weight(weight, 8, None)):
        assert torch.equal(quantized.dequantize_rows(5, 20), quantized.dequantize()[5:20])
        assert torch.equal(quantized.dequantize_rows(40, 90), quantized.dequantize()[40:])
