"""A report: facts, checks, tables and plots, shown as a table, as JSON or as one self-contained HTML page."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phantom_edge.report.examples import Example, brief
from phantom_edge.report.provenance import provenance
from phantom_edge.report.svg import Figure

if TYPE_CHECKING:
    from rich.console import Console

TEMPLATES = Path(__file__).parent
TEMPLATE = "report.html.jinja"
NARROW = 72
"""Columns of a terminal below which a table would break most of its words."""
OUTCOMES = {
    "ok": ("ok", "green"),
    "failed": ("FAILED", "red"),
    "undecided": ("undecided", "yellow"),
    "": ("", ""),
}
"""Of a check, as a terminal shows it: word and colour."""


@dataclass(frozen=True)
class Check:
    """One measured value against its limit."""

    name: str
    value: float | int | str
    limit: float | None = None
    """The most that passes, or null for what only informs."""
    passed: bool | None = None
    """Null where there is no limit, and where it cannot be decided."""
    detail: str = ""
    """What was measured, in words."""
    reason: str = ""
    """Why the limit is what it is."""

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, reason: str, detail: str = "") -> Check:
        """Passes when ``value`` is a number not above ``limit``."""
        return cls(name, value, limit, bool(value <= limit), detail, reason)  # False for NaN

    @property
    def outcome(self) -> str:
        """``ok``, ``failed``, ``undecided``, or nothing where there is no limit."""
        if self.passed is None:
            return "" if self.limit is None else "undecided"
        return "ok" if self.passed else "failed"


@dataclass(frozen=True)
class Table:
    """Rows under column titles; ``detail`` is what a first look can do without."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    detail: bool = False


@dataclass(frozen=True)
class Plot:
    """Bars of one value per label, on a logarithmic axis if ``log``.

    ``intervals`` has the low and the high end for each value, or nothing. ``end`` is where the axis ends, by
    default at the largest value.
    """

    title: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    log: bool = False
    intervals: tuple[tuple[float, float], ...] = ()
    end: float | None = None


@dataclass
class Report:
    """What a command computed, as facts, checks, tables and plots; ``groups`` maps a question to its checks.

    ``conclusion`` is said with the verdict, ``cautions`` right below it. The page alone shows ``figures``,
    charts of the same numbers, ``examples``, pictures with the answers about them, and ``provenance``, such
    as digests.

    >>> report = pe.inspect()
    >>> report.ok, report.to_html()[:15]
    (True, '<!doctype html>')
    """

    kind: str
    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[Check]] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    conclusion: str = ""
    cautions: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for checks in self.groups.values() for check in checks)

    @property
    def failures(self) -> list[Check]:
        return [check for checks in self.groups.values() for check in checks if check.passed is False]

    @property
    def verdict(self) -> str:
        """One sentence over all checks, and the conclusion; nothing for a report that has neither."""
        return ". ".join(filter(None, (self._judgement, self.conclusion)))

    @property
    def judged(self) -> bool:
        """Whether any check has a limit."""
        return bool(self._judgement)

    @property
    def _judgement(self) -> str:
        checks = [check for checks in self.groups.values() for check in checks]
        counts = Counter(check.outcome for check in checks)
        judged = counts["ok"] + counts["failed"] + counts["undecided"]
        if not judged:
            return ""
        if counts["failed"]:
            names = "; ".join(dict.fromkeys(check.name for check in self.failures))
            return f"FAILED: {counts['failed']} of {judged} checks: {names}"
        undecided = f", {counts['undecided']} undecided" if counts["undecided"] else ""
        return f"Right: {counts['ok']} checks passed{undecided}"

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        for shown_on_the_page in ("figures", "examples", "conclusion"):
            del data[shown_on_the_page]
        return {**data, "ok": self.ok, "verdict": self.verdict}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_html(self, *, dated: bool = True) -> str:
        """One page with its style, plots and pictures inside it; nothing is loaded from elsewhere."""
        from jinja2 import Environment, FileSystemLoader

        environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
        environment.filters |= {"shown": shown, "brief": brief}
        bars = [_bars(plot) for plot in self.plots]
        made = {**provenance(dated=dated), **self.provenance}
        return environment.get_template(TEMPLATE).render(report=self, bars=bars, made=made)

    def print(self, console: Console, *, details: bool = True) -> None:
        """Print to a rich console; without ``details`` a table of details is named alone.

        Where the console is narrower than :data:`NARROW`, lines take the place of tables.
        """
        from rich.text import Text  # names come from files of others: none of them is taken for markup

        console.print(Text(self.title, style="bold"), highlight=False)
        for name, value in self.facts.items():
            console.print(f"  {name}: {shown(value)}", highlight=False, markup=False)
        narrow = console.width < NARROW
        for question, checks in self.groups.items():
            (_check_lines if narrow else _check_table)(question, checks, console)
        for table in self.tables:
            if details or not table.detail:
                (_row_lines if narrow else _row_table)(table, console)
        left_out = [f"{t.title} ({len(t.rows)} rows)" for t in self.tables if t.detail and not details]
        if left_out:
            console.print(f"  with --all: {', '.join(left_out)}", highlight=False, markup=False)
        for caution in self.cautions:
            console.print(f"note: {caution}", highlight=False, markup=False)
        if self.verdict:
            console.print(self.verdict, style="bold", highlight=False, markup=False)


def shown(value: Any) -> str:
    """A value for a person: three significant digits for floats, thousands separated."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and not 1e-3 <= abs(value) < 1e5:
            return f"{value:.2e}"
        return f"{value:.4g}"
    return str(value)


def gigabytes(count: int) -> str:
    """A size in bytes in GB (powers of ten).

    >>> from phantom_edge.report.report import gigabytes
    >>> gigabytes(25_200_000_000)
    '25.2 GB'
    """
    return f"{count / 1e9:,.1f} GB"


def megabytes(count: int) -> str:
    """A size in bytes in kB or MB (powers of ten)."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _check_table(question: str, checks: list[Check], console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(title=Text(question), title_justify="left", title_style="bold")
    limited = any(check.limit is not None for check in checks)
    for column in ("check", "measured", *(["limit"] if limited else []), "", "detail"):
        table.add_column(column, justify="right" if column in ("measured", "limit") else "left")
    for check in checks:
        limit, outcome = [Text(_limit(check))] if limited else [], Text(*OUTCOMES[check.outcome])
        table.add_row(Text(check.name), Text(shown(check.value)), *limit, outcome, Text(check.detail))
    console.print(table)


def _check_lines(question: str, checks: list[Check], console: Console) -> None:
    from rich.text import Text

    console.print(Text(question, style="bold"))
    for check in checks:
        word, colour = OUTCOMES[check.outcome]
        limit = f" ({_limit(check)})" if check.limit is not None else ""
        console.print(Text(f"  {check.name}: {shown(check.value)}{limit} ").append(word, style=colour))
        if check.detail:
            console.print(Text(f"    {check.detail}"))


def _limit(check: Check) -> str:
    return "" if check.limit is None else f"≤ {shown(check.limit)}"


def _row_table(data: Table, console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(title=Text(data.title), title_justify="left", title_style="bold")
    for n, column in enumerate(data.columns):
        table.add_column(Text(column), justify="left" if n == 0 else "right")
    for row in data.rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    console.print(table)


def _row_lines(data: Table, console: Console) -> None:
    """A row's first cell, and the others with their columns' names."""
    from rich.text import Text

    console.print(Text(data.title, style="bold"))
    for first, *rest in data.rows:
        cells = [f"{name} {shown(cell)}" for name, cell in zip(data.columns[1:], rest, strict=True)]
        console.print(Text(f"  {shown(first)}{': ' if cells else ''}{', '.join(cells)}"))


def _bars(plot: Plot) -> dict[str, Any]:
    """Lengths in percent for the page's bar chart, and where each interval begins and how far it goes."""
    import math

    numbers = [*plot.values, *(high for _, high in plot.intervals)]
    positive = [v for v in numbers if v > 0]
    top, low = plot.end or max(positive, default=1.0), min(positive, default=1.0)
    floor = math.log10(low) - 0.5 if plot.log else 0.0
    span = (math.log10(top) - floor if plot.log else top) or 1.0

    def length(value: float) -> float:
        if value <= 0:
            return 0.0
        return round(100 * ((math.log10(value) - floor) if plot.log else value) / span, 2)

    rows = []
    for n, (label, value) in enumerate(zip(plot.labels, plot.values, strict=True)):
        row = {"label": label, "text": shown(value), "length": length(value)}
        if plot.intervals:
            start, end = plot.intervals[n]
            row |= {"start": length(start), "width": round(length(end) - length(start), 2)}
            row["text"] = f"{value:.1f} ({start:.1f} to {end:.1f})"
        rows.append(row)
    return {"title": plot.title, "rows": rows, "log": plot.log, "interval": bool(plot.intervals)}
