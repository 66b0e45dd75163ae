"""What other quantisers make of a weight, as their own libraries say."""

import torch

from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.other_quantizers import other_quantizers


def test_every_quantizer_gives_four_bit_weights_near_the_original(capfd):
    generator = torch.Generator().manual_seed(0)
    weight = 0.05 * torch.randn(48, 256, generator=generator)
    own = (quantize_weight(weight, 4, 32).dequantize() - weight).norm()
    names = []
    for quantizer in other_quantizers():
        dequantized = quantizer.dequantized(weight)
        assert dequantized.shape == weight.shape
        assert 0.9 * own < (dequantized - weight).norm() < 1.1 * own
        blocks = dequantized.unflatten(1, (-1, quantizer.group)).flatten(0, 1)
        assert max(len(row.unique()) for row in blocks) <= 16
        assert quantizer.bytes_per_group / quantizer.group <= 2.5 / 32
        names.append(quantizer.name)
    assert len(set(names)) == 5
    assert "Progress" not in capfd.readouterr().out
