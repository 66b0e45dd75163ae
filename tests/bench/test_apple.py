"""The iOS driver: devicectl's own output, and a program that speaks its command line. No Mac and no phone
take part.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from phantom_edge.bench.apple import FOLDER, parse
from phantom_edge.bench.apple.devicectl import Devicectl
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.settings import Settings
from phantom_edge.errors import CheckError, InputError

HERE = Path(__file__).parent
TRANSCRIPTS = HERE / "transcripts"
FAST = Settings(processes=2, repeats=1, steps=8, depths=(0,))
IPHONE = "5B4C4E0B-0000-4000-8000-00000000A001"


@pytest.fixture
def device(tmp_path, monkeypatch) -> Path:
    root, programs = tmp_path / "iphone", tmp_path / "programs"
    (root / "container").mkdir(parents=True)
    programs.mkdir()
    (programs / "xcrun").write_text(f'#!/bin/sh\nexec {sys.executable} -IS {HERE}/fakes/xcrun "$@"\n')
    (programs / "xcrun").chmod(0o755)
    shutil.copy(TRANSCRIPTS / "devicectl-devices.json", root / "devices.json")
    shutil.copy(TRANSCRIPTS / "devicectl-launched.json", root / "launch.json")
    says(root, '{"step": "warming up"}', told_run())
    monkeypatch.setenv("FAKE_IPHONE", str(root))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return root


def says(root: Path, *lines: str) -> None:
    (root / "lines").write_text("\n".join(lines))


def told_run() -> str:
    samples = {"vision": [0.2], "prefill": [0.1], "first_token": [0.31], "decode@0": [40.0], "memory": [7e8]}
    run = {"runtime": {"version": "iOS 18.1"}, "model": {"prompt_tokens": 84}, "samples": samples}
    return json.dumps({"run": run | {"conditions": {"checked": "CHECKED"}}}).replace('"CHECKED"', "CHECKED")


def edit(root: Path, change) -> None:
    told = json.loads((root / "devices.json").read_text())
    change(told["result"]["devices"])
    (root / "devices.json").write_text(json.dumps(told))


def test_devices_are_read():
    found = parse.devices(json.loads((TRANSCRIPTS / "devicectl-devices.json").read_text()))
    assert [(d.model, d.version, d.reachable) for d in found] == [
        ("iPhone 16 Pro", "18.1", True),
        ("iPad mini (5th generation)", "17.6", False),
    ]
    assert parse.devices({}) == []
    assert parse.devices({"result": {"devices": [{}]}})[0].paired is False


def test_the_innermost_reason_is_told():
    told = json.loads((TRANSCRIPTS / "devicectl-refused.json").read_text())
    with pytest.raises(CheckError, match=r"The app org.phantomedge.app is not installed"):
        parse.outcome(told)
    with pytest.raises(CheckError, match="no reason given"):
        parse.outcome({})
    parse.outcome({"info": {"outcome": "success"}})
    assert parse.exit_code(json.loads((TRANSCRIPTS / "devicectl-launched.json").read_text())) == 9


def test_the_app_end_to_end(device, bundles):
    steps = []
    (run,) = bench([bundles["ios"]], "ios", FAST, step=steps.append).runs
    assert run.samples["decode@0"] == [40, 40]
    assert run.summary("prefill_rate").median == pytest.approx(840)
    assert run.device["name"] == "iPhone 16 Pro"
    assert run.conditions["checked"] is False  # the job that was pushed last: only the first process checks
    assert "process 1 of 2: warming up" in steps
    pushed = device / "container" / FOLDER
    manifest = json.loads((pushed / "manifest.json").read_text())
    for name, entry in manifest["files"].items():  # every file lies where the manifest says, folders and all
        assert (pushed / name).stat().st_size == entry["bytes"]
    calls = [json.loads(line) for line in (device / "calls").read_text().splitlines()]
    launches = [c for c in calls if "launch" in c]
    assert len(launches) == 2
    assert launches[0][launches[0].index("--device") + 1] == IPHONE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.clear(), "Xcode knows no iPhone or iPad"),
        (
            lambda d: d[0]["connectionProperties"].update(pairingState="unpaired"),
            "Test iPhone cannot be used: it is not",
        ),
        (lambda d: d[0]["connectionProperties"].update(tunnelState="unavailable"), "it cannot be reached"),
        (lambda d: d[0]["deviceProperties"].update(developerModeStatus="disabled"), "developer mode is off"),
        (
            lambda d: d[1]["connectionProperties"].update(tunnelState="connected"),
            "several devices: Test iPhone",
        ),
    ],
)
def test_a_device_that_cannot_be_used(device, change, message):
    edit(device, change)
    with pytest.raises(InputError, match=message):
        Devicectl.connect(None)


def test_a_device_by_any_of_its_names(device):
    for name in (IPHONE, "00008140-001234560E12001C", "Test iPhone"):
        assert Devicectl.connect(name).device.identifier == IPHONE
    with pytest.raises(InputError, match="no iPhone or iPad 'nowhere'; Xcode knows Test iPhone"):
        Devicectl.connect("nowhere")


def test_an_old_system(device, bundles):
    edit(device, lambda d: d[0]["deviceProperties"].update(osVersionNumber="17.6"))
    with pytest.raises(InputError, match=r"runs iOS 17.6; these bundles need iOS 18"):
        bench([bundles["ios"]], "ios", FAST)


def test_an_app_that_is_not_there_or_dies(device, bundles):
    says(device, "Application terminated due to signal 9.")
    with pytest.raises(CheckError, match="ended with 9 and no result"):
        bench([bundles["ios"]], "ios", FAST)
    says(device, '{"error": "the golden check failed", "code": 1}')
    with pytest.raises(CheckError, match="the golden check failed"):
        bench([bundles["ios"]], "ios", FAST)
    shutil.copy(TRANSCRIPTS / "devicectl-refused.json", device / "refuse")
    with pytest.raises(
        CheckError, match=r"could not be copied to org.phantomedge.app on .*: .* not installed"
    ):
        bench([bundles["ios"]], "ios", FAST)


def test_no_mac_or_an_old_xcode(monkeypatch, tmp_path, bundles):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs Xcode's command-line tools, on a Mac"):
        bench([bundles["ios"]], "ios", FAST)
    (tmp_path / "xcrun").write_text(
        '#!/bin/sh\necho "xcrun: error: unable to find utility \\"devicectl\\"" >&2\nexit 72\n'
    )
    (tmp_path / "xcrun").chmod(0o755)
    with pytest.raises(InputError, match=r"unable to find utility .* it needs Xcode 15"):
        bench([bundles["ios"]], "ios", FAST)


def test_a_bundle_for_something_else(device, bundles):
    with pytest.raises(InputError, match=r"a bundle for android .executorch.; an iPhone runs Core ML"):
        bench([bundles["android"]], "ios", FAST)
    with pytest.raises(InputError, match="not a bundle"):
        bench([None], "ios", FAST)
    with pytest.raises(InputError, match="--device ios takes no --runner"):
        bench([bundles["ios"]], "ios", FAST, Options(runner=Path("x")))
