"""Estimates: the count against formulas by hand and against real artifacts, the roofline against published
numbers.
"""

from __future__ import annotations

import json
import shutil

import pytest
from estimated import VISION, flat, model

from phantom_edge.bench.estimate.count import modelled
from phantom_edge.bench.estimate.hardware import LEVELS, device_for, devices, gain, runtime_for
from phantom_edge.bench.estimate.predict import TARGETS, estimate, estimates
from phantom_edge.bench.estimate.shapes import folded_shapes
from phantom_edge.bench.estimate.workload import Workload
from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.published import Sizes
from phantom_edge.cli import main
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel

# --- what a call does


@pytest.mark.parametrize("fold", ["exact", "rank:8", "off"])
def test_shapes_are_the_folded_models_own(tiny_dirs, fold):
    for folder in tiny_dirs.values():
        source = Pretrained.open(folder)
        folded = FoldedModel.of(source.config, source.checkpoint, Fold.parse(fold), source.first_id)
        assert folded_shapes(folded.spec) == {
            name: tuple(folded.weights.shape(name)) for name in folded.weights
        }


def test_a_decode_step_by_hand():
    """Phantom-0.5B in int4: bytes and operations from its published dimensions."""
    work = model().decoder(1, 1999)
    h, f, layers, heads, kv, d, vocab = 896, 4864, 24, 14, 2, 64, 151655
    layer = h * (heads + 2 * kv) * d + h * h + 3 * h * f
    assert work.weights["int4"] == layers * layer * (0.5 + 2 / 32)  # nibbles, and a bf16 scale per 32
    assert work.weights["int8"] == vocab * h + vocab * 2
    assert work.products["int4"] == 2 * layers * layer
    assert work.products["int8"] == 2 * vocab * h
    assert work.attention == layers * 4 * 2000 * heads * 2 * d  # twice the head dimension: the phantom half
    assert work.cached == layers * 2 * 2000 * kv * 2 * d * 4
    assert model(fold="off").decoder(1, 1999).cached == work.cached / 2
    assert model(fold="rank:8").decoder(1, 1999).cached == work.cached * (d + 8) // (2 * d)


def test_prefill_is_causal_and_the_head_runs_once():
    whole, last = model().decoder(64, 0), model().decoder(1, 63)
    assert whole.products["int8"] == last.products["int8"]
    assert whole.products["int4"] == 64 * last.products["int4"]
    assert whole.attention == sum(model().decoder(1, n).attention for n in range(64))
    assert whole.calls == last.calls


def test_a_tile_by_hand():
    work = model().vision()
    n, c, f = 1025, 1024, 4096
    layers = 24 * (3 * c * c + c * c + 2 * c * f)
    projector = 896 * 4 * c + 896 * 896
    assert work.products["int8"] == 2 * (n * layers + 256 * projector)
    assert work.products["float"] == 2 * 1024 * c * 3 * 14 * 14
    assert work.attention == 24 * 4 * n * n * c


@pytest.mark.parametrize("target", ["web", "android"])
def test_bytes_are_those_of_real_files(bundles, target):
    """What is counted without building anything is what the exporters write, to a few per cent of
    metadata.
    """
    bundle = Bundle.open(bundles[target], check=False)
    graphs = {name for name in bundle.manifest.files if name.endswith((".onnx", ".onnx_data", ".pte"))}
    graphs -= {name for name in graphs if "genai" in name}  # further packages' views of the same weights
    files = sum(bundle.manifest.files[name].bytes for name in graphs)
    counted = Workload.of_model(None, target=target).bytes
    assert counted < files < 1.25 * counted + 600_000


def test_a_bundle_without_its_checkpoint_counts_the_same(bundles, tmp_path):
    assert Workload.of_bundle(bundles["web"]).model.spec.config == Pretrained.open(None).config
    folder = shutil.copytree(bundles["web"], tmp_path / "moved")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["source"]["name"] = "/nowhere"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert Workload.of_bundle(folder).model.vision() == Workload.of_bundle(bundles["web"]).model.vision()


def test_a_workload_knows_its_prompt(bundles):
    workload = Workload.of_bundle(bundles["web"])
    golden_tokens = workload.prompt_tokens(1)
    source = Pretrained.open(None)
    rows = source.config.tokens_per_tile
    ids = source.tokenizer.encode(source.template.render([("What colour is it?", None)], rows))
    assert golden_tokens == len(ids)
    assert workload.prompt_tokens(3) == golden_tokens + 2 * rows
    assert workload.kinds() == {"layers": "int8", "head": "int8", "vision": "int8"}
    assert Workload.of_model(None, target="desktop", quant="fp16").kinds() == dict.fromkeys(
        ("layers", "head", "vision"), "fp16"
    )


# --- rates to seconds


def test_each_bound_counts_where_it_binds():
    m = model()
    work = m.decoder(1, 100)
    read = sum(work.weights.values()) / 50e9
    assert flat(read=50e9).decode(m, 100) == pytest.approx(read)
    assert flat(read=50e9, multiply=1e12).decode(m, 100) == pytest.approx(read)  # reading binds
    assert flat(multiply=1e9).decode(m, 100) == pytest.approx(sum(work.products.values()) / 1e9)
    assert flat(cache=1e9).decode(m, 100) == pytest.approx(work.cached / 1e9)
    calls = work.calls + m.embedding(1).calls
    assert flat(call=1e-6).decode(m, 100) == pytest.approx(calls * 1e-6)
    vision = m.vision()
    assert flat(attend_image=1e12).vision(m) == pytest.approx(vision.attention / 1e12)


def test_a_prompt_longer_than_a_chunk_is_the_sum_of_its_pieces():
    m, rates = model(), flat(read=50e9, multiply=1e12, attend_many=1e11, write=1e10, call=1e-6)
    pieces = [rates.prefill(m, 512, 512)]
    work = m.decoder(88, 512)
    rest = rates.products(work) + rates.rest(work) + work.attention / 1e11 + rates.rest(m.embedding(88))
    assert rates.prefill(m, 600, 512) == pytest.approx(pieces[0] + rest)


LLAMA = {
    # ExecuTorch, examples/models/llama/README.md: OnePlus 12, 8da4w group 32, int8 head, prompt of 64 tokens.
    "1B": (Sizes("qwen2", 2048, 8192, 16, 32, 8, 128256, context=8192, tied=True, **VISION), 50.2, 260.5),
    "3B": (Sizes("qwen2", 3072, 8192, 28, 24, 8, 128256, context=8192, tied=True, **VISION), 19.7, 89.7),
}


@pytest.mark.parametrize("size", list(LLAMA))
def test_published_measurements_lie_within_the_band(size):
    """Llama 3.2 is the same decoder without a phantom dimension: what Meta measured on a phone of the
    table.
    """
    sizes, decode, prefill = LLAMA[size]
    m, device = model(sizes, fold="off"), device_for("oneplus-12")
    runtime = runtime_for("executorch")
    low, typical, high = (runtime.rates(device, n) for n in range(len(LEVELS)))
    assert 1 / low.decode(m, 64) < decode < 1 / high.decode(m, 64)
    assert 64 / low.prefill(m, 64, 64) < prefill < 64 / high.prefill(m, 64, 64)
    assert 1 / typical.decode(m, 64) == pytest.approx(decode, rel=0.15)
    assert 64 / typical.prefill(m, 64, 64) == pytest.approx(prefill, rel=0.25)


# --- the table


def test_every_figure_has_a_source_and_a_size():
    assert len(devices()) >= 10
    for device in devices().values():
        for figure in (device.bandwidth, device.float, device.int8):
            assert figure is None or (figure.source.strip() and 0.01 < figure.value < 1000)
        assert ("coreml" in device.formats) == (device.int8 is None)
        for format_name in device.formats:
            assert TARGETS[format_name]
            runtime = runtime_for(format_name)
            assert runtime.source
            rates = [runtime.rates(device, n) for n in range(3)]
            assert rates[0].read["int4"] < rates[1].read["int4"] < rates[2].read["int4"]
            assert rates[0].call > rates[1].call > rates[2].call


def test_an_estimate_has_the_rows_of_a_benchmark_and_a_band_on_each():
    run = estimate(Workload.of_model(None, target="ios"), "iphone-16-pro", depths=(0, 512, 9000))
    assert set(run.keys) == {
        "first_token",
        "vision",
        "prefill",
        "prefill_rate",
        "decode@0",
        "decode@512",
        "memory",
        "bundle",
    }
    assert run.samples == {}
    for key, band in run.bands.items():
        assert band.low <= band.typical <= band.high, key
        assert (band.low < band.high) == (key != "bundle"), key
    assert {"load", "energy", "drift", "preprocess", "decode@9000"} == set(run.missing)
    assert run.bands["first_token"].typical == pytest.approx(
        run.bands["vision"].typical + run.bands["prefill"].typical
    )


def test_an_npu_has_rows_of_its_own_and_a_wider_band():
    workload = Workload.of_model(None, target="android")
    cpu, npu = (estimate(workload, name, depths=(0,)) for name in ("galaxy-s25", "galaxy-s25-npu"))
    typical = gain(1)
    assert npu.value("vision") == pytest.approx(cpu.value("vision") / typical.vision)
    assert npu.value("prefill") == pytest.approx(cpu.value("prefill") / typical.prefill)
    assert npu.value("decode@0") == pytest.approx(cpu.value("decode@0") * typical.decode)
    for key in ("vision", "prefill", "decode@0", "first_token"):
        wide, narrow = (run.bands[key].high / run.bands[key].low for run in (npu, cpu))
        assert wide > narrow > 1
    assert any("never measured" in note and "arXiv 2606.27906" in note for note in npu.notes)
    assert "memory" in npu.missing
    assert npu.device["name"].endswith(", NPU")
    assert {name for name, device in devices().items() if device.on_npu} == {
        "oneplus-12-npu", "galaxy-s24-npu", "galaxy-s25-npu",
    }  # fmt: skip


def test_the_one_published_encoder_lies_within_the_npus_band():
    """Qwen3-VL-2B's on a v79, in 161 ms: 24 layers of 1024 channels over 1024 patches, as a tile here."""
    m, runtime, device = model(), runtime_for("executorch"), device_for("galaxy-s25-npu")
    seconds = [runtime.rates(device, n).vision(m) / gain(n).vision for n in range(len(LEVELS))]
    assert seconds[0] > 0.161 > seconds[2]
    assert seconds[1] == pytest.approx(0.161, rel=0.6)


def test_faster_and_larger_go_the_right_way():
    def row(device: str, key: str, **options) -> float:
        return estimate(Workload.of_model(None, target="android", **options), device).value(key)

    assert row("galaxy-s25", "decode@0") > row("raspberry-pi-5", "decode@0")
    assert row("galaxy-s25", "decode@0", quant="int4") > row("galaxy-s25", "decode@0", quant="fp16")
    assert row("galaxy-s25", "decode@1024", fold="rank:8") > row("galaxy-s25", "decode@1024")
    assert row("galaxy-s25", "memory", context=512) < row("galaxy-s25", "memory", context=4096)


def test_every_bad_request_is_one_line(bundles, tmp_path):
    workload = Workload.of_model(None, target="ios")
    for device, message in (
        ("iphone-16-prp", "did you mean 'iphone-16-pro'"),
        ("pixel-8", "runs executorch, the model is for coreml; choose another --target"),
        ("local", "there is nothing to estimate"),
    ):
        with pytest.raises(InputError, match=message):
            estimate(workload, device)
    with pytest.raises(InputError, match="the speed of format 'onnx-webgpu' is not modelled"):
        modelled("onnx-webgpu")
    with pytest.raises(InputError, match="--threads is for --device local"):
        estimate(workload, "iphone-16", threads=2)
    with pytest.raises(InputError, match="say which --device"):
        estimates([])
    with pytest.raises(InputError, match="a bundle has its own model"):
        estimates(["pixel-8"], bundle=bundles["android"], options={"quant": "int8"})
    with pytest.raises(InputError, match="not a bundle"):
        estimates(["pixel-8"], bundle=tmp_path)
    with pytest.raises(InputError, match="unknown recipe"):
        estimates(["pixel-8"], options={"quant": "int5"})
    with pytest.raises(InputError, match=r"--context 100000 is beyond 4096"):
        estimates(["pixel-8"], options={"context": 100_000})


# --- the command


def test_the_command_line(tmp_path, capsys):
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit) as ended:
        main(["estimate", "-d", "iphone-16-pro", "-d", "galaxy-s25", "--html", str(page)])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "iPhone 16 Pro" in shown
    assert "~" in shown
    assert "<polygon" in page.read_text()  # the band
    with pytest.raises(SystemExit):
        main(["estimate", "--list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert {row[0] for row in listed["tables"][0]["rows"]} == set(devices())
    with pytest.raises(SystemExit) as ended:
        main(["estimate", "-d", "iphone"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unknown device 'iphone' (did you mean" in said
