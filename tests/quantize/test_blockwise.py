"""The packed, block-wise run against the original asked one question after the other."""

import pytest
import torch
from calibrated import drawn, model_of, source_of

from phantom_edge.errors import CheckError
from phantom_edge.model.original import PhantomModel
from phantom_edge.quantize import ActivationGrid, blockwise, load_recipe
from phantom_edge.quantize.layerwise import overlaid


@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
def test_every_question_gets_the_logits_that_it_gets_alone(tiny_dirs, family):
    source, model = source_of(tiny_dirs[family]), model_of(tiny_dirs[family])
    samples = drawn(tiny_dirs[family]).samples[:2]
    found = blockwise.logits(model.spec, model.weights, samples)
    original = PhantomModel(source.config, source.checkpoint)
    for sample, logits in zip(samples, found, strict=True):
        image = original.encode_image(sample.pixels).flatten(0, 1)
        packed, start = sample.packed, 0
        prefix = int(
            (packed.mask[0].sum(0) == packed.mask.shape[1] - torch.arange(packed.mask.shape[1])).sum()
        )
        for number in range(packed.segments):
            places = packed.sources[packed.answers == number]
            rows = packed.mask[0, places[-1]].nonzero().squeeze(-1)  # the picture and this question only
            ids = packed.ids[:, rows]
            assert torch.equal(packed.positions[0, rows], torch.arange(len(rows)))
            embeds = original.embed(ids)
            embeds[ids == source.config.image_token_id] = image
            alone = original.decode(embeds, original.make_cache(), all_positions=True)[0]
            wanted = alone[[int((rows == place).nonzero()) for place in places]]
            assert torch.allclose(logits[start : start + len(places)], wanted, atol=2e-4)
            start += len(places)
        assert prefix > 0
        assert start == len(logits)


def test_rounding_of_activations_and_cache_shows_up(tiny_dirs):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:1]
    int8 = model.quantized(load_recipe("int8"))
    plain = blockwise.logits(int8.spec, int8.weights, samples)[0]
    rounded = blockwise.logits(
        int8.spec, int8.weights, samples, activation=lambda w: ActivationGrid.TOKEN_INT8
    )[0]
    assert 1e-4 < (rounded - plain).abs().max() < 1
    seen = []

    def halve(layer, k, v):
        seen.append((layer, k.shape[-1]))
        return k, v * 0.5

    halved = blockwise.logits(int8.spec, int8.weights, samples, round_cache=halve)[0]
    assert seen == [(n, model.spec.width(n)) for n in range(model.config.decoder.layers)]
    assert (halved - plain).abs().max() > 1e-2


def test_a_broken_weight_is_named_by_its_block(tiny_dirs):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:1]
    name = "text_decoder.layers.1.norm2.weight"
    broken = overlaid(model.weights, {name: torch.full_like(model.weights[name], torch.inf)})
    from phantom_edge.model.weights import LazyWeights

    with pytest.raises(
        CheckError, match=r"text_decoder\.layers\.1: an activation is not finite for scene train/0"
    ):
        blockwise.logits(model.spec, LazyWeights(broken), samples)
