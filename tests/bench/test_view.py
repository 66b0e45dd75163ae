"""Tables, charts and the page, on hand-made runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from phantom_edge.bench import view
from phantom_edge.bench.report import Results
from phantom_edge.bench.results import Band, Run
from phantom_edge.report import svg


def measured(name: str, speed: float, **device) -> Run:
    run = Run({"name": "a <phone>", **device}, {"name": "executorch"}, {"name": name, "recipe": "int4"})
    run.add("first_token", 0.5, 0.6, 0.7)
    for part, seconds in (("preprocess", 0.01), ("vision", 0.4), ("prefill", 0.19)):
        run.add(part, seconds)
    for depth in (0, 512, 1024):
        run.add(f"decode@{depth}", *(speed - depth / 100 + n for n in range(5)))
    run.add("memory", 1.5e9)
    run.add("bundle", 8e8)
    run.curves["soak"] = [(t * 10.0, speed - t / 10) for t in range(60)]
    return run


def predicted() -> Run:
    run = Run({"name": "a board"}, {"name": "executorch"}, {"name": "guess"})
    run.bands = {f"decode@{d}": Band(40.0 - d / 100, 30.0, 50.0) for d in (0, 512)}
    return run


def test_one_run_shows_its_quartiles():
    found = view.table([measured("before", 100)])
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["time to first token, ms"] == ("600 ±8%", "550 to 650", "3")
    assert rows["decode, 512 tokens cached, tok/s"] == ("96.9 ±1%", "95.9 to 97.9", "5")
    assert rows["bundle on disk, MB"][0] == "800"


def test_two_runs_show_their_ratio_and_noise_is_marked():
    after = measured("after", 50)
    after.conditions["noisy"] = True
    found = view.table([measured("before", 100), after])
    assert found.columns == ("", "before", "after")
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["decode, 0 tokens cached, tok/s"][1] == "52 ±2%* (0.51 x)"
    assert rows["bundle on disk, MB"][1] == "800 (1.00 x)"
    crawling = view.table([measured("before", 100000), measured("after", 50)])
    assert crawling.rows[4][2] == "52 ±2% (0.00052 x)"  # not 0.00


def test_an_estimate_never_looks_measured():
    rows = {row[0]: row[1:] for row in view.table([measured("real", 100), predicted()]).rows}
    assert rows["decode, 0 tokens cached, tok/s"][1] == "~40 (30 to 50) (0.39 x)"
    assert rows["peak memory, MB"] == ("1,500", "-")
    alone = view.table([predicted()])
    assert alone.columns == ("", "guess")  # it has no quartiles and no samples
    assert alone.rows[0] == ("decode, 0 tokens cached, tok/s", "~40 (30 to 50)")


def test_labels_tell_what_differs():
    assert view.labels([measured("a", 1), measured("b", 1)]) == ["a", "b"]
    assert view.labels([measured("a", 1), measured("a", 1)]) == ["a (1)", "a (2)"]
    assert view.labels([measured("a", 1)]) == ["a"]


@pytest.mark.parametrize(("low", "high"), [(0, 87), (0, 1), (0, 0.004), (512, 1920), (0, 123456)])
def test_ticks_are_round_and_inside(low, high):
    found = svg.ticks(low, high)
    assert 3 <= len(found) <= 9
    assert low <= found[0]
    assert found[-1] <= high + 1e-9
    steps = {round((b - a) / found[-1], 9) for a, b in pairwise(found)}
    assert len(steps) == 1


def test_lines_are_drawn_to_scale():
    series = svg.Series("x", ((0, 10, 9, 11), (100, 20, 18, 22)))
    text = svg.lines("Speed", [series], "tokens", "tok/s")
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert "Speed" in root.get("aria-label")
    points = [tuple(map(float, p.split(","))) for p in root.find("polyline").get("points").split()]
    (x0, y0), (x1, y1) = points
    floor = svg.HEIGHT - svg.BOTTOM
    assert (x0, x1) == (svg.LEFT, svg.WIDTH - svg.RIGHT)
    assert (floor - y1) / (floor - y0) == pytest.approx(2, rel=0.01)  # twice as high above zero


def test_bars_are_stacked_to_scale_and_escaped():
    text = svg.bars(
        "T", [svg.Bar("<a>", (("x", 1.0), ("y", 3.0))), svg.Bar("b", (("x", 2.0), ("y", 0.0)))], "ms"
    )
    rects = ElementTree.fromstring(text).findall("rect")
    widths = [float(r.get("width")) for r in rects]
    assert widths[1] / widths[0] == pytest.approx(3, rel=0.01)
    assert widths[2] / widths[0] == pytest.approx(2, rel=0.01)
    assert float(rects[1].get("x")) == pytest.approx(widths[0], abs=0.1)


class _Outside(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href", "data", "srcset") or "url(" in (value or ""):
                self.found.append((tag, name, value))
        if tag in ("script", "link", "iframe", "object", "img"):
            self.found.append((tag, "", ""))


def test_the_page_loads_nothing_and_escapes_everything():
    page = Results([measured("before", 100), measured("<b>after", 50), predicted()]).to_html()
    outside = _Outside()
    outside.feed(page)
    assert outside.found == []
    assert "<b>after" not in page
    assert "&lt;b&gt;after" in page
    assert "prefers-color-scheme: dark" in page
    assert len(re.findall("<svg ", page)) == 4  # first token, decoding, soak, memory
    for chart in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(chart)
    # Every colour that a chart uses is a class of the page, light and dark.
    used = set(re.findall(r'class="(?:[a-z] )?([sf]\d)', page))
    assert used <= {f"{kind}{n}" for kind in "sf" for n in range(svg.COLOURS)}


def test_a_run_without_any_row_is_still_a_page():
    page = Results([Run({"name": "x"}, {}, {"name": "y"})]).to_html()
    assert "<svg" not in page


def test_names_are_no_markup():
    from rich.console import Console

    run = measured("a[/red]b [bold]c", 1)
    run.notes.append("[/x] said")
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    view.report([run]).print(console)
    view.report([run, measured("d", 2)]).print(console)
    text = console.export_text()
    assert "a[/red]b [bold]c" in text
    assert "[/x] said" in text


def test_missing_rows_and_notes_are_said_once_for_all():
    runs = [measured("a", 1), measured("b", 2)]
    for run in runs:
        run.missing["energy"] = "no counter"
    runs[1].notes.append("warm")
    tables = {t.title: t.rows for t in view.report(runs).tables}
    assert tables["Not in the table"] == (("energy per generated token: no counter", "all"),)
    assert tables["Notes"] == (("warm", "b"),)
