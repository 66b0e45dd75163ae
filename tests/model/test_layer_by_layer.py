"""Packed sequences, layer by layer, against the original with one question at a time."""

from dataclasses import replace

import pytest
import torch
from calibrated import drawn, model_of, source_of

from phantom_edge.errors import CheckError
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.quantize.kv import KVScales
from phantom_edge.quantize.result import overlaid


@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
def test_every_question_gets_the_logits_that_it_gets_alone(tiny_dirs, family):
    source, model = source_of(tiny_dirs[family]), model_of(tiny_dirs[family])
    samples = drawn(tiny_dirs[family]).samples[:2]
    packed_logits = logits(model, samples)
    original = PhantomModel(source.config, source.checkpoint)
    for sample, rows in zip(samples, packed_logits, strict=True):
        image = original.encode_image(sample.pixels).flatten(0, 1)
        packed, start = sample.packed, 0
        prefix = int(
            (packed.mask[0].sum(0) == packed.mask.shape[1] - torch.arange(packed.mask.shape[1])).sum()
        )
        for number in range(packed.segments):
            places = packed.sources[packed.answers == number]
            visible = packed.mask[0, places[-1]].nonzero().squeeze(-1)  # the picture and this question only
            ids = packed.ids[:, visible]
            assert torch.equal(packed.positions[0, visible], torch.arange(len(visible)))
            embeds = original.embed(ids)
            embeds[ids == source.config.image_token_id] = image
            alone = original.decode(embeds, original.make_cache(), all_positions=True)[0]
            expected = alone[[int((visible == place).nonzero()) for place in places]]
            assert torch.allclose(rows[start : start + len(places)], expected, atol=2e-4)
            start += len(places)
        assert prefix > 0
        assert start == len(rows)


def test_rounding_of_activations_and_cache_shows_up(tiny_dirs):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:1]
    int8 = model.quantized(load_recipe("int8"))
    plain = logits(int8, samples)[0]
    rounded = logits(int8.on_grid(lambda weight: ActivationGrid.TOKEN_INT8), samples)[0]
    assert 1e-4 < (rounded - plain).abs().max() < 1
    shapes = [
        (model.config.decoder.kv_heads, model.spec.width(n)) for n in range(model.config.decoder.layers)
    ]
    coarse = KVScales(*(tuple(torch.full(shape, 0.5) for shape in shapes) for _ in range(2)))
    assert (logits(int8.with_kv(coarse), samples)[0] - plain).abs().max() > 1e-2


def test_an_observer_sees_every_module_and_every_attention(tiny_dirs):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:1]
    shapes = {}
    logits(model, samples, observe=lambda name, *tensors: shapes.update({name: [t.shape for t in tensors]}))
    d, length = model.config.decoder, samples[0].tokens
    for n in range(d.layers):
        layer = f"text_decoder.layers.{n}"
        assert shapes[f"{layer}.attention"] == [(1, length, d.kv_heads, model.spec.width(n))] * 2
        assert shapes[f"{layer}.down"] == [(1, length, d.intermediate_size), (1, length, d.hidden_size)]


def test_a_broken_weight_is_named_by_its_block(tiny_dirs):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:1]
    name = "text_decoder.layers.1.norm2.weight"
    broken = overlaid(model.weights, {name: torch.full_like(model.weights[name], torch.inf)})
    with pytest.raises(
        CheckError, match=r"text_decoder\.layers\.1: an activation is not finite for scene train/0"
    ):
        logits(replace(model, weights=LazyWeights(broken)), samples)
