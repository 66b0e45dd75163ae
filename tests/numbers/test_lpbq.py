"""LPBQ's grid: products that every format holds, factored back exactly, near the best of trying them all."""

import pytest
import torch

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import RANGES, QuantizedTensor, round_scale
from phantom_edge.numbers.lpbq import factor_scales, nearest_scale
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight

SIZES = [1e-9, 1e-7, 1e-5, 3e-4, 0.02, 1.0, 300.0, 1e5]


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uneven(out, width, seed=0):
    """Blocks of very different sizes, as outlier channels make them."""
    return gaussian(out, width, seed=seed) * gaussian(out, width // 32, seed=9).exp().repeat_interleave(32, 1)


def heavy_tailed(out, width):
    return gaussian(out, width) / gaussian(out, width, seed=1).abs().clamp_min(0.05)


def lpbq(weight, importance=None, group=32):
    return quantize_weight(weight, 4, group, importance, ScaleGrid.LPBQ)


def significant_bits(values):
    """Of positive floats that are multiples of 2^-24."""
    units = [int(v * 2**24) for v in values.double().flatten().tolist()]
    return max((n // (n & -n)).bit_length() for n in units)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sample", [gaussian, heavy_tailed, uneven])
def test_scales_are_products_that_every_format_holds(sample, size):
    weight = sample(48, 256) * size
    weight[3], weight[4, 32:64] = 0, 0
    quantized = lpbq(weight)
    channels, factors = factor_scales(quantized.scales)
    assert torch.equal(channels.unsqueeze(1) * factors.float(), quantized.scales)
    assert factors.dtype == torch.uint8
    assert factors.min() >= 1
    assert (factors.amax(1) == 16).all()  # the NPU's compiler derives the channel's scale from the largest
    assert significant_bits(channels) <= 4
    assert significant_bits(quantized.scales) <= 8
    for dtype in (torch.bfloat16, torch.float16):
        for values in (channels, quantized.scales):
            assert torch.equal(values.to(dtype).float(), values)


def trying_everything(weight, group=32):
    """Least squared error over every channel scale within a factor of three, and all factors of a block."""
    low, high = RANGES[4]
    blocks = weight.double().unflatten(1, (-1, group))
    mantissas = torch.arange(8.0, 16.0, dtype=torch.float64)
    legal = torch.cat([mantissas * 2.0**e for e in range(-24, 9)])
    total = 0.0
    for row in blocks:
        middle = float(row.abs().max()) / 7 / 16
        best = torch.inf
        for channel in legal[(legal > middle / 3) & (legal < middle * 3)].tolist():
            scales = (channel * torch.arange(1.0, 17.0, dtype=torch.float64)).view(-1, 1, 1)
            errors = ((row / scales).round().clamp(low, high) * scales - row).square().sum(-1)  # [16, groups]
            least = errors.amin(0)
            best = min(best, float(least.sum() + (errors[15] - least).min()))
        total += best
    return total


@pytest.mark.parametrize(("sample", "slack"), [(gaussian, 1.006), (heavy_tailed, 1.006), (uneven, 1.03)])
def test_comes_close_to_trying_every_product(sample, slack):
    weight = sample(24, 512) * 0.02
    error = (lpbq(weight).dequantize().double() - weight.double()).square().sum()
    assert float(error) <= slack * trying_everything(weight)


def test_costs_a_few_percent_of_squared_error():
    weight = gaussian(64, 512) * 0.02
    free, products = (
        (q.dequantize() - weight).square().sum() for q in (quantize_weight(weight, 4, 32), lpbq(weight))
    )
    assert 1.02 * free < products < 1.06 * free


def test_importance_moves_the_error_away_from_what_matters():
    weight, importance = gaussian(64, 128), torch.ones(128)
    importance[::8] = 100.0

    def weighted_error(quantized):
        return ((quantized.dequantize() - weight).square() * importance).sum()

    assert weighted_error(lpbq(weight, importance)) < 0.9 * weighted_error(lpbq(weight))


def test_recovers_weights_that_lie_on_the_grid():
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-8, 8, (32, 128), dtype=torch.int8, generator=generator)
    values[:, ::32], values[:, 1::32] = -8, 7
    factors = torch.randint(4, 17, (32, 4), generator=generator)
    factors[:, 2] = 16
    original = QuantizedTensor(values, factors * torch.full((32, 1), 13 * 2.0**-12), 4, 32)
    quantized = lpbq(original.dequantize())
    assert torch.equal(quantized.values, original.values)
    assert torch.equal(quantized.scales, original.scales)
    assert torch.equal(factor_scales(quantized.scales)[1].int(), factors.int())


def test_a_tensor_with_free_scales_is_refused_by_its_channel():
    free, products = quantize_weight(gaussian(8, 256), 4, 32).scales, lpbq(gaussian(8, 256)).scales
    with pytest.raises(InputError, match=r"output channel 0: a scale is not 1…16 sixteenths"):
        factor_scales(free)
    one_off = products.clone()
    one_off[5, 2] = round_scale(one_off[5].max() * 33 / 64)
    with pytest.raises(InputError, match=r"output channel 5: .* --scales lpbq"):
        factor_scales(one_off)
    too_small = products.clone()
    too_small[6, 1] = too_small[6].max() / 32
    with pytest.raises(InputError, match="output channel 6"):
        factor_scales(too_small)


def test_one_scale_of_a_channel_stays_the_largest():
    scales = torch.tensor([[1.0, 0.25, 0.5], [0.5, 1.0, 1.0]])
    nearest = nearest_scale(ScaleGrid.LPBQ, scales)
    moved = nearest(torch.tensor([[0.1, 5.0, 0.29], [0.01, 0.3, 0.3]]), 0)
    assert moved.tolist() == [[1.0, 1.0, 0.3125], [0.0625, 1.0, 0.3125]]
    assert torch.equal(nearest(torch.tensor([[5.0], [0.3]]), 1), moved[:, 1:2])
    free = nearest_scale(ScaleGrid.FREE, scales)
    assert torch.equal(free(torch.tensor([[0.3]]), 0), round_scale(torch.tensor([[0.3]])))
