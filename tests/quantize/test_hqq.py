"""HQQ against torchao's, and its symmetric form against the error-searched rounding it starts from."""

import pytest
import torch

from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.hqq import P_NORM, hqq, shrink, solve


def heavy_tailed(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)
    return 0.02 * a / b.abs().clamp_min(0.1)


def test_the_shrinkage_minimises_what_it_is_derived_from():
    """shrink(x) is close to argmin_e |e|^p + beta / 2 (e - x)^2 scaled as published: compare with its
    formula.
    """
    x = torch.tensor([-2.0, -0.1, 0.0, 0.1, 0.5, 3.0])
    expected = torch.tensor(
        [v.sign() * max(abs(v) - abs(v) ** (P_NORM - 1) / 10, 0) if v else 0.0 for v in x]
    )
    assert torch.allclose(shrink(x, 10.0), expected)
    assert shrink(x, 10.0)[1] == 0  # small errors vanish, large ones stay nearly whole
    assert shrink(x, 10.0)[-1] > 2.9


@pytest.mark.parametrize("group", [32, 64])
def test_is_as_good_as_torchaos_on_the_same_grid(group):
    from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_affine_hqq as reference

    weight = heavy_tailed(24, 128)
    codes, scale, zero, _ = reference(
        weight, 4, group, compute_dtype=torch.float32, device="cpu", raw_output=True
    )
    blocks = codes.float().unflatten(1, (-1, group))
    theirs = ((blocks - zero.unsqueeze(-1)) * scale.unsqueeze(-1)).flatten(1)
    ours = solve(weight, group)
    assert torch.allclose(ours.scales, scale, rtol=1e-5)
    assert (ours.zeros - zero).abs().max() < 0.1
    assert (ours.codes == codes).float().mean() > 0.97
    mine, other = ((w - weight).abs().mean() for w in (ours.dequantize(), theirs))
    assert mine <= 1.001 * other


def test_codes_are_packed_two_to_a_byte():
    quantized = solve(heavy_tailed(4, 64), 32)
    assert quantized.packed.shape == (4, 32)
    assert quantized.packed.dtype == torch.uint8
    assert int(quantized.codes.max()) == 15
    assert int(quantized.codes.min()) == 0


def test_the_zero_point_beats_that_of_the_range():
    weight = heavy_tailed(24, 128)
    start, end = ((solve(weight, 64, rounds=n).dequantize() - weight).abs().mean() for n in (1, 20))
    assert end < start


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, None)])
def test_on_the_common_grid_it_gives_up_outliers_for_the_rest(bits, group):
    weight = heavy_tailed(24, 128)
    quantized, start = hqq(weight, bits, group), quantize_weight(weight, bits, group)

    def p_norm(q):
        return (q.dequantize() - weight).abs().pow(P_NORM).sum()

    assert p_norm(quantized) <= p_norm(start)
    assert (quantized.bits, quantized.group, quantized.zero_point) == (bits, group, 0)
    if bits == 4:
        assert p_norm(quantized) < 0.99 * p_norm(start)
