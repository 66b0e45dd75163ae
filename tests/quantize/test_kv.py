"""Scales for an int8 cache."""

import pytest
import torch
from calibrated import drawn, model_of

from phantom_edge.errors import InputError
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.quantize.kv import KVScales, kv_quality, kv_scales


@pytest.fixture(scope="module")
def calibrated_cache(tiny_dirs):
    model, fit = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"])
    return model, kv_scales(model, fit.samples), drawn(tiny_dirs["qwen2"], 8, "validation").samples


def test_an_int8_cache_costs_little_on_pictures_never_seen(calibrated_cache):
    model, scales, held_out = calibrated_cache
    truth = logits(model, held_out)
    cost = kv_quality(model, held_out, scales, truth)
    assert 0 < cost.kl < 2e-3
    shared = KVScales(*(tuple(t.amax().expand_as(t) for t in side) for side in (scales.keys, scales.values)))
    assert kv_quality(model, held_out, shared, truth).kl > 1.2 * cost.kl


def test_the_phantom_half_has_scales_of_its_own(calibrated_cache):
    model, scales, _ = calibrated_cache
    d = model.config.decoder
    for layer in range(d.layers):
        for side in (scales.keys, scales.values):
            assert side[layer].shape == (d.kv_heads, model.spec.width(layer))
            plain, phantom = side[layer].split([d.head_dim, model.spec.phantom_dims[layer]], dim=-1)
            assert not torch.allclose(plain.mean(), phantom.mean(), rtol=0.05)


def test_what_occurred_is_never_clipped_and_is_off_by_half_a_step(calibrated_cache):
    _, scales, _ = calibrated_cache
    k = torch.randn(1, 50, *scales.keys[0].shape, generator=torch.Generator().manual_seed(0))
    k = k / k.abs().amax((0, 1)) * scales.keys[0] * 127
    rounded, _ = scales.round(0, k, k)
    assert ((rounded - k).abs() <= 0.5 * scales.keys[0] * 1.001).all()
    codes = rounded / scales.keys[0]
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    assert (scales.round(0, 100 * k, k)[0].abs() <= 127.001 * scales.keys[0]).all()


def test_they_survive_a_file_and_bad_ones_are_refused(calibrated_cache):
    _, scales, _ = calibrated_cache
    state = scales.to_state()
    assert all(torch.equal(a, b) for a, b in zip(KVScales.from_state(state).keys, scales.keys, strict=True))
    with pytest.raises(InputError, match=r"kv\.0\.value"):
        KVScales.from_state({n: t for n, t in state.items() if n != "kv.0.value"})
    with pytest.raises(InputError, match="positive"):
        KVScales.from_state(state | {"kv.0.key": torch.zeros(2, 2)})
