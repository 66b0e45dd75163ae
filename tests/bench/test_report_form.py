"""The form of a report: written, read back, and refused when it is not one; settings; reports side by
side.
"""

from __future__ import annotations

import json

import pytest

from phantom_edge.bench.report import Results, compare
from phantom_edge.bench.results import Band, Run, metric, order
from phantom_edge.bench.settings import Settings, parse_depths
from phantom_edge.errors import InputError


@pytest.fixture
def run() -> Run:
    made = Run(
        {"name": "a phone", "cores": 8}, {"name": "onnxruntime"}, {"name": "nano", "prompt_tokens": 84}
    )
    made.add("prefill", 0.02, 0.03, 0.04)
    made.add("decode@512", 50.0, 52.0)
    made.add("decode@0", 60.0)
    made.add("bundle", 4e6)
    made.curves["soak"] = [(float(t), 60.0 - t) for t in range(11)]
    made.missing["energy"] = "no counter"
    return made.derive()


def test_a_rate_and_its_time_agree(run):
    """Of two samples far apart the mean of the rates would be three times the rate of the median time."""
    run.samples = {"prefill": [0.01, 0.1], "prefill_rate": [8400.0, 840.0]}
    assert run.value("prefill_rate") == pytest.approx(84 / 0.055)
    assert run.summary("prefill_rate").low == pytest.approx(84 / run.summary("prefill").high)
    run.model["prompt_tokens"] = "many"  # by another program
    assert run.value("prefill_rate") == pytest.approx(4620)


def test_rows_stand_in_one_order(run):
    assert run.keys == ["prefill", "prefill_rate", "decode@0", "decode@512", "bundle", "drift"]
    assert run.depths == [0, 512]
    assert sorted(["bundle", "decode@1024", "load", "decode@64", "first_token"], key=order) == [
        "first_token",
        "decode@64",
        "decode@1024",
        "load",
        "bundle",
    ]


def test_what_follows_is_derived_once(run):
    assert run.summary("prefill_rate").median == pytest.approx(84 / 0.03)
    assert run.value("drift") == pytest.approx(51 / 59 - 1)
    assert len(run.derive().samples["prefill_rate"]) == 3


def test_a_report_is_read_back_as_it_was_written(run, tmp_path):
    path = tmp_path / "report.json"
    run.bands["memory"] = Band(2e9, 1e9, 3e9)
    path.write_text(Results([run]).to_json())
    (found,) = Results.from_file(path).runs
    assert found == run
    told = json.loads(path.read_text())
    assert told["runs"][0]["summary"]["decode@512"]["median"] == 51
    assert found.estimated


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(kind="verify"), "not a report"),
        (lambda d: d.update(schema=99), "schema 99 is newer"),
        (lambda d: d.update(runs=[]), "holds no runs"),
        (lambda d: d.update(runs={}), "runs is no list"),
        (lambda d: d["runs"][0].update(samples={"speed": [1]}), "unknown row 'speed'"),
        (lambda d: d["runs"][0].update(samples={"load": [None]}), "load holds None"),
        (lambda d: d["runs"][0].update(samples={"load": [float("nan")]}), "holds NaN"),
        (lambda d: d["runs"][0].update(samples={"load": [True]}), "load holds True"),
        (lambda d: d["runs"][0].update(curves={"soak": [[1]]}), "a point is"),
        (lambda d: d["runs"][0].update(bands={"load": {"low": 1}}), "load.typical holds None"),
        (lambda d: d["runs"][0].update(device="phone"), "device is str"),
    ],
)
def test_everything_else_is_refused_with_its_place(run, tmp_path, change, message):
    path = tmp_path / "report.json"
    data = json.loads(Results([run]).to_json())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as caught:
        Results.from_file(path)
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="not found"):
        Results.from_file(tmp_path / "none.json")
    (tmp_path / "text").write_text("tok/s: many")
    with pytest.raises(InputError, match="not readable as JSON"):
        Results.from_file(tmp_path / "text")


def test_compare_takes_two_reports_or_a_report_with_two_runs(run, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(Results([run]).to_json())
    with pytest.raises(InputError, match="needs two reports"):
        compare([path])
    assert len(compare([path, path]).runs) == 2
    longer = Run.from_dict({**run.to_dict(), "model": {"name": "nano", "prompt_tokens": 300}})
    (tmp_path / "two.json").write_text(Results([run, longer]).to_json())
    runs = compare([tmp_path / "two.json"]).runs
    assert all("different lengths" in found.notes[-1] for found in runs)


def test_units():
    assert (metric("decode@0").unit, metric("decode@0").higher) == ("tok/s", True)
    assert metric("memory").divide == 1e6
    with pytest.raises(InputError, match="unknown row 'decode@'"):
        metric("decode@")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"processes": 0}, "--processes is 0"),
        ({"repeats": 0}, "--repeats is 0"),
        ({"steps": 100_000}, "--steps is 100000"),
        ({"depths": ()}, "--depths needs"),
        ({"depths": (-1,)}, "--depths needs"),
        ({"soak": -1}, "--soak is -1"),
        ({"threads": 0}, "--threads is 0"),
        ({"clock": "sun"}, "unknown clock 'sun'; use wall or processor"),
        ({"clock": "processor", "threads": 2}, "adds up what threads take"),
    ],
)
def test_settings_out_of_range(fields, message):
    with pytest.raises(InputError, match=message):
        Settings(**fields)


def test_depths_that_fit_with_warm_up_and_steps():
    settings = Settings(depths=(1920, 0, 512, 512), steps=32, warmup=1)
    assert settings.fitting(2048) == (0, 512, 1920)
    assert settings.fitting(1920 + 32 + 3) == (0, 512)
    assert parse_depths("0, 64,") == (0, 64)
    with pytest.raises(InputError, match="use numbers"):
        parse_depths("deep")
