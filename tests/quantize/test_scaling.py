"""Scales folded into neighbours: free of change in exact arithmetic, and a gain once weights are rounded."""

from dataclasses import replace

import pytest
import torch
from calibrated import drawn, model_of

from phantom_edge.errors import InputError
from phantom_edge.model.layer_by_layer import HEAD, decoder_blocks, logits, vision_blocks
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.gptq import objective
from phantom_edge.quantize.result import overlaid
from phantom_edge.quantize.scaling import Seam, best_scale, candidates, fold_scale, seams


@pytest.mark.parametrize("family", ["qwen2", "phi3"])
def test_any_scale_on_every_seam_leaves_the_model_as_it_was(tiny_dirs, family):
    model, samples = model_of(tiny_dirs[family]), drawn(tiny_dirs[family]).samples[:2]
    blocks = [*vision_blocks(model.config), *decoder_blocks(model.config)]
    weights, generator = {n: model.weights[n] for n in model.weights}, torch.Generator().manual_seed(0)
    folded = 0
    for name in [*(block.name for block in blocks), HEAD]:
        for seam in seams(model.spec, name):
            width = weights[f"{seam.sink}.weight"].shape[1]
            weights |= fold_scale(weights, seam, torch.empty(width).uniform_(0.2, 5, generator=generator))
            folded += 1
    assert folded == 3 * len(blocks) - 2 + 1  # the projector has one seam, and the head one more
    before = logits(model, samples)
    scaled = replace(model, weights=LazyWeights(overlaid(model.weights, weights)))
    after = logits(scaled, samples)
    changed = [n for n in weights if not torch.equal(weights[n], model.weights[n])]
    assert len(changed) > 3 * len(blocks)
    for a, b in zip(before, after, strict=True):
        assert torch.allclose(a, b, atol=1e-3 * float(a.std()))


def test_the_search_finds_the_scale_that_a_loud_channel_needs():
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(32, 64, generator=generator), torch.randn(500, 64, generator=generator)
    x[:, ::16] *= 30
    second = x.T @ x / len(x)
    tried = candidates(x.abs().mean(0), x.abs().amax(0), weight)

    def cost(scale):
        moved = weight * scale
        return objective(moved, quantize_weight(moved, 4, 32), second / scale / scale[:, None])

    name, scale = best_scale(tried, cost)
    assert name.startswith(("awq", "smooth"))
    assert cost(scale) < 0.5 * cost(torch.ones(64))
    assert scale[::16].min() > scale[1::16].max()
    assert best_scale(tried, lambda s: 1.0)[0] == "none"


def test_a_scale_of_zero_is_refused():
    weights = {"m.weight": torch.ones(2, 3), "n.weight": torch.ones(3)}
    with pytest.raises(InputError, match="m: a scale to fold must be positive"):
        fold_scale(weights, Seam("m", ("n.weight",)), torch.tensor([1.0, 0.0, 1.0]))
