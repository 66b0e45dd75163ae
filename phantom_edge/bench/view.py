"""Runs as a table for a terminal and as one self-contained page with charts; the same rows in both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phantom_edge.bench.results import Metric, Run, metric, order
from phantom_edge.report import svg
from phantom_edge.report.report import TEMPLATES, Report, Table, shown
from phantom_edge.report.svg import Figure

TEMPLATE = "page.html.jinja"
MISSING = "-"
PARTS = ("preprocess", "vision", "prefill")
UNTIMED = ("bundle", "drift")  # rows that no other process disturbs, or that are no median of many
LEAD = (
    "Medians, with half the distance between the quartiles; * other processes used the machine meanwhile; "
    "~ an estimate with its band, nothing measured."
)


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name per run, telling only what differs between them; numbered where nothing does."""
    fields = [
        (
            run.model.get("name", "?"),
            run.model.get("recipe", ""),
            run.runtime.get("name", "?"),
            run.device.get("name", "?"),
            "estimate" if run.estimated else "measured",
        )
        for run in runs
    ]
    telling = [n for n in range(len(fields[0])) if len({f[n] for f in fields}) > 1] or [0]
    names = [", ".join(str(f[n]) for n in telling if f[n]) for f in fields]
    return [f"{name} ({n + 1})" if names.count(name) > 1 else name for n, name in enumerate(names)]


def table(runs: Sequence[Run]) -> Table:
    """A row per metric, a column per run with its ratio to the first; one measured run has quartiles."""
    keys = sorted({key for run in runs for key in run.keys}, key=order)
    more = ("quartiles", "samples") if len(runs) == 1 and not runs[0].estimated else ()
    rows = []
    for key in keys:
        row = metric(key)
        if len(runs) == 1:
            cells = [_cell(runs[0], row), *_detail(runs[0], row)][: 1 + len(more)]
        else:
            others = (f"{_cell(run, row)}{_ratio(runs[0], run, key)}" for run in runs[1:])
            cells = [_cell(runs[0], row), *others]
        rows.append((f"{row.title}, {row.unit}", *cells))
    return Table("rows", ("", *labels(runs), *more), tuple(rows))


def report(runs: Sequence[Run]) -> Report:
    """The terminal's form."""
    title = runs[0].title if len(runs) == 1 else f"{len(runs)} runs; in brackets against the first"
    out = Report("bench", title, _facts(runs[0]) if len(runs) == 1 else {})
    comparison, named = table(runs), list(zip(labels(runs), runs, strict=True))
    tables = [(LEAD, comparison.columns, comparison.rows)]
    missing = [(key, why, name) for name, run in named for key, why in run.missing.items()]
    missing.sort(key=lambda gap: order(gap[0]))
    gaps = [(f"{metric(key).title.strip()}: {why}", name) for key, why, name in missing]
    notes = [(note, name) for name, run in named for note in run.notes]
    for heading, items in (("Not in the table", gaps), ("Notes", notes)):
        if items:
            tables.append((heading, ("", "runs"), _grouped(items, len(runs))))
    for heading, columns, rows in tables:
        out.tables.append(Table(heading, tuple(columns), tuple(map(tuple, rows))))
    return out


def _grouped(items: Sequence[tuple[str, str]], count: int) -> tuple[tuple[str, str], ...]:
    """One row per text, with the runs that it is said of."""
    texts: dict[str, list[str]] = {}
    for text, name in items:
        texts.setdefault(text, []).append(name)
    return tuple((text, "all" if len(names) == count else ", ".join(names)) for text, names in texts.items())


def page(runs: Sequence[Run]) -> str:
    """One HTML page with its style and charts inside it; nothing is loaded from elsewhere."""
    from jinja2 import Environment, FileSystemLoader

    title = runs[0].title if len(runs) == 1 else "Benchmarks side by side"
    shown_runs = [
        {
            "title": run.title,
            "facts": [(name, shown(value)) for name, value in _facts(run).items()],
            "notes": run.notes,
            "missing": [(metric(key).title.strip(), why) for key, why in run.missing.items()],
        }
        for run in runs
    ]
    environment = Environment(loader=FileSystemLoader([Path(__file__).parent, TEMPLATES]), autoescape=True)
    template = environment.get_template(TEMPLATE)
    return template.render(title=title, lead=LEAD, table=table(runs), figures=figures(runs), runs=shown_runs)


def figures(runs: Sequence[Run]) -> list[Figure]:
    """The charts that the runs have values for."""
    return [f for f in (_first_token(runs), _decode(runs), *_soak(runs), _memory(runs)) if f is not None]


def _first_token(runs: Sequence[Run]) -> Figure | None:
    rows = []
    for name, run in zip(labels(runs), runs, strict=True):
        values = [(part, run.value(part)) for part in PARTS]
        if all(value is None for _, value in values):
            continue
        parts = tuple((part, (value or 0.0) * 1e3) for part, value in values)
        rows.append(svg.Bar(name, parts, f"{sum(v for _, v in parts):,.0f} ms"))
    if not rows:
        return None
    title, key = "Time to first token", tuple(enumerate(PARTS))
    return Figure(title, svg.bars(title, rows, "ms"), key, "Medians of each part.")


def _decode(runs: Sequence[Run]) -> Figure | None:
    series = []
    for n, (name, run) in enumerate(zip(labels(runs), runs, strict=True)):
        points = tuple((float(depth), *_quartiles(run, f"decode@{depth}")) for depth in run.depths)
        if points:
            series.append(svg.Series(name, points, run.estimated, n))
    if not series:
        return None
    chart = svg.lines("Decoding", series, "tokens cached", "tok/s")
    key = tuple((s.colour % svg.COLOURS, s.name) for s in series)
    caption = "Marks are quartiles; a dashed line in a band is an estimate."
    return Figure("Decoding by cache depth", chart, key, caption)


def _soak(runs: Sequence[Run]) -> list[Figure]:
    figures = []
    curves = (("soak", "Speed over time", "tok/s"), ("temperature", "Temperature over time", "°C"))
    for curve, title, unit in curves:
        series = [
            svg.Series(name, tuple((x / 60, y, y, y) for x, y in run.curves[curve]), colour=n)
            for n, (name, run) in enumerate(zip(labels(runs), runs, strict=True))
            if run.curves.get(curve)
        ]
        if series:
            key = tuple((s.colour % svg.COLOURS, s.name) for s in series)
            chart = svg.lines(title, series, "minutes", unit)
            figures.append(Figure(title, chart, key, "While answering the same prompt again and again."))
    return figures


def _memory(runs: Sequence[Run]) -> Figure | None:
    rows = []
    for name, run in zip(labels(runs), runs, strict=True):
        for key, what in (("memory", "peak memory"), ("bundle", "on disk")):
            if (value := run.value(key)) is not None:
                rows.append(svg.Bar(f"{name}: {what}", ((what, value / 1e6),), f"{value / 1e6:,.0f} MB"))
    if not rows:
        return None
    title = "Memory and size"
    caption = "Peak of a fresh process, of a browser that of the page and of the GPU; files on disk."
    return Figure(title, svg.bars(title, rows, "MB"), (), caption)


def _quartiles(run: Run, key: str) -> tuple[float, float, float]:
    if summary := run.summary(key):
        return summary.median, summary.low, summary.high
    band = run.bands[key]
    return band.typical, band.low, band.high


def _cell(run: Run, row: Metric) -> str:
    if summary := run.summary(row.key):
        noisy = "*" if run.conditions.get("noisy") and row.key not in UNTIMED else ""
        spread = f" ±{summary.spread:.0%}" if summary.count > 1 and row.key not in UNTIMED else ""
        return f"{number(summary.median / row.divide)}{spread}{noisy}"
    if row.key in run.bands:
        band = run.bands[row.key]
        low, high = number(band.low / row.divide), number(band.high / row.divide)
        return f"~{number(band.typical / row.divide)}" + (f" ({low} to {high})" if low != high else "")
    return MISSING


def number(value: float) -> str:
    """Three significant digits, thousands separated.

    >>> number(28134.2), number(0.6648)
    ('28,134', '0.665')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _detail(run: Run, row: Metric) -> list[str]:
    summary = run.summary(row.key)
    if summary is None:
        return ["estimate", MISSING]
    return [f"{number(summary.low / row.divide)} to {number(summary.high / row.divide)}", str(summary.count)]


def _ratio(first: Run, other: Run, key: str) -> str:
    a, b = first.value(key), other.value(key)
    if not a or b is None or key == "drift":
        return ""
    return f" ({b / a:.2f} x)" if b / a >= 0.1 else f" ({b / a:.2g} x)"


def _facts(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for group, values in (("", run.model), ("", run.runtime), ("device ", run.device), ("", run.conditions)):
        for name, value in values.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {shown(v)}" for k, v in value.items())
            elif isinstance(value, list):
                value = ", ".join(shown(v) for v in value)
            if value not in ("", None):
                facts[_fact_name(group, name, facts)] = value
    return facts


def _fact_name(group: str, name: str, facts: dict[str, Any]) -> str:
    if name == "name":
        return {"": "model" if "model" not in facts else "runtime", "device ": "device"}[group]
    name = name.replace("_", " ")
    return name if name not in facts else f"{group}{name}"
