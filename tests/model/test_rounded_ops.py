"""The torch graphs of an NPU: without rounding they are the plain ones, and every value passes a site."""

from __future__ import annotations

import pytest
import torch
from calibrated import drawn, model_of
from folded_models import random_ids

from phantom_edge.model.layer_by_layer import image_tokens, logits
from phantom_edge.model.rounded_ops import Rounding, Sites, goes_on_a_grid
from phantom_edge.numbers.ranges import Range
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.quantize.kv import KVScales, kv_scales
from phantom_edge.quantize.ranges import activation_ranges, extents

BOTH = frozenset({"vision_encoder", "text_decoder"})
FAMILIES = ["qwen2", "internlm2", "phi3"]


class Unchanged(Rounding):
    """Rounds nothing, and keeps the names of the sites."""

    def at(self, site, value):
        self.ranges[site] = Range.of(0, 1)
        return value


def int4(folder):
    return model_of(folder).quantized(load_recipe("int4"))


def steps(model, embeds, pieces):
    """Logits of a prefill in pieces."""
    cache, start, rows = model.make_cache(64), 0, []
    for size in pieces:
        rows.append(model.decode(embeds[:, start : start + size], cache)[0, 0])
        start += size
    return torch.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_rounding_they_are_the_plain_graphs(tiny_dirs, family):
    model = int4(tiny_dirs[family])
    same = model.with_rounding(Unchanged(BOTH, {}))
    samples = drawn(tiny_dirs[family]).samples[:2]
    pixels = samples[0].pixels
    torch.testing.assert_close(same.encode_image(pixels), model.encode_image(pixels), atol=2e-5, rtol=2e-5)
    embeds = model.embed(torch.from_numpy(random_ids(model, 12)))
    expected = steps(model, embeds, [5, 4, 1, 1, 1])
    torch.testing.assert_close(steps(same, embeds, [5, 4, 1, 1, 1]), expected, atol=2e-5, rtol=2e-5)
    for one, other in zip(logits(same, samples), logits(model, samples), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-4)


def test_sites_have_the_same_names_in_every_way_through_the_graph(tiny_dirs):
    model = int4(tiny_dirs["qwen2"])
    samples = drawn(tiny_dirs["qwen2"]).samples[:2]
    whole, piecewise = Unchanged(BOTH, {}), Unchanged(BOTH, {})
    model.with_rounding(whole).encode_image(samples[0].pixels)
    steps(model.with_rounding(whole), model.embed(samples[0].ids)[:, :8], [7, 1])
    layerwise = model.with_rounding(piecewise)
    logits(layerwise, samples, image_tokens(layerwise, samples))
    assert whole.ranges.keys() == piecewise.ranges.keys()
    assert sum(map(goes_on_a_grid, whole.ranges)) > 50


def test_an_npu_may_run_one_graph_alone(tiny_dirs):
    model = int4(tiny_dirs["qwen2"])
    pixels = drawn(tiny_dirs["qwen2"]).samples[0].pixels
    embeds = model.embed(torch.from_numpy(random_ids(model, 6)))
    vision = model.with_rounding(Rounding(frozenset({"vision_encoder"})))
    assert not torch.equal(vision.encode_image(pixels), model.encode_image(pixels))
    assert torch.equal(steps(vision, embeds, [5, 1]), steps(model, embeds, [5, 1]))
    assert vision.rounds_activations
    assert torch.equal(vision.unrounded.encode_image(pixels), model.encode_image(pixels))


def test_a_cached_key_is_in_fp16(tiny_dirs):
    model = int4(tiny_dirs["qwen2"]).with_rounding(Rounding(BOTH))
    cache = model.make_cache(16)
    model.decode(model.embed(torch.from_numpy(random_ids(model, 4))), cache)
    keys = cache.keys[0][:, :4]
    assert torch.equal(keys, keys.half().float())


def test_an_int8_cache_gives_back_its_grid_in_both_ways_through_the_graph(tiny_dirs):
    plain, samples = int4(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples
    scales = kv_scales(plain, samples)
    model = plain.with_rounding(Rounding(BOTH)).with_kv(scales)
    cache = model.make_cache(16)
    model.decode(model.embed(torch.from_numpy(random_ids(model, 4))), cache)
    for values, steps_of in ((cache.keys, scales.keys), (cache.values, scales.values)):
        integers = values[1][:, :4] / steps_of[1]
        torch.testing.assert_close(integers, integers.round(), atol=1e-4, rtol=0)
        assert 20 < integers.abs().max() <= 127.001
    # As its plain model, rounding aside.
    exact = plain.with_rounding(Unchanged(BOTH, {})).with_kv(scales)
    for one, other in zip(
        logits(exact, samples[:2]), logits(plain.with_kv(scales), samples[:2]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=2e-2 * float(other.std()), rtol=0)
    coarse = KVScales(*(tuple(30 * t for t in side) for side in (scales.keys, scales.values)))
    (far,) = logits(exact.with_kv(coarse), samples[:1])
    assert (far - logits(plain, samples[:1])[0]).abs().max() > 0.1 * far.std()


def test_ranges_hold_their_samples_and_leave_room(tiny_dirs):
    model, samples = int4(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples
    seen = extents(model, samples, BOTH)
    ranges = activation_ranges(model, samples, BOTH)
    assert seen.keys() == ranges.keys()
    for site, (low, high) in seen.items():
        assert ranges[site].low <= 1.9 * min(low, 0)
        assert ranges[site].high >= 1.9 * max(high, 0)
    cost = error(model, Rounding(BOTH, ranges), samples)
    tight = {s: Range.of(low / 2, high / 2) for s, (low, high) in seen.items()}
    assert cost < 0.01
    assert error(model, Rounding(BOTH, tight), samples) > 10 * cost


def error(model, rounding, samples):
    """Of the image tokens, over their root mean square."""
    pixels = samples[0].pixels
    expected = model.encode_image(pixels)
    difference = model.with_rounding(rounding).encode_image(pixels) - expected
    return float(difference.square().mean().sqrt() / expected.square().mean().sqrt())


def test_sites_are_counted_anew_in_every_block():
    sites = Sites()
    sites.enter("text_decoder.layers.0.norm1")
    assert [sites("add"), sites("add"), sites("mul")] == [
        f"text_decoder.layers.0.{name}" for name in ("add.0", "add.1", "mul.0")
    ]
    sites.enter("text_decoder.layers.0.norm2")
    assert sites("add") == "text_decoder.layers.0.add.2"
    sites.enter("text_decoder.layers.1.norm1")
    assert sites("add") == "text_decoder.layers.1.add.0"
    sites.enter("vision_encoder.projector.norm")
    assert sites("norm") == "vision_encoder.projector.norm.0"
