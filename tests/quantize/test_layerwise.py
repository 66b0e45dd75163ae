"""Block by block: integers on the common grid, better than rounding to nearest where it counts, at the
logits.
"""

import pytest
import torch
from calibrated import drawn, model_of

from phantom_edge.errors import CheckError, InputError
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.recipe import INT8, Precision
from phantom_edge.quantize import blockwise, load_recipe, quantize_weight
from phantom_edge.quantize.input_statistics import ROWS, Moments
from phantom_edge.quantize.layerwise import METHODS, Method, forms, overlaid, quantize_layerwise
from phantom_edge.quantize.quality import quality

INT4 = Precision(4, 32)


@pytest.fixture(scope="module")
def tiny(tiny_dirs):
    """The model, samples to fit on, others to measure on, and the original's logits there."""
    model, held = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"], 8, "validation").samples
    fit = drawn(tiny_dirs["qwen2"], 8).samples
    return model, fit, held, blockwise.logits(model.spec, model.weights, held)


MEASURED = {}


def measured(tiny, method):
    if method not in MEASURED:
        model, fit, held, truth = tiny
        found = quantize_layerwise(model, load_recipe("int4"), METHODS[method], fit)
        other = found.apply(model)
        MEASURED[method] = found, quality(truth, blockwise.logits(other.spec, other.weights, held))
    return MEASURED[method]


def test_rounding_to_nearest_is_what_a_recipe_alone_gives(tiny):
    model, _, held, truth = tiny
    found, cost = measured(tiny, "rtn")
    plain = model.quantized(load_recipe("int4"))
    for name, weight in found.integers.items():
        assert torch.equal(weight.values, plain.weights[f"{name}.weight"].values)
    assert not found.floats
    assert cost.kl == pytest.approx(
        quality(truth, blockwise.logits(plain.spec, plain.weights, held)).kl, rel=1e-5
    )


def test_gptq_keeps_the_next_tokens_better_on_pictures_it_never_saw(tiny):
    nearest, better = measured(tiny, "rtn"), measured(tiny, "gptq")
    assert better[1].kl < 0.6 * nearest[1].kl
    sizes = [{row.name: row.bytes for row in found.rows} for found, _ in (nearest, better)]
    assert sizes[0] == sizes[1]
    by_name = {row.name: row for row in better[0].rows}
    assert set(by_name) == set(tiny[0].module_shapes())
    assert all(row.after <= 1.001 * row.before for row in by_name.values())
    assert by_name["text_decoder.layers.1.down"].precision == "int4:32"
    assert by_name["vision_encoder.layers.0.fc2"].activation > 0


def test_scales_are_folded_into_norms_and_the_rest_is_integers(tiny):
    found, cost = measured(tiny, "gptq-awq")
    assert cost.kl < measured(tiny, "rtn")[1].kl
    assert found.floats
    assert all(name.rpartition(".")[0].endswith(("norm", "norm1", "norm2", "qkv")) for name in found.floats)
    assert any(row.scale != "none" for row in found.rows)


def test_each_block_sees_what_the_quantised_blocks_before_it_give(tiny):
    model, fit, _, _ = tiny
    whole, _ = measured(tiny, "gptq")
    coarse = load_recipe("int4", ["vision_encoder.*=int4", "text_decoder.layers.1.*=int4"])
    other = quantize_layerwise(model, coarse, METHODS["gptq"], fit)
    name = "text_decoder.layers.1.down"
    assert not torch.equal(whole.integers[name].values, other.integers[name].values)


def test_forms_are_each_modules_integers_in_a_model_that_is_not_quantised(tiny):
    model, fit, _, _ = tiny
    last = "text_decoder.layers.1.qkv"
    found = forms(model, METHODS["rtn"], fit[:8], {last: [INT4, INT8], blockwise.EMBEDDING: [INT8]})
    assert set(found) == {last, blockwise.EMBEDDING}
    assert torch.equal(
        found[last][INT4].values, quantize_weight(model.weights[f"{last}.weight"], 4, 32).values
    )
    assert found[blockwise.EMBEDDING][INT8].bits == 8


def test_a_float_module_stays_and_a_broken_weight_is_named(tiny):
    model, fit, _, _ = tiny
    recipe = load_recipe("int4", ["text_decoder.layers.0.down=fp16"])
    found = quantize_layerwise(model, recipe, METHODS["rtn"], fit[:8])
    assert "text_decoder.layers.0.down" not in found.integers
    assert found.apply(model).weights["text_decoder.layers.0.down.weight"].dtype == torch.float16
    name = "vision_encoder.layers.1.fc1.weight"
    broken = overlaid(model.weights, {name: torch.full_like(model.weights[name], torch.nan)})
    from dataclasses import replace

    with pytest.raises(CheckError, match=r"vision_encoder\.layers\.1"):
        quantize_layerwise(replace(model, weights=LazyWeights(broken)), recipe, METHODS["gptq"], fit[:8])


def test_moments_are_those_of_all_rows_and_do_not_grow():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 150, 8, generator=generator) for _ in range(9)]
    moments, rows = Moments("m"), torch.cat(parts).flatten(0, 1)
    for part in parts:
        moments.add(part)
    assert torch.allclose(moments.second, rows.T @ rows / len(rows), atol=1e-5)
    assert torch.allclose(moments.mean_abs, rows.abs().mean(0))
    assert torch.equal(moments.absmax, rows.abs().amax(0))
    for _ in range(100):
        moments.add(parts[0])
    assert sum(map(len, moments.rows)) <= 2 * ROWS
    assert len(moments.some) <= ROWS
    with pytest.raises(CheckError, match="m: an input is not finite"):
        moments.add(torch.full((1, 8), torch.inf))


def test_an_unknown_method_is_refused_with_what_exists():
    with pytest.raises(InputError, match="unknown method 'gtpq'; there are rtn, hqq, awq, gptq, gptq-awq"):
        Method.parse("gtpq")
