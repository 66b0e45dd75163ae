"""What the machine tells, read from files as they are and as they were recorded."""

from __future__ import annotations

import pytest

from phantom_edge.bench import machine
from phantom_edge.bench.energy import EnergyCounter


def zone(root, name, label, energy, top=262_143_328_850):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{top}\n")
    return folder


def test_energy_is_the_packages_and_survives_a_wrap(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 999_000_000)  # part of the package
    zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000)
    counter = EnergyCounter.find(tmp_path)
    assert counter.joules() == pytest.approx(3.0)
    (first / "energy_uj").write_text("500000")
    assert counter.joules() == pytest.approx(0.5 + 262_143.32885 + 2.0)


def test_no_counter_or_one_that_may_not_be_read(tmp_path):
    assert EnergyCounter.find(tmp_path / "none") is None
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").write_text("")
    assert EnergyCounter.find(tmp_path) is None


def test_the_hottest_zone(tmp_path):
    for n, text in enumerate(("41000", "67500", "no reading")):
        (tmp_path / f"thermal_zone{n}").mkdir()
        (tmp_path / f"thermal_zone{n}" / "temp").write_text(text)
    assert machine.temperature(tmp_path) == 67.5
    assert machine.temperature(tmp_path / "none") is None


def test_a_machine_without_proc(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "PROC", tmp_path)
    with machine.watched() as usage:
        pass
    assert usage.others is None
    assert not usage.noisy
    assert machine.describe()["cores"] >= 1
    assert machine.peak_memory() > 1e6


def test_others_are_what_is_left_of_all_cores():
    usage = machine.Usage(seconds=10.0, foreign=4.0)
    assert usage.others == pytest.approx(min(1, 0.4 / machine.os.cpu_count()))
    assert machine.Usage(10.0, -1.0).others == 0
