"""This machine: every runtime measured end to end in fresh processes. Structure is asserted, never a time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from phantom_edge.bench import local, protocol
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.measure import decode_steps, first_token
from phantom_edge.bench.report import Results
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.bench.task import Task
from phantom_edge.cli import main
from phantom_edge.errors import CheckError, InputError
from phantom_edge.runtime.session import Session

pytestmark = pytest.mark.slow

QUICK = Settings(processes=1, repeats=2, warmup=1, steps=3, depths=(0, 100, 9000), threads=1)
ROWS = {"first_token", "preprocess", "vision", "prefill", "prefill_rate", "decode@0", "decode@100"}
ROWS |= {"load", "memory", "libraries", "resident", "resident_trimmed", "bundle"}


def checked(run: Run, settings: Settings, tiles: int = 1) -> None:
    """What holds of every measured run."""
    assert set(run.keys) == ROWS
    counts = {key: len(values) for key, values in run.samples.items()}
    repeats, steps = settings.processes * settings.repeats, settings.processes * settings.steps
    assert counts["first_token"] == counts["vision"] == counts["prefill"] == repeats
    assert counts["decode@0"] == counts["decode@100"] == steps
    assert counts["load"] == counts["memory"] == settings.processes
    assert all(value > 0 for values in run.samples.values() for value in values)
    parts = zip(run.samples["preprocess"], run.samples["vision"], run.samples["prefill"], strict=True)
    assert run.samples["first_token"] == pytest.approx([sum(part) for part in parts])
    assert max(run.samples["libraries"]) < min(run.samples["memory"])
    for peak, resident, trimmed in zip(
        *(run.samples[key] for key in ("memory", "resident", "resident_trimmed")), strict=True
    ):
        assert trimmed < resident <= peak
    assert run.model["tiles"] == tiles
    assert run.runtime["threads"] == 1
    assert set(run.missing) == {"drift", "energy", "decode@9000"}


def test_bundles_take_turns_each_in_processes_of_its_own(bundles):
    steps, settings = [], replace(QUICK, processes=2)
    models = [bundles["desktop"], bundles["web"]]
    for run in bench(models, settings=settings, step=steps.append).runs:
        checked(run, settings)
        assert run.runtime["name"] == "onnxruntime"
        assert run.conditions["golden"]["tokens"].endswith(" of 16")
        assert run.conditions["golden"]["image tokens"] < 0.1
    # In turns, so that a drift of the machine meets both alike.
    order = [step.split(":")[0] for step in steps if step.endswith("loading")]
    name, other = (model.name for model in models)
    assert order == [f"{n}, process {i} of 2" for i in (1, 2) for n in (name, other)]


def test_executorch(bundles):
    (run,) = bench([bundles["android"]], settings=QUICK).runs
    checked(run, QUICK)
    assert run.runtime["name"] == "executorch"
    assert run.conditions["golden"]["image tokens"] < 0.1


def test_the_checkpoint_in_torch_and_a_soak():
    settings = replace(QUICK, soak=0.01)
    (run,) = bench([None], settings=settings).runs
    assert run.runtime["name"] == "torch"
    assert run.model["name"] == "phantom-nano"
    assert any("reference" in note for note in run.notes)
    assert run.curves["soak"][-1][0] >= 0.6
    assert all(rate > 0 for _, rate in run.curves["soak"])
    assert ("drift" in run.samples) != ("drift" in run.missing)
    assert ("energy" in run.samples) != ("energy" in run.missing)  # as the machine has a counter or none
    assert set(run.keys) - {"drift", "energy"} == ROWS - {"resident_trimmed"}


def test_the_core_ml_interpreter_says_that_it_is_one(bundles):
    settings = replace(QUICK, threads=None, repeats=1, steps=2, depths=(0,))
    (run,) = bench([bundles["ios"]], settings=settings).runs
    if sys.platform != "darwin":
        assert run.runtime["name"].startswith("mil-interpreter")
        assert local.INTERPRETED in run.notes
    assert len(run.samples["decode@0"]) == 2
    with pytest.raises(InputError, match="chooses its threads itself"):
        bench([bundles["ios"]], settings=QUICK)


def test_another_picture_is_its_own_tiles(tmp_path, tiny_dirs, bundles):
    from PIL import Image

    Image.new("RGB", (900, 450), (10, 90, 200)).save(tmp_path / "wide.jpg")
    session = Session.open(next(iter(tiny_dirs.values())))
    golden, wide = Task.of(session, tmp_path), Task.of(session, tmp_path, str(tmp_path / "wide.jpg"))
    assert (golden.tiles, wide.tiles) == (1, 3)
    assert len(wide.ids) == len(golden.ids) + 2 * session.spec.tokens_per_tile
    parts = first_token(session, wide)
    assert parts["first_token"] == pytest.approx(parts["preprocess"] + parts["vision"] + parts["prefill"])
    assert len(decode_steps(session, 20, replace(QUICK, steps=5))) == 5
    with pytest.raises(InputError, match=r"none.png"):
        bench([bundles["desktop"]], settings=QUICK, options=Options(image="none.png"))


def test_the_processors_clock_does_not_count_waiting(tmp_path, tiny_dirs, monkeypatch):
    session = Session.open(next(iter(tiny_dirs.values())))
    decode, settings = session.backend.decode, replace(QUICK, steps=3, warmup=0)

    def waiting(embeddings, cache):
        time.sleep(0.2)
        return decode(embeddings, cache)

    monkeypatch.setattr(session.backend, "decode", waiting)
    assert min(decode_steps(session, 0, settings)) >= 0.2
    assert max(decode_steps(session, 0, replace(settings, clock="processor"))) < 0.2
    with pytest.raises(InputError, match="--device adb reads the clock on the wall only"):
        bench([tmp_path], "adb", replace(settings, clock="processor"))


def test_nothing_wrong_is_timed(bundles, tmp_path, monkeypatch):
    """An artifact whose weights are damaged but whose hashes fit: the golden check stops it."""
    import shutil

    from phantom_edge.checkpoint.pretrained import file_sha256

    folder = shutil.copytree(bundles["desktop"], tmp_path / "damaged")
    path = max((folder / "onnx").iterdir(), key=lambda p: p.stat().st_size * ("vision" in p.name))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][f"onnx/{path.name}"]["sha256"] = file_sha256(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckError, match=r"the golden check failed: image_features\.rms is"):
        bench([folder], settings=QUICK)


def test_every_bad_model_is_one_line(bundles, tmp_path):
    for model, message in (
        ("nowhere", "no such folder"),
        (tmp_path, "neither a bundle .no manifest.json. nor a checkpoint .no config.json."),
    ):
        with pytest.raises(InputError, match=message):
            bench([str(model)], settings=QUICK)
    with pytest.raises(InputError, match="did you mean 'browser'"):
        bench([None], "brwser")
    with pytest.raises(InputError, match="--device local takes no --runner"):
        bench([None], options=Options(runner=Path("x")))


def test_a_process_that_dies_is_one_line(monkeypatch, tmp_path):
    worker = tmp_path / "python"
    worker.write_text(
        "#!/bin/sh\necho '{\"step\": \"loading\"}'\necho 'Killed: out of memory' >&2\nexit 137\n"
    )
    worker.chmod(0o755)
    monkeypatch.setattr(local.sys, "executable", str(worker))
    with pytest.raises(CheckError, match="the process that was timed ended early: Killed: out of memory"):
        bench([None], settings=QUICK)
    worker.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(CheckError, match="it was killed, most likely for its memory"):
        bench([None], settings=QUICK)


def test_the_protocol_passes_over_noise():
    lines = [
        "[W] loading\n",
        "{not json}\n",
        '{"step": "one"}\n',
        '["list"]\n',
        '{"run": {"samples": {"load": [1]}}}\n',
    ]
    said = []
    assert protocol.read(lines, said.append).samples == {"load": [1.0]}
    assert said == ["one"]
    assert protocol.read([], said.append) is None
    with pytest.raises(InputError, match="bad"):
        protocol.read(['{"error": "bad", "code": 2}'], said.append)
    with pytest.raises(CheckError, match="wrong"):
        protocol.read(['{"error": "wrong"}'], said.append)


# --- the command


def command(*arguments, cwd=None) -> subprocess.CompletedProcess:
    program = [sys.executable, "-m", "phantom_edge", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, cwd=cwd, timeout=300)


def test_the_command_line(bundles, tmp_path, monkeypatch, capsys):
    quick = ("--processes", 1, "--repeats", 1, "--steps", 2, "--depths", "0,64", "--threads", 1)
    done = command("bench", bundles["desktop"], *quick, "--json", "--html", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (tmp_path / "a.json").write_text(done.stdout)
    assert Results.from_file(tmp_path / "a.json").runs[0].depths == [0, 64]
    assert "<svg" in (tmp_path / "page.html").read_text()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--compare", "a.json", "a.json"])
    assert ended.value.code == 0
    assert "(1.00 x)" in capsys.readouterr().out
    for arguments, message in (
        (("--compare", "a.json"), "--compare needs two reports"),
        (("--compare", "a.json", "page.html"), "not readable as JSON"),
        (("--depths", "deep"), "--depths 'deep'"),
        (("nowhere", "--html", "no/such/page.html"), "no/such/page.html: no file can be written there"),
        (("nowhere", "--html", "."), "is no ordinary file"),
        (("--device", "ios", "nowhere"), "nowhere: not a bundle"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["bench", *arguments])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert message in said
