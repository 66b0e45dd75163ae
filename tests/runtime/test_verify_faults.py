"""Faults of every kind are put into finished bundles, hashes corrected: each fails its check."""

from __future__ import annotations

import importlib
import shutil

import pytest
from faults import correct_hashes
from qnn_bundles import emulator

from phantom_edge.bundle.folder import Bundle
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.pipeline.npu import NpuOptions
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.verify import verify
from phantom_edge.targets import FORMATS

pytestmark = pytest.mark.slow

MODULES = ("bundle", "onnx", "onnx_qnn", "executorch", "coreml", "coreml_delegate", "coreai")
FAULTS = [fault for name in MODULES for fault in importlib.import_module(f"faults_{name}").FAULTS]
TOKENS = 16
CONTEXT = 640  # more than one chunk of 512
MODEL = "qwen2"


@pytest.fixture(scope="module")
def bundle_of(tiny_dirs, tmp_path_factory):
    """A finished bundle of each target, made when it is first asked for; its own verification is right."""
    root, made = tmp_path_factory.mktemp("faults"), {}

    def make(target):
        if target not in made:
            made[target] = export(_request(target, tiny_dirs[MODEL], root / target.replace(":", "-"))).bundle
            report = verify(made[target], tokens=_tokens(target))
            assert report.ok, report.verdict
        return made[target]

    return make


def _marks(fault):
    return [emulator] if fault.target.startswith("snapdragon") else []


def _tokens(target):
    return 2 if target.startswith("snapdragon") else TOKENS  # an emulator is slow


NPU = {
    "all": NpuOptions("all"),
    "compiled": NpuOptions("all", soc=("sm8850,sm8650",)),
    "int8-cache": NpuOptions("all"),
}


def _request(target, model, output):
    name, _, variant = target.partition(":")
    if name == "snapdragon":
        return ExportRequest(
            name,
            str(model),
            output=output,
            kv_cache="int8" if variant == "int8-cache" else "float",
            npu=NPU.get(variant, NpuOptions()),
            context=128,
            verify=False,
        )
    return ExportRequest(
        target=name,
        model=str(model),
        output=output,
        format=variant if variant in FORMATS else None,
        quantize=QuantizeOptions(None if variant in FORMATS or variant == "int8-cache" else variant or None),
        kv_cache="int8" if variant == "int8-cache" else "float",
        context=CONTEXT,
        verify=False,
    )


def test_there_are_enough_faults_of_every_format():
    assert len(FAULTS) >= 40
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)
    assert {fault.target.partition(":")[0] for fault in FAULTS} >= {
        "ios",
        "android",
        "web",
        "webgpu",
        "desktop",
        "snapdragon",
    }


@pytest.mark.parametrize("fault", [pytest.param(f, id=str(f), marks=_marks(f)) for f in FAULTS])
def test_a_fault_fails_its_check(bundle_of, tmp_path, fault):
    folder = shutil.copytree(bundle_of(fault.target).folder, tmp_path / "spoiled")
    fault.inject(folder)
    correct_hashes(folder)
    report = verify(Bundle.open(folder), tokens=_tokens(fault.target))
    failed = [check.name for check in report.failures]
    assert any(fault.check in name for name in failed), failed or "nothing failed"
