"""HQQ against torchao's, and its symmetric form against the error-searched rounding it starts from."""

import pytest
import torch

from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.hqq import BETA, KAPPA, P_NORM, ROUNDS, hqq, shrink


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


def asymmetric(weight, group, rounds=ROUNDS):
    """The published form, with a real zero point: codes, scales and zero points."""
    blocks = weight.unflatten(1, (-1, group))
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    steps = (15.0 / (high - low).clamp_min(1e-8)).clamp_max(2e4)  # codes per unit
    kept = zero = (-low * steps).round()
    best, beta = torch.inf, BETA
    for _ in range(rounds):
        codes = (blocks * steps + zero).round().clamp(0, 15)
        restored = (codes - zero) / steps
        error = float((blocks - restored).abs().mean())
        if error >= best:
            break
        best, kept = error, zero
        zero = (codes - (blocks - shrink(blocks - restored, beta)) * steps).mean(-1, keepdim=True)
        beta *= KAPPA
    return (blocks * steps + kept).round().clamp(0, 15), 1 / steps, kept


@pytest.mark.parametrize("group", [32, 64])
def test_the_alternation_is_torchaos_on_its_grid(group):
    from torchao.quantization.quant_primitives import _choose_qparams_and_quantize_affine_hqq as reference

    weight = heavy_tailed(24, 128)
    blocks = weight.unflatten(1, (-1, group))
    codes, scale, zero, _ = reference(
        weight, 4, group, compute_dtype=torch.float32, device="cpu", raw_output=True
    )
    codes, scale, zero = codes.float().unflatten(1, (-1, group)), scale.unsqueeze(-1), zero.unsqueeze(-1)
    own_codes, own_scale, own_zero = asymmetric(weight, group)
    assert torch.allclose(own_scale, scale, rtol=1e-5)
    assert (own_zero - zero).abs().max() < 0.1
    assert (own_codes == codes).float().mean() > 0.97
    own, other = (
        ((q - z) * s - blocks).abs().mean()
        for q, s, z in ((own_codes, own_scale, own_zero), (codes, scale, zero))
    )
    assert own <= 1.001 * other


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
