"""The file of a quantisation: all of it comes back, and nothing else is taken for one."""

from dataclasses import replace

import pytest
import torch
from calibrated import model_of
from safetensors.torch import save_file

from phantom_edge.bundle.manifest import ModuleRow
from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.store import differing, fingerprint, load, manifest_entry, of_bundle, save, write

MODULE = "text_decoder.layers.1.down"


@pytest.fixture
def quantization(tiny_dirs):
    model = model_of(tiny_dirs["qwen2"])
    weight = quantize_weight(model.weights[f"{MODULE}.weight"], 4, 32)
    norm = torch.rand(64)
    return Quantization(
        load_recipe("int4"),
        "gptq",
        {MODULE: weight},
        {"text_decoder.layers.1.norm2.weight": norm},
        (ModuleRow(MODULE, "int4:32", weight.nbytes, 0.1, 0.04, 0.01, 3.0),),
        {"source": {"config.json": "00"}},
        {"kv.0.key": torch.rand(2, 32)},
    )


def test_round_trip(tmp_path, quantization):
    back = load(save(tmp_path / "q.safetensors", quantization))
    assert (back.recipe, back.method, back.rows, back.facts) == (
        quantization.recipe,
        "gptq",
        quantization.rows,
        quantization.facts,
    )
    assert fingerprint(back.integers[MODULE]) == fingerprint(quantization.integers[MODULE])
    assert all(torch.equal(back.floats[n], quantization.floats[n]) for n in quantization.floats)
    assert torch.equal(back.cache["kv.0.key"], quantization.cache["kv.0.key"])
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors"]


def test_it_takes_the_place_of_the_models_own_numbers(tiny_dirs, quantization):
    model = model_of(tiny_dirs["qwen2"])
    applied = quantization.apply(model)
    assert torch.equal(applied.weights[f"{MODULE}.weight"].values, quantization.integers[MODULE].values)
    assert torch.equal(
        applied.weights["text_decoder.layers.1.norm2.weight"],
        quantization.floats["text_decoder.layers.1.norm2.weight"],
    )
    other = "text_decoder.layers.0.down.weight"
    assert torch.equal(
        applied.weights[other].values, model.quantized(quantization.recipe).weights[other].values
    )
    with pytest.raises(InputError, match="of another model"):
        replace(quantization, floats={"text_decoder.layers.1.norm2.weight": torch.ones(63)}).apply(model)


def test_a_bundle_keeps_everything_but_the_integers_and_their_hashes_tell_on_a_changed_one(
    tmp_path, quantization
):
    sidecar = write(tmp_path / "quantization.safetensors", quantization, integers=False)
    assert not load(sidecar).integers
    assert of_bundle(sidecar, quantization.integers).integers == quantization.integers
    entry = manifest_entry(quantization).integers
    assert differing(entry, quantization.integers) == []
    weight = quantization.integers[MODULE]
    values = weight.values.clone()
    values[3, 5] = (int(values[3, 5]) + 1) % 8
    changed = {MODULE: QuantizedTensor(values, weight.scales, 4, 32)}
    assert differing(entry, changed) == [MODULE]
    assert differing(entry, {}) == [MODULE]
    assert differing(entry, quantization.integers | {"extra": weight}) == ["extra"]


def test_other_files_are_refused(tmp_path, quantization):
    with pytest.raises(InputError, match="not found; make it with"):
        load(tmp_path / "none.safetensors")
    path = save(tmp_path / "q.safetensors", quantization)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="truncated"):
        load(path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(InputError, match="is no quantisation"):
        load(path)
    save_file({"x": torch.ones(1)}, path, metadata={"phantom_edge": '{"schema": 99}'})
    with pytest.raises(InputError, match="newer"):
        load(path)
    save_file({"x": torch.ones(1)}, path, metadata={"phantom_edge": '{"schema": 1}'})
    with pytest.raises(InputError, match="not a quantisation of this toolkit"):
        load(path)
    for bad in (tmp_path / "q.bin", tmp_path / "missing" / "q.safetensors"):
        with pytest.raises(InputError):
            save(bad, quantization)
