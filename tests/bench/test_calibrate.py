"""Rates of this machine: known ones are recovered from the times that they give, and the probes run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from estimated import flat, model

from phantom_edge.bench.estimate import calibrate, probes, timing
from phantom_edge.bench.estimate.count import Model
from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.checkpoint.published import Sizes
from phantom_edge.numbers.recipe import Precision
from phantom_edge.targets import format_for


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
