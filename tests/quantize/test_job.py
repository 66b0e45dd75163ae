"""The whole job on a tiny model: mixed precision under budgets, the file, the export that takes it, the
command.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from calibrated import model_of, source_of
from typer.testing import CliRunner

from phantom_edge.bundle.folder import Bundle
from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.export.onnx import stored_cache
from phantom_edge.numbers.recipe import PRESETS, Precision
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize import store
from phantom_edge.quantize.cache import Cache
from phantom_edge.quantize.job import quantize
from phantom_edge.quantize.kv import KVScales
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.quantize.sensitivity import Option
from phantom_edge.runtime.verify import verify

pytestmark = pytest.mark.slow


@cache
def mixed(folder: Path):
    return quantize(source_of(folder), model_of(folder), QuantizeOptions(samples=8))


def test_mixed_spends_a_tenth_more_than_int4_and_gains_a_lot(tiny_dirs):
    quantization = mixed(tiny_dirs["qwen2"])
    facts = quantization.facts
    assert facts["bytes"] <= facts["sensitivity"]["budget"]["bytes"]
    measured = facts["measured"]
    assert measured["quantised"]["kl"] < measured["round-to-nearest int4"]["kl"] / 3
    model = model_of(tiny_dirs["qwen2"])
    assert {row.name for row in quantization.rows} == set(model.module_shapes())
    assert sum(row.bytes for row in quantization.rows) < facts["bytes"]
    assert len({row.precision for row in quantization.rows}) > 1
    chosen = {n: e["chosen"] for n, e in facts["sensitivity"]["modules"].items()}
    assert chosen == {row.name: row.precision for row in quantization.rows}
    assert facts["fold_from"]["chosen"] in ("original", "quantised")
    assert facts["kv_cache"]["beyond_quantised"]["kl"] < 5e-3
    assert len(KVScales.from_state(quantization.cache).keys) == model.config.decoder.layers
    assert facts["calibration"]["sha256"] != facts["measured_on"]["sha256"]


def test_the_bytes_are_those_of_the_tensors(tiny_dirs):
    quantization, model = mixed(tiny_dirs["qwen2"]), model_of(tiny_dirs["qwen2"])
    applied = quantization.apply(model)
    assert sum(applied.weights[name].nbytes for name in applied.weights) == quantization.facts["bytes"]


def test_one_file_serves_an_export_which_verify_then_knows(tiny_dirs, tmp_path):
    file = store.save(tmp_path / "q.safetensors", mixed(tiny_dirs["qwen2"]))
    request = ExportRequest(
        "desktop",
        str(tiny_dirs["qwen2"]),
        quantize=QuantizeOptions(str(file)),
        output=tmp_path / "out",
        context=128,
    )
    result = export(request)
    assert result.report.ok
    manifest = result.bundle.manifest
    assert manifest.quantization.method == "gptq"
    assert manifest.quantization.integers["text_decoder.head"]
    assert "Bits per weight, as chosen" in (tmp_path / "out" / "report.html").read_text()
    assert verify(
        Bundle.open(tmp_path / "out"), tokens=4
    ).ok  # rebuilds the model from the sidecar and the artifact
    other = replace(
        manifest, quantization=replace(manifest.quantization, integers={"text_decoder.head": "00"})
    )
    report = verify(Bundle(tmp_path / "out", other), tokens=1)
    assert [check.name for check in report.failures] == ["integers that differ"]
    with pytest.raises(InputError, match="holds finished integers"):
        export(
            ExportRequest(
                "desktop", str(tiny_dirs["qwen2"]), quantize=QuantizeOptions(str(file), budget_mb=1.0)
            )
        )
    with pytest.raises(InputError, match="made from another checkpoint"):
        export(
            ExportRequest(
                "desktop", str(tiny_dirs["phi3"]), quantize=QuantizeOptions(str(file)), output=tmp_path / "no"
            )
        )
    assert not (tmp_path / "no").exists()
    store.check_source(store.load(file), source_of(tiny_dirs["qwen2"]))


@pytest.mark.parametrize("fold", ["exact", "rank:8"])
def test_an_int8_cache_takes_the_files_scales_where_they_are_of_its_fold(tiny_dirs, tmp_path, fold):
    quantization = mixed(tiny_dirs["qwen2"])
    file = store.save(tmp_path / "q.safetensors", quantization)
    request = ExportRequest(
        "desktop",
        str(tiny_dirs["qwen2"]),
        quantize=QuantizeOptions(str(file)),
        output=tmp_path / "out",
        context=128,
    )
    assert export(replace(request, kv_cache="int8", fold=fold)).report.ok
    kept, own = stored_cache(tmp_path / "out"), KVScales.from_state(quantization.cache)
    equal = [torch.equal(a, b) for a, b in zip(kept.keys, own.keys, strict=True)]
    assert all(equal) if fold == "exact" else not any(equal)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_mb": 0.001}, r"cannot be met: the least is 0\.\d+ MB"),
        ({"quant": "int4", "budget_mb": 1.0}, "use it with --quant mixed"),
        ({"budget_mb": 1.0, "budget_kl": 1.0}, "give one of the two"),
        ({"budget_kl": -1.0}, "must be above 0"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"samples": 2}, "2 calibration samples"),
        ({"overrides": ("nothing.*=int8",)}, "matches no module"),
        ({"calibrate": Path("/nowhere")}, "no such folder"),
    ],
)
def test_bad_options_are_one_line(tiny_dirs, options, message):
    folder = tiny_dirs["qwen2"]
    with pytest.raises(InputError, match=message):
        quantize(
            source_of(folder),
            model_of(folder),
            QuantizeOptions(**({"samples": 8, "method": "rtn"} | options)),
        )


def test_a_result_is_kept_by_content(tiny_dirs, tmp_path):
    folder, steps = tiny_dirs["qwen2"], []
    options = QuantizeOptions("int4", method="rtn", samples=8, kv_cache=False)
    first = quantize(source_of(folder), model_of(folder), options, cache=tmp_path)
    again = quantize(source_of(folder), model_of(folder), options, cache=tmp_path, step=steps.append)
    assert steps == ["preparing calibration"]  # and nothing was computed
    assert store.manifest_entry(again) == store.manifest_entry(first)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"damaged")
    mended = quantize(source_of(folder), model_of(folder), options, cache=tmp_path)
    assert store.manifest_entry(mended) == store.manifest_entry(first)
    other = replace(options, samples=9)
    quantize(source_of(folder), model_of(folder), other, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_sensitivities_are_kept_for_another_budget(tmp_path):
    options = {"m": [Option(Precision(4, 32), 10, 0.5), Option(Precision(8), 20, 0.01)]}
    cache = Cache(tmp_path / "new")
    assert cache.options("k") is None
    cache.keep_options("k", options)
    assert cache.options("k") == options
    (tmp_path / "new" / "k.json").write_text("{")
    assert cache.options("k") is None


def test_the_command(tiny_dirs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "q.safetensors"
    arguments = [
        "quantize",
        "-m",
        str(tiny_dirs["qwen2"]),
        "--samples",
        "8",
        "--method",
        "rtn",
        "--quant",
        "int4",
    ]
    result = CliRunner().invoke(
        app, [*arguments, "-o", str(out), "--json", "--html", str(tmp_path / "q.html")]
    )
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["method"] == "rtn"
    assert facts["measured"]["quantised"]["kl"] == pytest.approx(
        facts["measured"]["round-to-nearest int4"]["kl"]
    )
    assert store.load(out).recipe == PRESETS["int4"]
    assert "What it costs" in (tmp_path / "q.html").read_text()
    refused = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "q.onnx")])
    assert refused.exit_code == 2
    assert "ends in .safetensors" in refused.output
