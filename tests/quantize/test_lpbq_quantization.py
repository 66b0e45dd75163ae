"""A grid of scales from the option to the file: LPBQ's products in every method, and in nothing but int4."""

import importlib
import json
from dataclasses import replace

import pytest
import torch
from calibrated import drawn, model_of, source_of
from typer.testing import CliRunner

from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.numbers.lpbq import factor_scales
from phantom_edge.numbers.recipe import PRESETS, ScaleGrid, load_recipe
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize import store
from phantom_edge.quantize.job import quantize
from phantom_edge.quantize.layerwise import quantize_layerwise
from phantom_edge.quantize.methods import METHODS
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.quantize.quality import quality
from phantom_edge.quantize.recovery import RecoverOptions, recover
from phantom_edge.runtime.verify import verify

LPBQ = PRESETS["int4"].on_grid(ScaleGrid.LPBQ)


def is_lpbq(weight):
    try:
        channels, factors = factor_scales(weight.scales)
    except InputError:
        return False
    return torch.equal(channels.unsqueeze(1) * factors, weight.scales)


def int4_and_others(quantization):
    parts = {4: [], 8: []}
    for weight in quantization.integers.values():
        parts[weight.bits].append(weight)
    return parts[4], parts[8]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_to_the_grid_where_the_recipe_has_it(tiny_dirs, method):
    model, fit = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples
    products = quantize_layerwise(model, LPBQ, METHODS[method], fit)
    free = quantize_layerwise(model, PRESETS["int4"], METHODS[method], fit)
    int4, int8 = int4_and_others(products)
    assert all(is_lpbq(weight) for weight in int4)
    assert not any(is_lpbq(weight) for weight in int4_and_others(free)[0])
    assert all(weight.group is None for weight in int8)
    assert {row.precision for row in products.rows} == {"int4:32:lpbq", "int8"}
    assert products.bytes == free.bytes
    errors = [sum(row.after**2 for row in q.rows) for q in (products, free)]
    assert errors[1] < errors[0] < 1.2 * errors[1]


def test_rounding_to_nearest_by_the_recipe_alone_gives_the_same_integers(tiny_dirs):
    model, fit = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples
    streamed = model.quantized(LPBQ).weights
    for name, weight in quantize_layerwise(model, LPBQ, METHODS["rtn"], fit).integers.items():
        assert torch.equal(streamed[f"{name}.weight"].values, weight.values)
        assert torch.equal(streamed[f"{name}.weight"].scales, weight.scales)


@pytest.mark.slow
def test_mixed_chooses_among_precisions_on_the_grid_and_the_file_keeps_it(tiny_dirs, tmp_path):
    folder = tiny_dirs["qwen2"]
    source, model = source_of(folder), model_of(folder)
    options = QuantizeOptions(samples=8, kv_cache=False, scales="lpbq")
    quantization = quantize(source, model, options, cache=tmp_path / "cache")
    modules = quantization.facts["sensitivity"]["modules"]
    offered = {option["precision"] for entry in modules.values() for option in entry["options"]}
    assert offered == {"int4:32:lpbq", "int8", "fp16"}
    int4, _ = int4_and_others(quantization)
    assert int4
    assert all(is_lpbq(weight) for weight in int4)
    free = quantize(source, model, replace(options, scales=None), cache=tmp_path / "cache")
    assert {row.precision for row in free.rows} <= {"int4:32", "int8", "fp16"}
    back = store.load(store.save(tmp_path / "q.safetensors", quantization))
    assert back.recipe == quantization.recipe
    assert all(is_lpbq(weight) for weight in int4_and_others(back)[0])
    assert store.manifest_entry(back) == store.manifest_entry(quantization)


def test_recovery_stays_on_the_grid(tiny_dirs):
    folder = tiny_dirs["qwen2"]
    model, fit, held_out = model_of(folder), drawn(folder), drawn(folder, 8, "validation")
    start = quantize_layerwise(model, LPBQ, METHODS["rtn"], fit.samples)
    options = RecoverOptions(steps=12, lr=3e-2, batch=2)
    after = recover(model, start, fit, held_out, options)
    assert all(is_lpbq(weight) for weight in int4_and_others(after)[0])
    pairs = [(after.integers[name].scales, weight.scales) for name, weight in start.integers.items()]
    assert after.facts["recovery"]["kept"]
    assert any(not torch.equal(a, b) for a, b in pairs)
    truth = logits(model, held_out.samples)
    assert (
        quality(truth, logits(after.apply(model), held_out.samples)).kl
        < after.facts["recovery"]["before"]["kl"]
    )


def test_a_target_names_its_grid_and_the_bundle_says_so(tiny_dirs, tmp_path, monkeypatch):
    targets = importlib.import_module("phantom_edge.targets")  # at the root the name is the function's
    phone = targets.Target("phone", "A phone's NPU", "onnx", "int4", context=128, scales="lpbq")
    monkeypatch.setattr(targets, "BUILT_IN", (*targets.BUILT_IN, phone))
    request = ExportRequest("phone", str(tiny_dirs["qwen2"]), output=tmp_path / "lpbq")
    result = export(request)
    assert result.report.ok
    rules = json.loads((tmp_path / "lpbq" / "manifest.json").read_text())["recipe"]["rules"]
    assert {rule["to"] for rule in rules} == {"int4:32:lpbq", "int8"}
    stored = phone.artifact_format().stored_weights(tmp_path / "lpbq")
    assert all(is_lpbq(weight) for weight in stored.values() if weight.bits == 4)
    assert verify(result.bundle, tokens=1).ok
    options = QuantizeOptions(scales="free")
    free = export(replace(request, output=tmp_path / "free", quantize=options, verify=False)).bundle
    assert free.manifest.recipe == PRESETS["int4"]
    desktop = replace(request, target="desktop", output=tmp_path / "desktop", context=128, verify=False)
    assert export(desktop).bundle.manifest.recipe == PRESETS["int4"]


def test_a_rule_can_name_the_grid_and_the_option_has_the_last_word(tmp_path):
    shape = (64, 64)
    rule = "text_decoder.layers.1.*=int4:64:lpbq"
    recipe = QuantizeOptions("int4", (rule,)).base
    assert recipe == load_recipe("int4", [rule])
    assert str(recipe.resolve("text_decoder.layers.0.o", shape)) == "int4:32"
    assert str(recipe.resolve("text_decoder.layers.1.o", shape)) == "int4:64:lpbq"
    all_free = QuantizeOptions("int4", (rule,), scales="free").base
    assert str(all_free.resolve("text_decoder.layers.1.o", shape)) == "int4:64"
    assert str(QuantizeOptions("int4", scales="lpbq").base.resolve("text_decoder.head", shape)) == "int8"


def test_a_targets_grid_gives_way_to_a_recipe_without_int4():
    assert QuantizeOptions("int8").for_target("int4", "lpbq").base == PRESETS["int8"]
    assert QuantizeOptions().for_target("int4", "lpbq").base == LPBQ
    assert QuantizeOptions("mixed").for_target("int4", "lpbq").scale_grid is ScaleGrid.LPBQ
    assert QuantizeOptions("int4", scales="free").for_target("int4", "lpbq").base == PRESETS["int4"]
    assert QuantizeOptions("int4", samples=8).for_target("int4", None) == QuantizeOptions("int4", samples=8)


def test_wrong_names_are_one_line(tmp_path):
    with pytest.raises(
        InputError, match=r"unknown scales 'lpqb' \(did you mean 'lpbq'\?\); there are: free, lpbq"
    ):
        QuantizeOptions(scales="lpqb")
    refused = CliRunner().invoke(app, ["quantize", "--scales", "int", "-o", str(tmp_path / "q.safetensors")])
    assert refused.exit_code == 2
    assert "unknown scales 'int'" in refused.output
    with pytest.raises(InputError, match="--scales is for int4, of which int8 has none"):
        export(ExportRequest("desktop", quantize=QuantizeOptions("int8", scales="lpbq")))
    stored = QuantizeOptions(str(tmp_path / "q.safetensors"), scales="lpbq")
    with pytest.raises(InputError, match="holds finished integers: leave out --rule, --scales"):
        export(ExportRequest("desktop", quantize=stored))
