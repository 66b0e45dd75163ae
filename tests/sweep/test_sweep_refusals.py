"""What a sweep refuses, each in one line and before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.sweep import cost
from phantom_edge.sweep.folder import KIND, MARK, Folder
from phantom_edge.sweep.request import SweepRequest
from phantom_edge.sweep.result import Timed
from phantom_edge.system.partials import locked

HUNDRED = ",".join(f"rank:{8 * n}" for n in range(1, 101))


def refused(*arguments: object) -> str:
    """The one line of a refusal."""
    done = CliRunner().invoke(app, ["sweep", *map(str, arguments)])
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert len(line) <= 300
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least one of --targets, --quant, --fold, --vocab, --tile-size two values"),
        (["--quant", "int4"], "nothing to sweep"),
        (["--quant", "int4,int4"], "nothing to sweep"),
        (["--quant", ","], "--quant ',' names nothing"),
        (["--targets", "desktop,andriod"], "unknown target 'andriod' (did you mean 'android'?)"),
        (["--quant", "int4,int5"], "desktop int5: "),
        (["--fold", "exact,rank:7"], "desktop rank:7: unknown fold"),
        (["--fold", "exact,off"], "desktop off: fold 'off'"),
        (["--fold", "exact,rank:512"], "desktop rank:512: fold rank:512: the head dimension is"),
        (["--quant", "int4,int8", "--context", "999999"], "desktop int4: "),
        (["--quant", "int4,int8", "--tasks", "colours"], "unknown task 'colours'"),
        (["--quant", "int4,int8", "--device", "pixel-88"], "did you mean 'pixel-8'?"),
        (["--quant", "int4,int8", "--device", "local"], "this machine is measured"),
        (["--quant", "int4,int8", "--device", "iphone-16-pro"], "no target here is one"),
        (["--quant", "int4,int8", "--prefer", "sped"], "did you mean 'speed'?"),
        (["--quant", "int4,int8", "--keep", "all"], "--keep 'all': it is winner or front"),
        (["--quant", "int4,int8", "-m", "nowhere/at/all"], "nowhere/at/all"),
        (["--quant", "int4,int8", "--address", "nonsense"], "give HOST:PORT"),
        (["--quant", "int4,int8", "--address", "ray://10.0.0.5:10001"], "give HOST:PORT"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_each_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*arguments)
    assert not list(tmp_path.rglob("results/*"))


def test_ten_thousand_combinations_say_what_they_would_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("--quant", ",".join(f"{n}.toml" for n in range(100)), "--fold", HUNDRED)
    assert "10,000 combinations would take about 33 processor hours and 57 GB meanwhile" in line
    assert "--yes for more than 64" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_stays(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    assert "is not the folder of a sweep" in refused("--quant", "int4,int8", "-o", mine)
    (mine / MARK).write_text("{}")
    assert "is not the folder of a sweep" in refused("--quant", "int4,int8", "-o", mine)
    assert sorted(path.name for path in mine.iterdir()) == ["notes.txt", MARK]
    assert "is a file or a link" in refused("--quant", "int4,int8", "-o", mine / "notes.txt")


def test_two_do_not_work_in_one_folder(tmp_path):
    place = tmp_path / "sweep"
    with Folder.opened(place), pytest.raises(InputError, match="another sweep works in it"):  # noqa: SIM117
        with Folder.opened(place):
            pass
    with locked(place) as state:
        assert state == "free"
    assert json.loads((place / MARK).read_text()) == KIND


def test_a_result_that_is_damaged_is_made_again(tmp_path):
    with Folder.opened(tmp_path / "sweep") as folder:
        folder.write("one", Timed("here", "a processor", None, why="because"))
        assert folder.read(Timed, "one") == Timed("here", "a processor", None, why="because")
        assert folder.read(Timed, "two") is None
        path = folder.path / "results" / "one.json"
        text = path.read_text()
        for damage in (text[:-3], text.replace("because", "becausE"), "[]", '{"host": 1}', "\0"):
            path.write_text(damage)
            assert folder.read(Timed, "one") is None


def test_without_ray_the_extra_is_named(tmp_path):
    code = (
        "import sys; from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'ray' else find(name, *more)\n"
        "from phantom_edge.cli import main; main(['sweep', '--quant', 'int4,int8'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: a sweep runs on Ray: pip install "phantom-edge[sweep]"\n'
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_one_line(tmp_path):
    line = refused("--quant", "int4,int8", "--address", "127.0.0.1:1", "-o", tmp_path / "sweep")
    assert "--address '127.0.0.1:1': no Ray cluster answers there" in line


@pytest.mark.parametrize("field", ["max_mb", "memory_gb", "cpus"])
def test_numbers_of_the_api_have_a_meaning(field):
    with pytest.raises(InputError, match=f"--{field.replace('_', '-')} is 0; it must be above 0"):
        SweepRequest(quant=("int4", "int8"), **{field: 0})


@pytest.mark.parametrize(
    ("format_name", "billions", "gigabytes"),
    [
        ("onnx", 0.94, 7.5),  # 6.0 measured, and a quarter
        ("onnx", 3.18, 11.8),  # half of the way from 2.21 to 4.15: 9.45
        ("executorch", 8.08, 21.5),
        ("coreml", 16.16, 30.5),  # on from the last two: 20.7 + 8.08 * 1.8 / 3.93, and a quarter
        ("onnx", 0.0001, 0.625),  # never less than of the smallest that was measured
        ("unknown", 0.94, 10.875),  # as the largest
    ],
)
def test_declared_memory_follows_the_measured_peaks(format_name, billions, gigabytes):
    assert cost.memory(format_name, round(billions * 1e9)) / 1e9 == pytest.approx(gigabytes, abs=0.2)


def test_paths_of_the_table_are_those_that_are_documented():
    """Every peak above Phantom-Nano's is a figure of the page of performance, or the reason is beside it."""
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for rows in (cost.ROWS["onnx"], cost.ROWS["coreml"], cost.ROWS["onnx-qnn"]):
        for _, peak, _ in rows[1:]:
            assert f" {peak:g}" in page or f" {peak} " in page
