"""Estimates: the count against formulas by hand and against real artifacts, the roofline against published
numbers.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from phantom_edge.bench.estimate import calibrate, probes, timing
from phantom_edge.bench.estimate.count import Model, modelled
from phantom_edge.bench.estimate.hardware import LEVELS, device_for, devices, gain, runtime_for
from phantom_edge.bench.estimate.predict import TARGETS, estimate, estimates
from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.bench.estimate.shapes import folded_shapes
from phantom_edge.bench.estimate.workload import Workload
from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.checkpoint.published import Sizes, published_config
from phantom_edge.cli import main
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import Precision, load_recipe
from phantom_edge.targets import format_for

VISION = {
    "vision_hidden": 1024,
    "vision_ffn": 4096,
    "vision_layers": 24,
    "vision_heads": 16,
    "image_size": 448,
}
SMALL = Sizes("qwen2", 896, 4864, 24, 14, 2, 151655, context=32768, tied=True, **VISION)  # Phantom-0.5B


def config_of(sizes: Sizes) -> PhantomConfig:
    return PhantomConfig.from_dict(published_config(sizes, 5, 2))


def model(
    sizes: Sizes = SMALL, recipe: str = "int4", format: str = "executorch", fold: str = "exact"
) -> Model:
    config = config_of(sizes)
    return Model(FoldedSpec(config, Fold.parse(fold).phantom_dims(config)), load_recipe(recipe), format)


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


def flat(**rates) -> Rates:
    kinds = ("int4", "int8", "float")
    base = dict.fromkeys(("attend_one", "attend_many", "attend_image", "cache", "write", "write_image"), 1e30)
    read, multiply = rates.pop("read", 1e30), dict.fromkeys(kinds, rates.pop("multiply", 1e30))
    return Rates(dict.fromkeys(kinds, read), multiply, multiply, **{**base, "call": 0.0, **rates})


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


# --- this machine


def made_up(rates: Rates, parts: tuple[str, str, str]):
    """Probe times that a machine of these rates would show."""
    chosen = probes.probes(*(Precision.parse(p) for p in parts))
    models = {probe.name: probe.model("onnx") for probe in chosen}

    def prefill(m: Model, start: int) -> float:
        work = m.decoder(probes.CHUNK, start)
        embed = m.embedding(probes.CHUNK)
        return (
            rates.products(work) + rates.rest(work) + work.attention / rates.attend_many + rates.rest(embed)
        )

    timed = {
        name: calibrate.Timed(
            rates.vision(m),
            {depth: rates.decode(m, depth) for depth in (0, calibrate.DEPTH)},
            {start: prefill(m, start) for start in (0, probes.CONTEXT - probes.CHUNK)},
        )
        for name, m in models.items()
    }
    return models, timed


@pytest.mark.parametrize(
    "parts", [("int4", "int8", "int8"), ("int8", "int8", "int8"), ("fp32", "fp32", "fp32")]
)
def test_known_rates_are_found_again(parts):
    """From the probes' times that known rates give, predictions for another model come out as those rates
    give them.
    """
    kinds = ("int4", "int8", "float")
    known = Rates(
        read=dict(zip(kinds, (37e9, 36e9, 30e9), strict=True)),
        multiply=dict(zip(kinds, (450e9, 500e9, 120e9), strict=True)),
        multiply_image=dict(zip(kinds, (500e9, 580e9, 140e9), strict=True)),
        attend_one=37e9,
        attend_many=130e9,
        attend_image=290e9,
        cache=1e30,
        write=1e30,
        write_image=1e30,
        call=4e-6,
    )
    found = calibrate.solve(*made_up(known, parts))
    recipe = {"int4": "int4", "int8": "int8", "fp32": "fp32"}[parts[0]]
    m = model(recipe=recipe, format="onnx")
    for depth in (0, 1920):
        assert found.decode(m, depth) == pytest.approx(known.decode(m, depth), rel=0.08)
    assert found.prefill(m, 300, 512) == pytest.approx(known.prefill(m, 300, 512), rel=0.08)
    assert found.vision(m) == pytest.approx(known.vision(m), rel=0.08)


def test_noise_makes_no_rate_negative():
    known = flat(
        read=30e9, multiply=3e11, attend_one=3e10, attend_many=1e11, attend_image=2e11, write=5e9, call=3e-6
    )
    models, timed = made_up(known, ("int4", "int8", "int8"))
    rng = np.random.default_rng(0)
    for _ in range(20):
        noisy = {
            name: calibrate.Timed(
                t.vision * rng.uniform(0.3, 3),
                {k: v * rng.uniform(0.3, 3) for k, v in t.decode.items()},
                {k: v * rng.uniform(0.3, 3) for k, v in t.prefill.items()},
            )
            for name, t in timed.items()
        }
        found = calibrate.solve(models, noisy)
        values = [
            *found.read.values(),
            *found.multiply.values(),
            found.attend_one,
            found.attend_many,
            found.call,
        ]
        assert all(value > 0 for value in values)
        assert found.decode(model(format="onnx"), 100) > 0


def test_memory_is_a_share_of_the_files_and_something_fixed():
    models = {p.name: p.model("onnx") for p in probes.probes(*[Precision.parse("int8")] * 3)}
    stored = {"large": 200e6, "thin": 60e6, "headed": 160e6}

    def taken(name: str, fixed: float) -> calibrate.Timed:
        peak = 1.5 * stored[name] + fixed + models[name].cache_bytes(probes.CONTEXT)
        return calibrate.Timed(1, {}, {}, peak=peak, stored=stored[name])

    timed = {"large": taken("large", 300e6), "thin": taken("thin", 100e6), "headed": taken("headed", 100e6)}
    assert calibrate.memory(models, timed) == pytest.approx((1.5, 300e6))


def test_loading_grows_with_bytes_and_with_operations():
    models = {p.name: p.model("onnx") for p in probes.probes(*[Precision.parse("int8")] * 3)}
    timed = {
        name: calibrate.Timed(1, {}, {}, loading=2e-9 * m.stored_bytes() + 1e-4 * m.operations())
        for name, m in models.items()
    }
    assert calibrate.loading(models, timed) == pytest.approx((2e-9, 1e-4))


def test_least_squares_without_negatives():
    a = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [3.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    x = np.array([0.5, 0.0, 2.0])
    assert calibrate.nonnegative(a, a @ x) == pytest.approx(x, abs=1e-9)
    b = np.array([-1.0, 1.0, 0.5, -2.0])
    solution = calibrate.nonnegative(a, b)
    # Optimal: no allowed move makes it better (the conditions of Karush, Kuhn and Tucker).
    slope = a.T @ (b - a @ solution)
    assert (solution >= 0).all()
    assert (slope <= 1e-9).all()
    assert np.abs(slope[solution > 0]).max(initial=0) < 1e-9


@pytest.fixture
def tiny_probes() -> tuple[probes.Probe, ...]:
    tiny = Sizes("qwen2", 64, 64, 2, 4, 2, 96, context=4096, tied=False, **probes._vision(56, 1, 64))
    sizes = {
        "large": replace(tiny, ffn=512, image_size=112),
        "thin": tiny,
        "headed": replace(tiny, vocabulary=4096),
    }
    precisions = [Precision.parse(p) for p in ("int4", "int8", "int8")]
    return tuple(probes.Probe(name, size, *precisions) for name, size in sizes.items())


def test_the_probes_run_in_the_runtime_itself(monkeypatch, tiny_probes):
    """Exported by the exporter and run by the backend, in miniature: rates come out, whatever they are."""
    monkeypatch.setattr(calibrate, "probes", lambda *_: tiny_probes)
    monkeypatch.setattr(calibrate, "DEPTH", 40)
    monkeypatch.setattr(calibrate, "STEPS", 4)
    kinds = {"layers": "int4", "head": "int8", "vision": "int8"}
    steps = []
    calibration = calibrate.calibrate("onnx", kinds, 1, steps.append)
    assert calibration.memory >= 1
    assert 10e6 < calibration.fixed < 1e9
    assert min(calibration.load) >= 0
    assert max(calibration.load) > 0
    assert calibration.rates.call > 0
    assert set(calibration.rates.read) == set(calibration.rates.multiply) == {"int4", "int8", "float"}
    names = ("large", "thin", "headed")
    assert steps == [
        f"calibrating: {what} the {name} model" for what in ("writing", "timing") for name in names
    ]
    assert json.loads(json.dumps(asdict(calibration.rates)))["attend_one"] > 0


def test_a_probe_in_executorch(tiny_probes, tmp_path):
    tiny_probes[1].write(format_for("executorch"), tmp_path / "thin", lambda _: None)
    job = calibrate._job(tiny_probes[1], "executorch", tmp_path / "thin", 1, "wall")
    timings = timing.measure(job | {"depth": 40, "steps": timing.WARM + 2})
    assert set(timings["decode"]) == {0, 40}
    assert set(timings["prefill"]) == {0, probes.CONTEXT - probes.CHUNK}
    assert timings["vision"] > 0


def test_the_large_probe_is_larger_than_caches():
    """Else it would be read from the cache, and a model from memory."""
    large = next(p for p in probes.probes(*[Precision.parse("int4")] * 3) if p.name == "large")
    assert sum(large.model("onnx").decoder(1, 0).weights.values()) > 48e6


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
