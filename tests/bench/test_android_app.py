"""The Android driver with an app on the phone: on the CPU, and with an NPU's part of a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_phone import APP, FAST, Phone, transcript
from npu_bundles import write_npu_bundle

from phantom_edge.bench.devices import Options, bench
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.npu import chip_files, part_bytes
from phantom_edge.errors import CheckError, InputError

pytestmark = pytest.mark.slow


def app_that(device: Phone, lines: list[str], pid: str = "") -> None:
    """An installed app: `am start` makes it write these lines."""
    folder = device.root / "fs/sdcard/Android/data" / APP / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (device.root / "lines").write_text("\n".join(lines) + "\n")
    start = f'cp "$(echo "$@" | sed "s/.*--es folder //")/job.json" {device.root}/job'
    start += f"; cat {device.root}/lines >> {folder}/bench.jsonl"
    device.script("am", f'case "$1" in start) {start}; echo Starting: Intent; echo Status: ok;; esac')
    device.script("pidof", f"echo {pid}")


def run_line() -> str:
    samples = {
        "vision": [0.4],
        "prefill": [0.2],
        "first_token": [0.61],
        "decode@0": [30.0, 31.0],
        "memory": [9e8],
    }
    return json.dumps(
        {"run": {"runtime": {"version": "1.4.1"}, "model": {"prompt_tokens": 84}, "samples": samples}}
    )


def test_the_app_end_to_end(device, bundles):
    app_that(device, ['{"step": "warming up"}', "I/noise: not json", run_line()])
    steps = []
    (run,) = bench([bundles["android"]], "adb", FAST, step=steps.append).runs
    assert run.samples["decode@0"] == [30, 31] * 2
    assert run.summary("prefill_rate").median == pytest.approx(420)
    assert run.runtime["version"] == "1.4.1"
    assert "process 2 of 2: warming up" in steps
    assert json.loads((device.root / "job").read_text()) == {
        "settings": FAST.to_dict(),
        "check": False,  # of the second process; the first checks the golden outputs
        "soak": False,
    }
    assert device.left == []


def test_the_app_is_not_there_does_not_start_or_dies(device, bundles):
    device.script("pm", "true")
    with pytest.raises(InputError, match=f"has no app {APP}; install one"):
        bench([bundles["android"]], "adb", FAST)
    device.script("pm", f"echo package:{APP}")
    device.script("am", "echo 'Error type 3'; echo 'Error: Activity class {x} does not exist.'")
    with pytest.raises(CheckError, match="could not be started: Error type 3"):
        bench([bundles["android"]], "adb", FAST)
    app_that(device, ['{"step": "loading"}'])
    with pytest.raises(CheckError, match="ended without a result; see `adb logcat`"):
        bench([bundles["android"]], "adb", FAST)
    app_that(device, ['{"error": "golden check failed", "code": 1}'], pid="77")
    with pytest.raises(CheckError, match="golden check failed"):
        bench([bundles["android"]], "adb", FAST)
    assert device.left == []


# --- the NPU


@pytest.fixture(scope="session")
def npu(bundles, tmp_path_factory) -> Bundle:
    return write_npu_bundle(
        Bundle.open(bundles["android"]), tmp_path_factory.mktemp("npu") / "nano-snapdragon"
    )


def chip(device: Phone, maker: str, model: str) -> None:
    text = transcript("getprop").replace("[Google]", f"[{maker}]").replace("[Tensor G3]", f"[{model}]")
    device.program("getprop", text)


def on_npu(processor: str = "NPU (ONNX Runtime 1.27.0, QNN)") -> str:
    line = json.loads(run_line())
    line["run"]["runtime"]["processor"] = processor
    return json.dumps(line)


def test_the_part_of_the_phones_chip_is_pushed_and_named(device, bundles, npu):
    chip(device, "QTI", "SM8650")
    app_that(device, [on_npu()])
    steps = []
    (run,) = bench([bundles["android"]], "adb", FAST, Options(npu=npu.folder), step=steps.append).runs
    assert json.loads((device.root / "job").read_text())["processor"] == "npu"
    assert run.runtime["processor"].startswith("NPU")
    assert run.model["npu"] == "nano-snapdragon"
    assert run.model["npu graphs"] == "compiled for SM8650"
    pushed = {step.split()[1].rstrip(",") for step in steps if step.startswith("pushing")}
    assert {f"npu/{name}" for name in ("manifest.json", *chip_files(npu.manifest, "SM8650"))} <= pushed
    assert not [name for name in pushed if "sm8750" in name or name == "npu/npu/prefill.onnx"]
    both = run.value("bundle")
    assert both == Bundle.open(bundles["android"]).bytes + part_bytes(npu)["SM8650"]
    assert device.left == []


def test_a_chip_that_was_not_compiled_for_compiles_itself(device, bundles, npu):
    chip(device, "QTI", "SM8550")
    app_that(device, [on_npu()])
    (run,) = bench([bundles["android"]], "adb", FAST, Options(npu=npu.folder)).runs
    assert run.model["npu graphs"] == "compiled by the phone"


def test_without_a_part_the_cpu_is_named(device, bundles):
    app_that(device, [run_line()])
    (run,) = bench([bundles["android"]], "adb", FAST).runs
    assert run.runtime["processor"] == "CPU"
    assert "processor" not in json.loads((device.root / "job").read_text())


def test_an_app_that_fell_back_is_an_error(device, bundles, npu):
    chip(device, "QTI", "SM8650")
    for line in (run_line(), on_npu("CPU")):
        app_that(device, [line])
        with pytest.raises(CheckError, match="left the NPU's part aside; build it again from this release"):
            bench([bundles["android"]], "adb", FAST, Options(npu=npu.folder))
    app_that(device, ['{"error": "the NPU does not load prefill.onnx: 1002", "code": 1}'], pid="77")
    with pytest.raises(CheckError, match=r"does not load prefill\.onnx"):
        bench([bundles["android"]], "adb", FAST, Options(npu=npu.folder))
    assert device.left == []


def test_a_part_that_cannot_be_measured(device, bundles, npu, program, tmp_path):
    options = Options(npu=npu.folder)
    with pytest.raises(InputError, match=r"chip is Google Tensor G3, .* is for SM8650, SM8750"):
        bench([bundles["android"]], "adb", FAST, options)
    chip(device, "QTI", "SM8650")
    with pytest.raises(InputError, match="holds nothing for an NPU"):
        bench([bundles["android"]], "adb", FAST, Options(npu=Path(bundles["android"])))
    other = write_npu_bundle(Bundle.open(bundles["android"]), tmp_path / "other", context=999)
    with pytest.raises(InputError, match="a longer context"):
        bench([bundles["android"]], "adb", FAST, Options(npu=other.folder))
    with pytest.raises(InputError, match="--runner knows no NPU"):
        bench([bundles["android"]], "adb", FAST, Options(runner=program, npu=npu.folder))
    with pytest.raises(InputError, match="--device local takes no --npu"):
        bench([bundles["android"]], "local", FAST, options)
    assert " push " not in device.calls
