"""On emulated 64-bit Arm processors: kernels round as said, a bundle verifies there, and a fault is seen."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import onnx
import pytest
from arm_kernels import KINDS, expected, products, quantized
from onnx import numpy_helper

from phantom_edge.errors import InputError
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.arm.cores import CORES, kernel_features
from phantom_edge.runtime.arm.grids import grids_of
from phantom_edge.runtime.arm.machine import Machine
from phantom_edge.runtime.onnx_backend import OnnxBackend
from phantom_edge.runtime.verify import ARM, ARM_UNROUNDED, STRUCTURE, UNROUNDED, verify

TOKENS = 6
FEATURES = {
    "cortex-a72": "none beyond NEON",
    "cortex-a76": "int8 dot products, fp16 arithmetic",
    "armv8-i8mm": "int8 dot products, int8 matrix products, fp16 arithmetic, bf16",
    "armv9-sme": "int8 dot products, int8 matrix products, SVE, fp16 arithmetic, bf16, SME",
}


@pytest.fixture(scope="module")
def bundle(tiny_dirs, tmp_path_factory):
    """int4 in the decoder, int8 in the vision encoder; unverified."""
    request = ExportRequest(
        target="linux-arm64",
        model=str(tiny_dirs["qwen2"]),
        quantize=QuantizeOptions("int4"),
        output=tmp_path_factory.mktemp("arm") / "bundle",
        context=96,
        verify=False,
    )
    return export(request).bundle


def load(arm64, bundle, core, **options):
    return Machine(CORES[core], arm64).load(bundle.folder, context=96, chunk=32, **options)


def failed(report, group):
    return {check.name for check in report.groups[group] if check.passed is False}


@pytest.mark.parametrize("core", FEATURES)
def test_a_cores_kernels_have_the_features_and_the_grids_that_are_said(arm64, core, bundle, tmp_path):
    features = load(arm64, bundle, core).features
    assert kernel_features(features) == FEATURES[core]
    values, grid_of = products(arm64, CORES[core].cpu, tmp_path), grids_of(features)
    for kind in KINDS:
        errors = {
            grid: float(np.abs(values[kind] - expected(tmp_path, kind, grid)).max())
            for grid in ActivationGrid
        }
        own = errors.pop(grid_of(quantized(kind)))
        assert own < 1e-3, (kind, errors)
        assert min(errors.values()) > 20 * own, (kind, errors)


class TestBackend:
    def test_unrounded_it_computes_what_x86_computes(self, arm64, bundle):
        there = load(arm64, bundle, "cortex-a76", mode="lifted")
        here = OnnxBackend(bundle.folder, context=96, chunk=32, threads=1, mode="lifted")
        random = np.random.default_rng(1)
        side = bundle.manifest.tiles.size
        pixels = random.random((2, 3, side, side), dtype=np.float32)
        image = here.encode_image(pixels)
        assert np.abs(there.encode_image(pixels) - image).max() < 1e-4 * image.std()
        caches = [(backend, backend.make_cache()) for backend in (there, here)]
        for length in (32, 7, 1, 1):
            ids = random.integers(3, 60, (1, length))
            one, other = (backend.decode(backend.embed(ids), cache) for backend, cache in caches)
            assert np.abs(one - other).max() < 1e-4 * other.std()
        assert caches[0][1].length == caches[1][1].length == 41
        caches[0][1].length = caches[1][1].length = 20  # forgets what follows
        one, other = (backend.decode(backend.embed(ids), cache) for backend, cache in caches)
        assert np.abs(one - other).max() < 1e-4 * other.std()

    def test_its_errors_are_those_of_here(self, arm64, bundle):
        backend = load(arm64, bundle, "cortex-a76")
        with pytest.raises(InputError, match=r"token ids lie in 99999\.\.99999"):
            backend.embed(np.array([[99999]]))
        cache, embeds = backend.make_cache(), backend.embed(np.array([[3] * 8]))
        cache.length = 90
        with pytest.raises(InputError, match="do not fit a context of 96"):
            backend.decode(embeds, cache)
        with pytest.raises(InputError, match=r"tiles must be \[T, 3"):
            backend.encode_image(np.zeros((1, 1, 2, 2), np.float32))
        assert backend.embed(np.array([[3]])).shape[:2] == (1, 1)

    def test_a_process_that_ends_is_one_line(self, arm64, bundle):
        backend = load(arm64, bundle, "cortex-a76")
        os.killpg(backend._process.pid, signal.SIGKILL)
        with pytest.raises(InputError, match="the emulated process ended by SIGKILL"):
            backend.embed(np.array([[3]]))


class TestVerify:
    def test_a_bundle_is_right_on_arm(self, arm64, bundle):
        report = verify(bundle, tokens=TOKENS, machine="arm64", cpu="cortex-a76")
        assert report.ok, report.verdict
        assert report.facts["machine"].startswith("cortex-a76 (Raspberry Pi 5")
        assert f"QEMU {arm64.version}" in report.facts["machine"]
        assert report.facts["kernels"] == FEATURES["cortex-a76"]
        assert report.facts["runtime"].endswith("for aarch64")
        for group in (UNROUNDED, ARM_UNROUNDED, STRUCTURE, ARM):
            names = {check.name for check in report.groups[group]}
            assert {"embeddings", "image tokens", "greedy tokens that differ"} <= names

    def test_a_weight_that_is_another_on_arm_is_noticed(self, arm64, bundle, tmp_path, monkeypatch):
        """The files are right; what the emulated processor multiplies with is not."""
        folder = shutil.copytree(bundle.folder, tmp_path / "spoiled")
        double_a_scale(next(folder.glob("onnx/decoder*.onnx")))
        load_right = Machine.load
        monkeypatch.setattr(Machine, "load", lambda self, _, **options: load_right(self, folder, **options))
        report = verify(bundle, tokens=TOKENS, machine="arm64", cpu="cortex-a72")
        assert "prefill logits" in failed(report, UNROUNDED)
        assert "prefill logits" in failed(report, ARM_UNROUNDED)
        assert "logits, prefill and cached decode" in failed(report, STRUCTURE)
        assert "logits, prefill and cached decode" in failed(report, ARM)
        assert "image tokens" not in failed(report, ARM) | failed(report, STRUCTURE)


def double_a_scale(path):
    """Double the scales of the first product in a model."""
    model = onnx.load(path)
    name = next(node.input[2] for node in model.graph.node if node.op_type == "MatMulNBits")
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), name))
    path.unlink()
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}_data")
