"""The sweep's tables, plots and JSON, on hand-made results."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from phantom_edge.bench.results import Band, Run
from phantom_edge.report import svg
from phantom_edge.sweep.axes import Combination
from phantom_edge.sweep.job import SweepResult
from phantom_edge.sweep.request import SweepRequest
from phantom_edge.sweep.result import Answer, Made, Row, Speed, Timed

SLOW, FAST = (Speed(s, 0.9 * s, 1.2 * s, s / 2, 62 / s, 512) for s in (2.0, 1.0))


def row(quant: str, size: int, right: int, speed: Speed | None = FAST, error: str = "", **timed) -> Row:
    answers = tuple(Answer(str(n), "colour", f"picture {n}", n < right) for n in range(100))
    made = Made("node", "host", 9.0, size, 0.002, 1.0, answers, {"pixel-8": SLOW})
    return Row(
        Combination(("desktop", quant, "default", "default", "default")),
        f"phantom-edge export --target desktop --quant {quant}",
        None if error else made,
        None if error else Timed("host", "a processor", speed, 2e9, **timed),
        error,
    )


ROWS = (
    row("int4", 100_000_000, 86),
    row("int8", 200_000_000, 90, SLOW, noisy=True),
    row("fp16", 400_000_000, 88, None, why="runs elsewhere"),
    row("mixed", 0, 0, error="the export was discarded"),
)


def result(**options) -> SweepResult:
    request = SweepRequest(quant=("int4", "int8", "fp16", "mixed"), **options)
    return SweepResult(request, "a <model>", Path("sweep"), ROWS)


def test_the_table_says_who_is_on_the_front_and_who_won():
    table, speeds, failed = result().report().tables
    assert [cells[2] for cells in table.rows] == ["winner", "front", "", "failed"]
    assert table.rows[0][3:] == ("100.00", "86.0 (77.9 to 91.5)", "-4.0 ± 4.6", "0.002", "1 (0.9 to 1.2)")
    assert table.rows[1][5:] == ("-", "0.002", "2 (1.8 to 2.4)*")
    assert table.rows[2][7] == "-"
    assert speeds.rows[0] == ("desktop int4", "500", "62", "1 (0.9 to 1.2)", "2,000")
    assert speeds.rows[2][3] == "runs elsewhere"
    assert failed.rows == (("desktop mixed", "the export was discarded"),)


def test_for_a_device_the_predicted_seconds_count():
    table = result(device="pixel-8").report().tables[0]
    assert [cells[7] for cells in table.rows] == ["~2 (1.8 to 2.4)"] * 3 + ["-"]


def test_what_the_device_does_not_run_is_no_choice_for_it():
    """The smallest has no prediction for it: neither on the front, nor the winner."""
    only = replace(ROWS[0], made=replace(ROWS[0].made, predicted={}))
    request = SweepRequest(quant=("int4", "int8"), device="pixel-8")
    best = SweepResult(request, "m", Path("sweep"), (only, *ROWS[1:])).best
    assert (best.front, best.choice.winner) == (("desktop int8",), "desktop int8")
    nothing = SweepResult(request, "m", Path("sweep"), (only,))
    assert (nothing.best.front, nothing.winner) == ((), None)
    assert "none: nothing is finished" in nothing.to_html()


def test_the_json_has_all_but_the_single_answers():
    data = json.loads(result(within=0.0).to_json())
    assert (data["kind"], data["ok"], data["front"]) == ("sweep", False, ["desktop int4", "desktop int8"])
    assert data["command"] == "phantom-edge export --target desktop --quant int8"
    assert data["rule"] == "the smallest whose answers are at most 0 points worse than the best"
    assert data["combinations"][0]["made"]["answers"]["right"] == 86
    assert data["combinations"][3]["made"] is None


def test_dots_stand_where_their_values_are():
    """Filled on the front, hollow beside it, a ring around the winner; a dot without seconds has no place."""
    page = result().to_html()
    assert "a &lt;model&gt;" in page
    charts = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    assert [chart.count("<title>") for chart in charts] == [3, 2, 3]
    circles = list(ElementTree.fromstring(charts[0]).iter("circle"))
    assert [(c.get("class"), c.get("r")) for c in circles] == [
        ("s0 h", "10"), ("f0", "5"), ("f0", "5"), ("s0 h", "5"),
    ]  # fmt: skip
    x = [float(c.get("cx", "")) for c in circles[1:]]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(100 / 300, abs=1e-3)  # 100, 200 and 400 MB
    y = [float(c.get("cy", "")) for c in circles[1:]]
    assert (y[0] - y[1]) / (y[0] - y[2]) == pytest.approx(4 / 2, abs=0.01)  # 86, 90 and 88 percent


def test_axes_of_dots_span_them():
    dots = [svg.Dot("1", "one", 10.0, 95.0, 90.0, 99.0), svg.Dot("2", "two", 20.0, 97.0, 93.0, 99.0)]
    text = svg.scatter("T", dots, "MB", "%")
    assert ">92<" in text.replace(",", "")
    assert ">0<" not in text
    with pytest.raises(ValueError, match="no dots"):
        svg.scatter("T", [], "MB", "%")
    assert svg.scatter("T", dots[:1], "MB", "%").startswith("<svg ")


def test_ticks_that_are_close_are_told_apart_and_labels_stand_clear():
    dots = [svg.Dot(str(n), "x", 0.0195 + n * 1e-4, 90.0, 90.0, 90.0) for n in range(12)]
    dots += [svg.Dot("same", "x", 0.0195, 90.0, 90.0, 90.0)]
    chart = ElementTree.fromstring(svg.scatter("T", dots, "s", "%"))
    texts = [e.text for e in chart.iter("text") if e.get("class") == "t m" and "0.0" in (e.text or "")]
    assert len(texts) > 3
    assert len(set(texts)) == len(texts)
    places = [(e.get("x"), e.get("y")) for e in chart.iter("text") if e.get("class") == "t"]
    assert len(set(places)) == len(places) == 13


def test_seconds_of_an_answer():
    """The first token and 31 more: 0.5 + 31 / 62 = 1.0, by quartiles where measured, else by the band."""
    run = Run({}, {}, {})
    assert Speed.of(run) is None
    run.bands = {"first_token": Band(0.5, 0.4, 0.6), "decode@0": Band(99, 98, 100)}
    run.bands["decode@512"] = Band(62.0, 31.0, 124.0)
    assert Speed.of(run) == Speed(1.0, pytest.approx(0.65), pytest.approx(1.6), 0.5, 62.0, 512)
    measured = Run({}, {}, {})
    measured.add("first_token", 0.4, 0.5, 0.6)
    measured.add("decode@0", 62.0)
    assert Speed.of(measured) == Speed(1.0, pytest.approx(0.95), pytest.approx(1.05), 0.5, 62.0, 0)
