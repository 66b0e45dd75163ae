"""Block by block: integers on the common grid, better than rounding to nearest where it counts, at the
logits.
"""

from dataclasses import replace

import pytest
import torch
from calibrated import drawn, model_of

from phantom_edge.errors import CheckError, InputError
from phantom_edge.model.layer_by_layer import EMBEDDING, logits
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.recipe import INT8, Precision, load_recipe
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.input_statistics import ROWS, InputStatistics
from phantom_edge.quantize.layerwise import integers_by_precision, quantize_layerwise
from phantom_edge.quantize.methods import METHODS, RoundingMethod
from phantom_edge.quantize.quality import quality
from phantom_edge.quantize.result import overlaid

INT4 = Precision(4, 32)


@pytest.fixture(scope="module")
def tiny(tiny_dirs):
    """The model, samples to fit on, others to measure on, and the original's logits there."""
    model, held_out = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"], 8, "validation").samples
    fit = drawn(tiny_dirs["qwen2"], 8).samples
    return model, fit, held_out, logits(model, held_out)


MEASURED = {}


def measured(tiny, method):
    if method not in MEASURED:
        model, fit, held_out, truth = tiny
        quantization = quantize_layerwise(model, load_recipe("int4"), METHODS[method], fit)
        other = quantization.apply(model)
        MEASURED[method] = quantization, quality(truth, logits(other, held_out))
    return MEASURED[method]


def test_rounding_to_nearest_is_what_a_recipe_alone_gives(tiny):
    model, _, held_out, truth = tiny
    quantization, cost = measured(tiny, "rtn")
    plain = model.quantized(load_recipe("int4"))
    for name, weight in quantization.integers.items():
        assert torch.equal(weight.values, plain.weights[f"{name}.weight"].values)
    assert not quantization.floats
    assert cost.kl == pytest.approx(quality(truth, logits(plain, held_out)).kl, rel=1e-5)


def test_gptq_keeps_the_next_tokens_better_on_pictures_it_never_saw(tiny):
    nearest, better = measured(tiny, "rtn"), measured(tiny, "gptq")
    assert better[1].kl < 0.6 * nearest[1].kl
    sizes = [{row.name: row.bytes for row in quantization.rows} for quantization, _ in (nearest, better)]
    assert sizes[0] == sizes[1]
    by_name = {row.name: row for row in better[0].rows}
    assert set(by_name) == set(tiny[0].module_shapes())
    assert all(row.after <= 1.001 * row.before for row in by_name.values())
    assert by_name["text_decoder.layers.1.down"].precision == "int4:32"
    assert by_name["vision_encoder.layers.0.fc2"].activation > 0


def test_scales_are_folded_into_norms_and_the_rest_is_integers(tiny):
    quantization, cost = measured(tiny, "gptq-awq")
    assert cost.kl < measured(tiny, "rtn")[1].kl
    assert quantization.floats
    scaled = ("norm", "norm1", "norm2", "qkv")
    assert all(name.rpartition(".")[0].endswith(scaled) for name in quantization.floats)
    assert any(row.scale != "none" for row in quantization.rows)


def test_each_block_sees_what_the_quantised_blocks_before_it_give(tiny):
    model, fit, _, _ = tiny
    whole, _ = measured(tiny, "gptq")
    coarse = load_recipe("int4", ["vision_encoder.*=int4", "text_decoder.layers.1.*=int4"])
    other = quantize_layerwise(model, coarse, METHODS["gptq"], fit)
    name = "text_decoder.layers.1.down"
    assert not torch.equal(whole.integers[name].values, other.integers[name].values)


def test_integers_by_precision_are_of_a_model_that_is_not_quantised(tiny):
    model, fit, _, _ = tiny
    last = "text_decoder.layers.1.qkv"
    precisions = {last: [INT4, INT8], EMBEDDING: [INT8]}
    integers = integers_by_precision(model, METHODS["rtn"], fit[:8], precisions)
    assert set(integers) == {last, EMBEDDING}
    assert torch.equal(integers[last][INT4].values, quantize_weight(model.matrix(last), 4, 32).values)
    assert integers[EMBEDDING][INT8].bits == 8


def test_a_float_module_stays_and_a_broken_weight_is_named(tiny):
    model, fit, _, _ = tiny
    recipe = load_recipe("int4", ["text_decoder.layers.0.down=fp16"])
    quantization = quantize_layerwise(model, recipe, METHODS["rtn"], fit[:8])
    assert "text_decoder.layers.0.down" not in quantization.integers
    assert quantization.apply(model).weights["text_decoder.layers.0.down.weight"].dtype == torch.float16
    name = "vision_encoder.layers.1.fc1.weight"
    broken = overlaid(model.weights, {name: torch.full_like(model.weights[name], torch.nan)})
    with pytest.raises(CheckError, match=r"vision_encoder\.layers\.1"):
        quantize_layerwise(replace(model, weights=LazyWeights(broken)), recipe, METHODS["gptq"], fit[:8])


def test_statistics_are_those_of_all_rows_and_do_not_grow():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 150, 8, generator=generator) for _ in range(9)]
    statistics, rows = InputStatistics("m"), torch.cat(parts).flatten(0, 1)
    for part in parts:
        statistics.add(part)
    assert torch.allclose(statistics.second, rows.T @ rows / len(rows), atol=1e-5)
    assert torch.allclose(statistics.mean_abs, rows.abs().mean(0))
    assert torch.equal(statistics.absmax, rows.abs().amax(0))
    for _ in range(100):
        statistics.add(parts[0])
    assert sum(map(len, statistics.rows)) <= 2 * ROWS
    assert len(statistics.some) <= ROWS
    with pytest.raises(CheckError, match="m: an input is not finite"):
        statistics.add(torch.full((1, 8), torch.inf))


def test_an_unknown_method_is_refused_with_what_exists():
    with pytest.raises(InputError, match="unknown method 'gtpq'; there are rtn, hqq, awq, gptq, gptq-awq"):
        RoundingMethod.parse("gtpq")
