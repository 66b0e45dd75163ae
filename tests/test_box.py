"""The two distributions of the package: the small one asks for a part of what the whole one does, and each is
built, installed and used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from model_hub import Repository, model_hub, point_at
from packaging.requirements import Requirement

import phantom_edge as pe
from phantom_edge.scenes.write import write_scenes

ROOT = Path(__file__).parents[1]
BOX = ROOT / "distributions" / "box"
WHOLE, SMALL = (tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (ROOT, BOX))
HEAVY = {
    "torch",
    "executorch",
    "torchao",
    "coremltools",
    "onnx",
    "onnx-ir",
    "optimum",
    "sentencepiece",
    "jinja2",
}
MOST_BYTES = 250 << 20
QUESTION = "How many objects are there?"


def requirements(project: dict) -> dict[str, Requirement]:
    return {one.name: one for one in map(Requirement, project["project"]["dependencies"])}


def test_the_small_one_requires_a_part_of_what_the_whole_one_does():
    whole, small = requirements(WHOLE), requirements(SMALL)
    assert small.items() <= whole.items()
    assert not HEAVY & small.keys()
    assert whole.keys() >= HEAVY


def test_its_extras_require_what_the_whole_one_has_somewhere():
    extras = WHOLE["project"]["optional-dependencies"]
    listed = {*WHOLE["project"]["dependencies"], *extras["serve"]}
    for lines in SMALL["project"]["optional-dependencies"].values():
        assert set(lines) <= listed
    assert set(extras["serve"]) <= set(SMALL["project"]["optional-dependencies"]["serve"])


@pytest.mark.parametrize("field", ["requires-python", "license", "scripts", "dynamic"])
def test_both_say_the_same_of_the_package(field):
    assert SMALL["project"][field] == WHOLE["project"][field]
    assert SMALL["tool"]["setuptools"]["dynamic"] == WHOLE["tool"]["setuptools"]["dynamic"]


def test_its_data_files_are_the_whole_ones():
    small, whole = (one["tool"]["setuptools"]["package-data"] for one in (SMALL, WHOLE))
    assert small.items() <= whole.items()
    left_out = {name.rstrip(".*") for name in SMALL["tool"]["setuptools"]["packages"]["find"]["exclude"]}
    assert whole.keys() - small.keys() <= left_out | {"phantom_edge.apps.sources"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Both as wheels, built from a copy of what they are made of."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    left = shutil.ignore_patterns("node_modules", "dist", "build", ".*", "__pycache__", "*.egg-info")
    for name in ("phantom_edge", "apps", "distributions"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=left)
    made = {}
    for name, source in (("phantom-edge", "."), ("phantom-edge-box", "distributions/box")):
        pip("wheel", "--no-deps", "--no-build-isolation", "-w", f"out-{name}", source, cwd=copy)
        (made[name],) = (copy / f"out-{name}").glob("*.whl")
    return made


def pip(*arguments: object, **options: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    if done.returncode and re.search("NameResolution|NewConnection|ConnectTimeout|ProxyError", done.stderr):
        pytest.skip("needs the network (the index that pip is set to)")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_small_wheel_is_a_part_of_the_whole_one(wheels):
    whole, small = (
        {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
        for archive in (zipfile.ZipFile(wheels[name]) for name in ("phantom-edge", "phantom-edge-box"))
    )
    assert small.items() <= whole.items()
    rooms = {name.split("/")[1] for name in small}
    assert not rooms & {"nano", "evaluate", "quantize", "training", "tune", "pipeline", "mil", "sweep"}
    assert not [name for name in small if name.startswith("phantom_edge/apps/sources/")]
    for name in wheels:
        assert f"-{pe.__version__}-" in wheels[name].name


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory) -> Path:
    """A clean environment with the small wheel, from the index that pip is set to."""
    folder = tmp_path_factory.mktemp("box") / "environment"
    venv.create(folder, with_pip=False)
    pip("--python", folder, "install", wheels["phantom-edge-box"])
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("nano") / "nano-desktop"
    pe.export(pe.ExportRequest(target="desktop", output=output, verify=False))
    write_scenes(output.parent / "scenes", "test", 1)
    return output


def used(environment: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [environment / "bin" / "phantom-edge", *map(str, arguments)]
    options = {"cwd": environment.parent, "capture_output": True, "text": True, "timeout": 120}
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, env=clean, **options)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")
class TestInstalled:
    def test_it_is_small(self, environment):
        (site,) = environment.glob("lib/python*/site-packages")
        files = [path for path in site.rglob("*") if path.is_file() and not path.is_symlink()]
        assert sum(path.stat().st_size for path in files) < MOST_BYTES
        installed = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
        assert "phantom_edge_box" in installed
        assert not {name.replace("-", "_") for name in HEAVY} & installed

    def test_a_bundle_answers(self, environment, bundle):
        picture = bundle.parent / "scenes" / "000000.png"
        done = used(environment, "run", "-m", bundle, "-i", picture, "-p", QUESTION)
        assert done.stderr == ""
        expected = "".join(pe.Session.open(bundle).generate(QUESTION, image=picture))
        assert done.stdout == f"{expected}\n"

    def test_a_bundle_comes_from_the_hub(self, environment, bundle, monkeypatch, tmp_path):
        files = [path for path in bundle.rglob("*") if path.is_file()]
        with model_hub() as hub:
            point_at(monkeypatch, hub, tmp_path / "home")
            hub.repositories["someone/nano"] = repository = Repository()
            repository.commit({path.relative_to(bundle).as_posix(): path.read_bytes() for path in files})
            done = used(environment, "pull", "someone/nano", "-o", tmp_path / "nano")
            assert done.returncode == 0, done.stderr
            answers = [
                used(environment, "run", "-m", model, "-p", QUESTION).stdout
                for model in (tmp_path / "nano", "someone/nano", bundle)
            ]
        assert answers[0].strip()
        assert len(set(answers)) == 1

    def test_its_own_test_passes_on_the_machine(self, environment, bundle):
        code = (
            "import sys, phantom_edge as pe; b = pe.Bundle.open(sys.argv[1]); "
            "checks = pe.self_test(pe.Session.of_bundle(b), pe.Golden.read(b.folder)); "
            "assert checks and all(check.passed for check in checks)"
        )
        subprocess.run([environment / "bin" / "python", "-I", "-c", code, bundle], check=True, timeout=120)

    def test_its_speed_is_measured(self, environment, bundle):
        few = ("--processes", 1, "--repeats", 1, "--warmup", 0, "--steps", 2, "--depths", 0)
        done = used(environment, "bench", bundle, *few, "--json")
        assert done.returncode == 0, done.stderr

    def test_what_it_lacks_is_one_line(self, environment, bundle):
        for arguments, line in (
            (("run", "-p", "?"), "Phantom-Nano is no part of phantom-edge-box; give a bundle with --model"),
            (("app", "demo"), "Phantom-Nano is no part of phantom-edge-box"),
            (("bench", bundle, "-d", "adb"), "this is no part of phantom-edge-box, which runs bundles; "),
            (("export",), "this is no part of phantom-edge-box, which runs bundles; "),
            (("push", bundle, "someone/nano"), "this is no part of phantom-edge-box, which runs bundles; "),
            (("verify", bundle), "this is no part of phantom-edge-box, which runs bundles; "),
            (("inspect", "-m", bundle), "this needs torch, which is not installed here; "),
        ):
            done = used(environment, *arguments)
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert done.stderr.startswith(f"error: {line}")
            assert done.stderr.rstrip().endswith("pip install phantom-edge")
            assert done.stderr.count("\n") == 1

    def test_it_says_what_it_is(self, environment):
        assert used(environment, "--version").stdout == f"phantom-edge {pe.__version__}\n"
        done = used(environment, "doctor")
        assert done.returncode == 0, done.stderr
        assert (
            "phantom-edge-box, which runs ONNX bundles; for the rest: pip install phantom-edge" in done.stdout
        )
        assert "torch" not in done.stdout


@pytest.mark.slow
def test_the_whole_one_exports_and_answers(wheels, tmp_path):
    """With the libraries of this environment, which are gigabytes."""
    pip("install", "--no-deps", "--target", tmp_path / "site", wheels["phantom-edge"])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    place = subprocess.run(
        [sys.executable, "-c", "import phantom_edge; print(phantom_edge.__file__)"], **options
    )
    assert Path(place.stdout.strip()).is_relative_to(tmp_path / "site")
    for line in (
        "scenes scenes --split test --count 1",
        "export -t desktop -o nano --no-verify",
        "run -m nano -i scenes/000000.png -p ?",
    ):
        done = subprocess.run([sys.executable, "-m", "phantom_edge", *line.split()], **options)
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_both_in_one_environment_are_noticed(wheels, tmp_path):
    pip("install", "--no-deps", "--target", tmp_path / "site", *wheels.values())
    code = "from phantom_edge.runtime.doctor import doctor; print([c.detail for c in doctor().failures])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", code], **options)
    assert "pip uninstall phantom-edge phantom-edge-box, and install one of them again" in done.stdout, done
