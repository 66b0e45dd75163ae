"""What other quantisers make of a weight, as their own libraries say."""

import torch

from phantom_edge.quantize import quantize_weight
from phantom_edge.quantize.other_quantizers import _rivals


def test_every_rival_gives_four_bit_weights_near_the_original(capfd):
    generator = torch.Generator().manual_seed(0)
    weight = 0.05 * torch.randn(48, 256, generator=generator)
    own = (quantize_weight(weight, 4, 32).dequantize() - weight).norm()
    names = []
    for name, per_group, group, quantizer in _rivals():
        found = quantizer(weight)
        assert found.shape == weight.shape
        assert 0.9 * own < (found - weight).norm() < 1.1 * own
        levels = max(len(row.unique()) for row in found.unflatten(1, (-1, group)).flatten(0, 1))
        assert levels <= 16
        assert per_group / group <= 2.5 / 32
        names.append(name)
    assert len(set(names)) == 5
    assert "Progress" not in capfd.readouterr().out
