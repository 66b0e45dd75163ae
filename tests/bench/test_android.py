"""The Android driver: parsers on transcripts of the real tools, and a phone behind a server of the tests.

No phone takes part: `fakes/adb_server.py` speaks the protocol of adb's server and runs the driver's own shell
commands in a folder, so quoting, files, background processes and lost connections are real, the numbers are
the transcripts'.
"""

from __future__ import annotations

import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
from fake_phone import FAST, SERIAL, transcript

from phantom_edge.bench import android
from phantom_edge.bench.android import adb as adb_module
from phantom_edge.bench.android import parse, phone, runner
from phantom_edge.bench.android.adb import Adb, LostError
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.errors import CheckError, InputError

pytestmark = pytest.mark.slow


def connect(step=lambda _: None) -> Adb:
    return Adb.connect(None, step)


# --- what the tools print


def test_devices():
    assert parse.devices(transcript("devices-two")) == [
        parse.Listed(SERIAL, "device", "Pixel_8"),
        parse.Listed("R5CX10ABCDE", "device", "SM_S921B"),
    ]


def test_battery_and_heat():
    assert parse.battery(transcript("battery")) == {
        "powered": True,
        "level": 84,
        "celsius": 29.1,
        "volts": 4.213,
        "charge": 3412000,
    }
    assert parse.battery("Current Battery Service state:\n  level: 90\n  Charge counter: 0\n") == {
        "powered": False,
        "level": 90,
    }
    assert parse.thermal(transcript("thermal")) == {"status": "light", "celsius": 31.25}
    assert parse.thermal(transcript("thermal-cached")) == {"status": "severe", "celsius": 41.5}
    assert parse.thermal("Can't find service: thermalservice") == {}


def test_space():
    assert parse.free_bytes(transcript("df")) == 53553724 * 1024
    assert parse.free_bytes("df: /data: Permission denied") is None


def test_the_runners_numbers():
    found = parse.runner_stats(transcript("observer"))
    assert (found["prompt_tokens"], found["generated_tokens"]) == (271, 99)
    assert parse.runner_stats(transcript("observer-new"))["first_token_ms"] == 1761118127175
    assert (
        parse.runner_stats(transcript("observer-load") + transcript("observer"))["prompt_tokens"] == 271
    )  # the last
    with pytest.raises(CheckError, match=r"no PyTorchObserver line; it ended with: Segmentation fault"):
        parse.runner_stats("loading\nSegmentation fault\n\n")
    with pytest.raises(CheckError, match=r"of another version .lacks 'generated_tokens'"):
        parse.runner_stats('PyTorchObserver {"prompt_tokens":1}')
    assert parse.runner_flags(transcript("runner-help")) >= {"model_path", "image_path", "warmup", "undefok"}


def test_rows_of_one_run_of_the_runner():
    run = Run({}, {}, {})
    runner.add(run, parse.runner_stats(transcript("observer-load")), 5, first=True)
    assert run.value("decode@14") == pytest.approx(54 / 1.025)  # as the runner's own report says: 52.68
    assert run.value("first_token") == pytest.approx(0.164)
    assert run.value("load") == pytest.approx(2.277)
    run = Run({}, {}, {})
    runner.add(run, parse.runner_stats(transcript("observer")), None, first=False)
    assert run.value("first_token") is None
    assert set(run.missing) == {"load", "memory"}


def test_energy_only_where_it_was_counted():
    before, after = (
        parse.battery(transcript("battery-unplugged")),
        parse.battery(transcript("battery-unplugged")),
    )
    after["charge"] -= 36_000
    run = Run({}, {}, {})
    runner.energy(run, before, after, tokens=1000)
    assert run.value("energy") == pytest.approx(0.036 * 3600 * 4.213 / 1000)
    for change, why in (
        ({"charge": before["charge"] - 100}, "less than 5 mAh"),
        ({"powered": True}, "was charging"),
    ):
        run = Run({}, {}, {})
        runner.energy(run, before, after | change, tokens=1000)
        assert why in run.missing["energy"]
        assert "energy" not in run.samples
    del after["charge"]
    runner.energy(run, before, after, tokens=1000)
    assert "no charge counter" in run.missing["energy"]


# --- the device


def test_the_only_device_or_the_one_that_is_named(device):
    assert connect().serial == SERIAL
    device.devices("devices-two")
    with pytest.raises(InputError, match=r"several devices: 3A021JEHN01234 .Pixel_8., R5CX10ABCDE"):
        connect()
    assert Adb.connect("R5CX10ABCDE", print).serial == "R5CX10ABCDE"
    with pytest.raises(InputError, match="no device 'nowhere'; adb sees 3A021"):
        Adb.connect("nowhere", print)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("devices-none", "adb sees no device; plug a phone in"),
        ("devices-unauthorized", "is unauthorized; unlock the phone and accept"),
        ("devices-offline", "is offline; unplug it"),
        ("devices-no-permissions", "is no permissions; add a udev rule"),
    ],
)
def test_a_device_that_cannot_be_used(device, listed, message):
    device.devices(listed)
    with pytest.raises(InputError, match=message):
        connect()


def test_an_adb_server_that_does_not_answer(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    (tmp_path / "adb").write_text("#!/bin/sh\nexit 1\n")  # adbutils starts this one
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "adb"))
    with pytest.raises(InputError, match=r"no adb server answers .*run `adb devices`"):
        connect()


def test_what_the_phone_is(device):
    facts = phone.describe(connect())
    assert facts["name"] == "Google Pixel 8"
    assert (facts["system"], facts["abi"], facts["soc"]) == (
        "Android 15 (API 35)",
        "arm64-v8a",
        "Google Tensor G3",
    )
    device.program("getprop", "[ro.build.version.sdk]: [22]\n[ro.build.version.release]: [5.1]\n")
    with pytest.raises(InputError, match=r"runs Android 5.1 .API 22.; ExecuTorch needs API 23"):
        phone.describe(connect())


def test_a_lost_connection_is_waited_for(device):
    said = []
    adb = connect(said.append)
    device.fault("echo here", "lost", times=2)
    assert adb.shell("echo here") == "here\n"
    assert said == [f"{SERIAL} is gone; waiting for it"] * 2
    device.fault("echo here", "lost", times=99)
    with pytest.raises(LostError, match="broke 5 times"):
        adb.shell("echo here")


def test_an_output_that_was_cut_off_is_asked_for_again(device):
    """adb itself ends with 0 when the connection breaks in the middle of a command."""
    adb = connect()
    device.fault("echo one", "cut")
    assert adb.shell("echo one; echo two") == "one\ntwo\n"
    assert device.calls.count("echo one") == 2


def test_an_old_phone_sends_line_ends_of_a_terminal(device):
    device.script("getprop", r"printf '[a]: [b]\r\n'")
    assert connect().shell("getprop") == "[a]: [b]\n"


def test_a_device_that_stays_away_is_said(device, monkeypatch):
    monkeypatch.setattr(adb_module, "RECONNECT", 1)
    adb = connect()
    device.fault("echo", "away")
    with pytest.raises(LostError, match="did not come back within 1 s"):
        adb.shell("echo here")


def test_a_failing_command_is_no_lost_device(device):
    with pytest.raises(CheckError, match="failed: ls: cannot access 'nowhere'") as caught:
        connect().shell("ls nowhere")
    assert not isinstance(caught.value, LostError)
    assert connect().shell("ls nowhere", check=False) == ""


def test_a_copy_that_was_cut_off_is_made_again(device, tmp_path):
    (tmp_path / "big file").write_bytes(bytes(range(256)) * 1000)
    adb = connect()
    device.fault("^push", "half")
    adb.push(tmp_path / "big file", "/data/local/tmp/big file")
    assert (device.root / "fs/data/local/tmp/big file").read_bytes() == (tmp_path / "big file").read_bytes()
    assert device.calls.count(" push ") == 2


def test_not_enough_space(device, bundles, program):
    device.program("df", transcript("df").replace("53553724", "100"))
    with pytest.raises(
        InputError, match=r"has 0.00 GB free at /data/local/tmp/phantom-bench, the bundle needs"
    ):
        bench([bundles["android"]], "adb", FAST, Options(runner=program))
    assert device.left == []


def test_commands_are_quoted_and_come_back_after_every_kind_of_loss(device):
    steps = []
    adb = connect(steps.append)
    assert adb.shell("echo 'a  b' \"$((1 + 1))\"; printf c") == "a  b 2\nc"
    assert adb.shell("echo out; echo err >&2") == "out\n"
    assert adb.shell("echo err >&2") == ""
    for how in ("lost", "cut"):
        device.fault("echo one", how)
        assert adb.shell("echo one; echo two") == "one\ntwo\n"
    assert steps == [f"{SERIAL} is gone; waiting for it"] * 2


def test_the_runner_end_to_end(device, bundles, program):
    steps = []
    device.stock_runner("observer", seconds=0.6)  # long enough for its memory to be looked at
    settings = Settings(processes=2, repeats=1, steps=8, depths=(0, 150), threads=4)
    (run,) = bench(
        [bundles["android"]], f"adb:{SERIAL}", settings, Options(runner=program), step=steps.append
    ).runs
    # Two processes, each the question alone and one grown prompt: the transcript's numbers, for every one of
    # them.
    assert run.samples["decode@271"] == [pytest.approx(99 / 1.21)] * 4
    assert run.samples["first_token"] == [pytest.approx(0.385)] * 2
    assert all(peak > 100_000 for peak in run.samples["memory"])
    assert run.device["name"] == "Google Pixel 8"
    assert run.conditions["before: thermal status"] == "light"
    assert {"vision", "prefill", "preprocess", "load", "drift", "energy"} <= set(run.missing)
    asked = (device.root / "asked").read_text().splitlines()
    assert len(asked) == 4
    assert all("--model_path=model.pte" in line and "--cpu_threads=4" in line for line in asked)
    assert len(asked[1]) > len(asked[0]) + 100  # the grown prompt
    assert {"model.pte", "tokenizer.json", "picture.png"} <= set((device.root / "saw").read_text().split())
    assert any("pushing model.pte" in step for step in steps)
    assert device.left == []


def test_the_runner_survives_a_lost_connection(device, bundles, program):
    device.stock_runner("observer", seconds=0.6)
    device.fault("cat .*/rc", "lost", times=2)
    (run,) = bench([bundles["android"]], "adb", FAST, Options(runner=program)).runs
    assert len(run.samples["decode@271"]) == 2
    assert len((device.root / "asked").read_text().splitlines()) == 2  # it was not started again
    assert device.left == []


def test_a_runner_that_hangs_is_ended(device, bundles, program, monkeypatch):
    monkeypatch.setattr(runner, "SILENCE", 2)
    running = device.root / "running"
    script = (device.root / "runner").read_text()
    (device.root / "runner").write_text(script.replace("sleep 0.3", f"echo $$ > {running}; exec sleep 60"))
    with pytest.raises(CheckError, match="did not end within 2 s"):
        bench([bundles["android"]], "adb", FAST, Options(runner=program))
    end = time.monotonic() + 10
    while Path(f"/proc/{running.read_text().strip()}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert device.left == []


def test_a_connection_lost_while_starting_starts_it_once(device, bundles, program):
    device.fault("nohup", "lost")
    bench([bundles["android"]], "adb", Settings(processes=1, depths=(0,)), Options(runner=program))
    assert len((device.root / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"output": "observer", "help_text": "runner-text-help"}, InputError, "a text runner .llama_main."),
        ({"output": "observer", "help_text": "df"}, InputError, "no runner that the phone can start"),
        ({"output": "df"}, CheckError, "no PyTorchObserver line; it ended with: /dev/block"),
        ({"output": "df", "status": 134}, CheckError, "the runner ended with 134: /dev/block"),
    ],
)
def test_a_runner_of_another_kind_or_one_that_fails(device, bundles, program, arguments, error, message):
    device.stock_runner(seconds=0, **arguments)
    with pytest.raises(error, match=message):
        bench([bundles["android"]], "adb", FAST, Options(runner=program))
    assert device.left == []


def test_a_runner_for_another_processor(device, bundles, tmp_path):
    device.program("getprop", transcript("getprop").replace("arm64-v8a", "armeabi-v7a"))
    with pytest.raises(InputError, match=r"built for (x86_64|arm64-v8a), the phone runs armeabi-v7a"):
        bench([bundles["android"]], "adb", FAST, Options(runner=Path(sys.executable).resolve()))
    script = tmp_path / "runner.sh"
    script.write_text("#!/bin/sh\necho 1\n" * 10)
    with pytest.raises(InputError, match="no program for Android"):
        bench([bundles["android"]], "adb", FAST, Options(runner=script))
    with pytest.raises(InputError, match="No such file"):
        bench([bundles["android"]], "adb", FAST, Options(runner=tmp_path / "none"))


def test_soaking_plots_speed_and_heat(device, bundles, program, monkeypatch):
    device.stock_runner("observer", seconds=0)
    settings = Settings(processes=1, depths=(0,), soak=0.02)
    (run,) = bench([bundles["android"]], "adb", settings, Options(runner=program)).runs
    assert len(run.curves["soak"]) >= 1
    assert all(rate == pytest.approx(99 / 1.21) for _, rate in run.curves["soak"])
    assert {degrees for _, degrees in run.curves["temperature"]} == {31.25}
    assert "was charging" in run.missing["energy"]


def test_a_phone_that_slows_itself_down_is_said(device, bundles, program):
    (device.root / "thermal").write_text(transcript("thermal-cached"))
    (run,) = bench(
        [bundles["android"]], "adb", Settings(processes=1, depths=(0,)), Options(runner=program)
    ).runs
    assert any("slowing itself down" in note for note in run.notes)


# --- models and options


def test_a_bundle_for_something_else(device, bundles, program):
    with pytest.raises(InputError, match=r"a bundle for web .onnx.; an Android phone runs ExecuTorch"):
        bench([bundles["web"]], "adb", FAST, Options(runner=program))
    with pytest.raises(InputError, match="phantom-nano: not a bundle"):
        bench([None], "adb", FAST)
    with pytest.raises(InputError, match="two ways to measure"):
        bench([bundles["android"]], "adb", FAST, Options(runner=program, app="x.y"))


def test_a_changed_bundle_is_not_pushed(device, bundles, program, tmp_path):
    copy = shutil.copytree(bundles["android"], tmp_path / "copy")
    with (copy / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(InputError, match=r"tokenizer.json is not the file that was exported"):
        bench([copy], "adb", FAST, Options(runner=program))
    assert " push " not in device.calls if (device.root / "calls").exists() else True


def test_prompts_are_grown_to_a_depth(bundles):
    from phantom_edge.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(bundles["android"] / "tokenizer.json")
    for wanted in (0, 40, 300):
        count = len(tokenizer.encode(runner.grown(tokenizer, "What colour is it?", wanted)))
        least = len(tokenizer.encode("What colour is it?"))
        assert max(least, wanted - 8) <= count <= max(least, wanted)


def test_where_the_files_go():
    assert android.FOLDER.startswith("/data/local/tmp/")
