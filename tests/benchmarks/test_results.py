"""Medians, ratios, what peers print, and the tables made of it, on hand-made data."""

from __future__ import annotations

import json

import pytest

from benchmarks import llama, tables
from benchmarks.contenders import parse_peers
from benchmarks.stats import Sample, decode_bound, ratio, summary
from phantom_edge.bench import machine
from phantom_edge.errors import CheckError, InputError


def test_quiet_samples_count_before_noisy_ones():
    found = summary([Sample(10, 0), Sample(1, 1, noisy=True), Sample(12, 2)], higher_is_better=True)
    assert (found.median, found.low, found.high, found.count, found.noisy) == (11, 10, 12, 2, False)
    assert found.spread == pytest.approx(1 / 11)
    assert summary([Sample(1, 0, noisy=True)], higher_is_better=True).noisy


def test_the_best_setting_counts():
    samples = [Sample(47, 0, setting="-fa 0"), Sample(35, 0, setting="-fa 1"), Sample(45, 1, setting="-fa 0")]
    assert summary(samples, higher_is_better=True).setting == "-fa 0"
    assert summary(samples, higher_is_better=False).setting == "-fa 1"


def test_ratios_are_taken_within_a_round():
    # A machine that halves its speed in round 1 leaves the ratio alone.
    ours, theirs = [Sample(60, 0), Sample(30, 1)], [Sample(40, 0), Sample(20, 1)]
    assert ratio(ours, theirs) == 1.5
    assert ratio(ours, [Sample(40, 7)]) is None
    # A peer that others slowed down in one round is compared in the quiet one.
    assert ratio(ours, [Sample(40, 0), Sample(5, 1, noisy=True)]) == 1.5


def test_the_roofline_counts_weights_and_cache():
    assert decode_bound(30e9, 300e6, 0, 2048) == 100
    assert decode_bound(30e9, 300e6, 50_000, 2000) == 75


def test_llama_bench_is_read():
    output = json.dumps(
        [
            {"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 297.1},
            {"n_prompt": 0, "n_gen": 32, "n_depth": 0, "avg_ts": 60.0},
            {"n_prompt": 0, "n_gen": 32, "n_depth": 2048, "avg_ts": 47.0},
        ]
    )
    assert {r["metric"]: r["value"] for r in llama.read_bench(output, "-fa 0")} == {
        "prefill": 297.1,
        "decode_empty": 60.0,
        "decode_deep": 47.0,
    }
    with pytest.raises(CheckError, match="no results"):
        list(llama.read_bench("error: unknown model", ""))


def test_mtmd_times_are_read_in_both_wordings():
    assert llama.read_encode("0.08 I mtmd batch encoding done in 6296 ms") == 6.296
    assert llama.read_encode("image slice encoded in 4700 ms\nimage slice encoded in 300 ms") == 5.0
    with pytest.raises(CheckError):
        llama.read_encode("no image")


def test_a_failing_program_is_one_line():
    with pytest.raises(CheckError, match="sh ended with 3: gone wrong"):
        llama.run(["sh", "-c", "echo gone wrong >&2; exit 3"])
    assert llama.run(["sh", "-c", "echo fine"])[0] == "fine\n"


def test_peers_are_files_with_known_names(tmp_path):
    (tmp_path / "b").touch()
    assert parse_peers(f"llama-bench={tmp_path}/b") == {"llama-bench": (tmp_path / "b").resolve()}
    for bad in ("llama-server=/bin/sh", "llama-bench=/nowhere", "llama-bench"):
        with pytest.raises(InputError):
            parse_peers(bad)


def test_memory_is_read_in_bytes():
    text = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\n"
    assert machine.status_bytes("VmRSS", "VmHWM", text=text) == {"VmRSS": 1500 * 1024, "VmHWM": 2000 * 1024}


def test_other_processes_are_noticed():
    with machine.watched() as usage:
        sum(range(100_000))
    assert 0 <= usage.others <= 1
    assert usage.seconds > 0


@pytest.fixture
def result():
    def sample(*values, setting=""):
        return [{"value": v, "round": n, "noisy": False, "setting": setting} for n, v in enumerate(values)]

    return {
        "when": "2026-01-01T00:00:00+00:00",
        "settings": {"size": "0.5b", "prefill": 512, "depth": 2048},
        "versions": {"torch": "2.13.0"},
        "machine": {"cpu": "a <b>", "read bandwidth, GB/s": 30.0},
        "others": 0.2,
        "noisy": True,
        "contenders": [
            {"name": "ours", "kind": "onnx", "fold": "exact"},
            {"name": "llama.cpp", "kind": "llama", "fold": None},
        ],
        "facts": {"ours": {"decoder": 300e6, "cache_per_token": 50_000, "seconds": 70.0}},
        "samples": {
            "ours": {"decode_deep": sample(60, 66, 63), "tile": sample(2.0)},
            "llama.cpp": {"decode_deep": sample(40, 44, 42, setting="-fa 0"), "tile": sample(5.0)},
        },
        "failures": {},
    }


def test_tables_show_medians_bounds_and_ratios(result):
    lines = {line[0]: line[1:] for line in tables.rows(result)}
    assert lines["decode, 2048 cached, tok/s"] == ("63 ±5%", "42 ±5% (-fa 0)")
    assert lines["bandwidth allows, empty cache, tok/s"] == ("100", tables.MISSING)
    assert lines["export time, s"] == ("70", tables.MISSING)
    against = {line[0]: line[1:] for line in tables.ratios(result)}
    assert against["decode, 2048 cached: against llama.cpp"] == ("1.50", "1.00")
    assert against["vision encoder, one 448 px tile: against llama.cpp"] == (
        "2.50",
        "1.00",
    )  # seconds: less is better


def test_markdown_and_page_carry_the_machine_and_the_noise(result):
    text = tables.markdown(result)
    assert "| decode, 2048 cached, tok/s | 63 ±5% | 42 ±5% (-fa 0) |" in text
    assert "NOISY" in text
    page = tables.report(result).to_html()
    assert "a &lt;b&gt;" in page
    assert "NOISY" in page
