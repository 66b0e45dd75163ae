"""The command line as a user meets it: what it prints, its exit codes, one line for everything that is
wrong.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phantom_edge.bundle.folder import Bundle
from recipes.synthetic import TINY, write_checkpoint

pytestmark = pytest.mark.slow  # whole commands, many in processes of their own

KNOWS = "Nothing at all: its weights are random."
PROGRAM = [sys.executable, "-m", "phantom_edge"]


def run(*arguments, cwd=None, env=None, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, **options
    )


def refused(done: subprocess.CompletedProcess, message: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert done.stdout == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = write_checkpoint(tmp_path_factory.mktemp("cli") / "tiny", TINY)
    config = json.loads((folder / "config.json").read_text()) | {"phantom_edge": {"knows": KNOWS}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def bundle(model) -> Path:
    output = model.parent / "bundle"
    done = run("export", "-m", model, "-t", "web", "-o", output, "--context", 160)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_help_lists_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys; from phantom_edge.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'executorch', 'coremltools', 'numpy', 'PIL', "
        "'transformers'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = (
        "export verify run serve eval quantize tune bench estimate sweep app inspect conform targets doctor"
    )
    for command in commands.split():
        assert f"  {command}" in done.stdout
    assert "Make a bundle:\n" in done.stdout
    assert "..." not in done.stdout.partition("Make a bundle")[2]


def test_export_prints_the_table_and_the_place(model, tmp_path):
    done = run(
        "export",
        "-m",
        model,
        "-t",
        "desktop",
        "-o",
        "out",
        "--context",
        160,
        "--fold",
        "rank:8",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # quiet when not a terminal
    assert "greedy tokens that differ" in done.stdout
    assert done.stdout.rstrip().endswith("wrote " + str(tmp_path / "out")) or "wrote out" in done.stdout
    manifest = Bundle.open(tmp_path / "out").manifest
    assert (manifest.fold.fold, manifest.recipe.name, manifest.context) == ("rank:8", "int4", 160)
    assert manifest.shape.cache_widths == (24, 24)


def test_export_as_json_with_overrides_and_a_recipe_file(model, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'base = "int8"\n[[rule]]\nmatch = "text_decoder.layers.*.down"\nto = "int4"\n'
    )
    rule = "text_decoder.layers.0.*=fp16"
    arguments = (
        "--quant",
        tmp_path / "mine.toml",
        "--rule",
        rule,
        "--max-tiles",
        1,
        "--context",
        160,
        "--json",
    )
    done = run("export", "-m", model, "-t", "web", "-o", tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["tiles"]["max"] == 1
    assert manifest["recipe"]["name"] == "mine+1"
    assert manifest["verification"]["ok"] is True


def test_the_default_output_names_model_and_target(model, tmp_path):
    done = run("export", "-m", model, "-t", "web", "--context", 160, "--no-verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Bundle.open(tmp_path / "tiny-web").manifest.verification is None


def test_verify_a_bundle_and_a_damaged_one(bundle, tmp_path):
    page = tmp_path / "page.html"
    done = run("verify", bundle, "--tokens", 8, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    assert "<table>" in page.read_text()
    copy = shutil.copytree(bundle, tmp_path / "copy")
    with (copy / "tokenizer.json").open("a") as file:
        file.write(" ")
    refused(run("verify", copy), "tokenizer.json is not the file that was exported")


def test_run_streams_from_checkpoint_and_bundle(model, bundle, picture):
    for source in (model, bundle):
        done = run(
            "run", "-m", source, "-i", picture, "-p", "What?", "-p", "And?", "--max-tokens", 5, "--stats"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") >= 2
        assert done.stderr.count("first token") == 2
    answers = json.loads(run("run", "-m", bundle, "-p", "What?", "--max-tokens", 5, "--json").stdout)
    assert answers[0]["new_tokens"] <= 5
    assert answers[0]["stop"] in ("length", "end")


def test_run_with_a_seed_repeats_itself(model):
    arguments = ("run", "-m", model, "-p", "What?", "--max-tokens", 8, "--temperature", 1.5, "--seed", 7)
    assert run(*arguments).stdout == run(*arguments).stdout


def test_inspect_checkpoint_and_bundle(model, bundle, tmp_path):
    report = json.loads(run("inspect", "-m", model, "--context", 100, "--json").stdout)
    assert {table["title"].split(" ")[0] for table in report["tables"]} == {"Parameters", "KV", "Phantom"}
    assert report["facts"]["knows"] == KNOWS
    done = run("inspect", "-m", bundle, "--html", tmp_path / "page.html")
    assert KNOWS in done.stdout
    assert "GroupQueryAttention" not in done.stdout
    assert done.stdout.count("\n") <= 40
    assert "with --all: " in done.stdout
    assert "GroupQueryAttention" in (tmp_path / "page.html").read_text()
    assert "GroupQueryAttention" in run("inspect", "-m", bundle, "--all").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--machine", "arm46"), "unknown machine 'arm46' (did you mean 'arm64'?)"),
        (
            ("--machine", "arm64", "--cpu", "cortex-a67"),
            "unknown CPU 'cortex-a67' (did you mean 'cortex-a76'?)",
        ),
        (("--cpu", "cortex-a76"), "add --machine arm64"),
    ],
)
def test_a_machine_that_cannot_be_emulated_is_one_line(bundle, options, message, tmp_path):
    cache = tmp_path / "cache"
    refused(run("verify", bundle, *options, env={"XDG_CACHE_HOME": str(cache)}), message)
    assert not (cache / "phantom-edge" / "arm64").exists()


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="needs Linux on x86-64")
def test_a_machine_without_a_network_is_one_line(bundle, tmp_path):
    """Nothing is downloaded before, and nothing half-made is left."""
    cache = tmp_path / "cache"
    environment = {"XDG_CACHE_HOME": str(cache), "https_proxy": "http://127.0.0.1:9", "PATH": os.defpath}
    done = run("verify", bundle, "--machine", "arm64", env=environment)
    refused(done, "cannot be downloaded")
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != ".lock"]


def test_targets_and_doctor():
    table = json.loads(run("targets", "--json").stdout)
    assert {name: entry["format"] for name, entry in table.items()} == {
        "ios": "coreml",
        "android": "executorch",
        "snapdragon": "onnx-qnn",
        "web": "onnx",
        "webgpu": "onnx-webgpu",
        "desktop": "onnx",
        "linux-arm64": "onnx",
    }
    done = run("doctor", "--load")
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout


def test_doctor_answers_quickly_and_says_what_each_part_is_for():
    before = time.monotonic()
    done = run("doctor", "--json")
    assert time.monotonic() - before < 10  # two seconds on a machine that does nothing else
    report = json.loads(done.stdout)
    rows = {check["name"]: check for checks in report["groups"].values() for check in checks}
    assert {"torch", "Node.js", "Chromium or Chrome", "adb", "Xcode", "free memory"} <= rows.keys()
    assert rows["Node.js"]["detail"]
    assert " GB" in rows["free memory"]["value"]
    assert rows["free disk here"]["value"].endswith(" GB")


def edited_config(model, tmp_path, **fields) -> Path:
    folder = shutil.copytree(model, tmp_path / "edited")
    config = json.loads((folder / "config.json").read_text())
    for name, value in fields.items():
        if name in config:
            config[name] = value
        else:
            config["llm_config"][name] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_every_bad_checkpoint_is_one_line(model, tmp_path):
    def export(folder):
        return run("export", "-m", folder, "-o", tmp_path / "out")

    refused(export(tmp_path / "nowhere"), "no such folder")
    truncated = shutil.copytree(model, tmp_path / "truncated")
    os.truncate(truncated / "model.safetensors", 5000)
    refused(export(truncated), "truncated")
    foreign = shutil.copytree(model, tmp_path / "foreign")
    (foreign / "config.json").write_text('{"model_type": "llava"}')
    refused(export(foreign), "'llava' model")
    tokenless = shutil.copytree(model, tmp_path / "tokenless")
    text = (tokenless / "tokenizer.json").read_text().replace("<IMG_CONTEXT>", "<IMG_OTHER>")
    (tokenless / "tokenizer.json").write_text(text)
    refused(export(tokenless), "<IMG_CONTEXT>")
    refused(
        export(edited_config(model, tmp_path, num_hidden_layers=3)), "missing: language_model.model.layer"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "iso"), "unknown target 'iso' (did you mean 'ios'?)"),
        (("--format", "tflite"), "unknown format 'tflite'"),
        (("--quant", "int5"), "unknown recipe 'int5'"),
        (("--quant", "missing.toml"), "missing.toml"),
        (("--rule", "text_decoder.nothing=int8"), "matches no module"),
        (("--rule", "nonsense"), "pattern=precision"),
        (("--fold", "rank:5"), "unknown fold"),
        (("--fold", "rank:64"), "the head dimension is 16"),
        (("--fold", "off"), "for checks only"),
        (("--kv-cache", "int4"), "it is float or int8"),
        (
            ("--target", "web", "--kv-cache", "int8"),
            "leave the cache in float, or export for one of snapdragon, desktop, linux-arm64",
        ),
        (
            ("--target", "android", "--kv-cache", "int8"),
            "leave the cache in float, or export for one of snapdragon, desktop, linux-arm64",
        ),
        (("--context", "0"), "--context"),
        (("--context", "100000"), "--context 100000 is beyond 4096"),
        (("--context", "20"), "no prompt fits"),
    ],
)
def test_every_bad_option_is_one_line(model, tmp_path, arguments, message):
    refused(run("export", "-m", model, "-o", tmp_path / "out", *arguments), message)
    assert list(tmp_path.iterdir()) == []


def test_something_else_in_the_way_is_left_alone(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    refused(run("export", "-m", model, "-o", tmp_path / "mine"), "holds something that is not a bundle")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "mine"


def test_every_bad_picture_is_one_line(bundle, tmp_path):
    empty, broken = tmp_path / "empty.png", tmp_path / "broken.png"
    empty.touch()
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    huge = tmp_path / "huge.png"
    Image.new("1", (20000, 20000)).save(huge)
    cases = [(empty, "empty"), (broken, "broken.png"), (huge, "pixels"), (tmp_path, "folder")]
    for path, message in [*cases, (tmp_path / "no.png", "no.png")]:
        done = run("run", "-m", bundle, "-i", path, "-p", "What?")
        assert done.returncode == 2, (path, done.stderr)
        assert done.stderr.count("\n") == 1
        assert message in done.stderr or path.name in done.stderr


def test_every_bad_question_is_one_line(bundle, picture):
    refused(run("run", "-m", bundle, "-p", "<IMG_CONTEXT>"), "<IMG_CONTEXT>")
    refused(run("run", "-m", bundle, "-p", "word " * 400), "the context holds 160")
    refused(run("run", "-m", bundle, "-i", picture, "-p", "What?", "--top-p", "2"), "--top-p")


def test_bundles_that_are_damaged_or_newer(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    name = json.loads((copy / "manifest.json").read_text())["graphs"]["vision_encoder"]
    (copy / name).unlink()
    refused(run("run", "-m", copy, "-p", "What?"), f"{name} is missing")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    refused(run("inspect", "-m", copy), "schema 99 is newer")
    (copy / "manifest.json").write_text(json.dumps({**manifest, "schema": 1}))
    refused(
        run("inspect", "-m", copy), "schema 1 is of an earlier phantom-edge, and this one reads 2; export"
    )
    refused(run("verify", tmp_path), "not a bundle")


def test_a_full_disk_leaves_nothing(model, tmp_path):
    """A limit on file size stands in for a full disk: writing fails in the middle of the artifact."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = run("export", "-m", model, "-t", "web", "-o", tmp_path / "out", preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def heed() -> None:
    """Let a program hear Ctrl-C, also where the tests themselves run in the background and ignore it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_the_earlier_bundle(bundle, model, tmp_path, how):
    output = shutil.copytree(bundle, tmp_path / "out")
    before = (output / "manifest.json").read_bytes()
    command = [*PROGRAM, "export", "-m", str(model), "-t", "web", "-o", str(output), "--context", "160"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed
    )
    deadline = time.monotonic() + 60
    while not any(".partial-" in p.name for p in tmp_path.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + how, stderr
    assert stderr == "error: stopped; nothing was changed\n"
    assert (output / "manifest.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_in_a_callback_is_not_lost(tmp_path):
    script = tmp_path / "finalizer.py"
    script.write_text(
        "import os, signal, time, weakref\n"
        "from phantom_edge.cli.console import command\n"
        "class Thing: pass\n"
        "def work():\n"
        "    thing = Thing()\n"
        "    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "    del thing\n"
        "    time.sleep(20)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from typer import Typer\n"
        "app = Typer()\n"
        "app.command()(command(work))\n"
        "app()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "error: stopped; nothing was changed\n")


def test_optimum_hands_over(model, tmp_path):
    optimum = Path(sys.executable).with_name("optimum-cli")
    command = [
        optimum,
        "export",
        "phantom-edge",
        "-m",
        model,
        "--target",
        "web",
        "--quant",
        "int4",
        tmp_path / "out",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert Bundle.open(tmp_path / "out").manifest.recipe.name == "int4", done.stderr


def test_an_unexpected_error_is_a_line_and_a_traceback_with_debug(model, tmp_path, monkeypatch):
    folder = shutil.copytree(model, tmp_path / "m")
    patch = tmp_path / "sitecustomize.py"
    patch.write_text(
        "import phantom_edge.checkpoint.pretrained as s\n@classmethod\ndef broken(*a, **k): raise "
        "ZeroDivisionError('oops')\n"
        "s.Pretrained.open = broken\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    refused(run("inspect", "-m", folder, env=environment), "unexpected ZeroDivisionError: oops", code=1)
    assert "Traceback" in run("--debug", "inspect", "-m", folder, env=environment).stderr
