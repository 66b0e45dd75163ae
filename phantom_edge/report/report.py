"""A report: facts, checks, tables and plots, shown as a table, as JSON or as one self-contained HTML page."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phantom_edge.report.svg import Figure

if TYPE_CHECKING:
    from rich.console import Console

TEMPLATES = Path(__file__).parent
TEMPLATE = "report.html.jinja"
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
    """Rows under column titles."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Plot:
    """Bars of one value per label, on a logarithmic axis if ``log``."""

    title: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    log: bool = False


@dataclass
class Report:
    """What a command computed, as facts, checks, tables and plots; ``groups`` maps a question to its checks.

    ``figures`` are charts of the same numbers, which only the page shows.

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

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for checks in self.groups.values() for check in checks)

    @property
    def failures(self) -> list[Check]:
        return [check for checks in self.groups.values() for check in checks if check.passed is False]

    @property
    def verdict(self) -> str:
        """One sentence over all checks; nothing for a report that checks nothing."""
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
        del data["figures"]
        return {**data, "ok": self.ok, "verdict": self.verdict}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """One page with its style and plots inside it; nothing is loaded from elsewhere."""
        from jinja2 import Environment, FileSystemLoader

        environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
        environment.filters["shown"] = shown
        bars = [_bars(plot) for plot in self.plots]
        return environment.get_template(TEMPLATE).render(report=self, bars=bars)

    def print(self, console: Console) -> None:
        """Print as tables to a rich console."""
        from rich.table import Table as RichTable
        from rich.text import Text  # names come from files of others: none of them is taken for markup

        console.print(Text(self.title, style="bold"), highlight=False)
        for name, value in self.facts.items():
            console.print(f"  {name}: {shown(value)}", highlight=False, markup=False)
        for question, checks in self.groups.items():
            table = RichTable(title=Text(question), title_justify="left", title_style="bold")
            for column in ("check", "measured", "limit", "", "detail"):
                table.add_column(column, justify="right" if column in ("measured", "limit") else "left")
            for c in checks:
                limit, outcome = "" if c.limit is None else f"≤ {shown(c.limit)}", Text(*OUTCOMES[c.outcome])
                table.add_row(Text(c.name), Text(shown(c.value)), Text(limit), outcome, Text(c.detail))
            console.print(table)
        for data in self.tables:
            table = RichTable(title=Text(data.title), title_justify="left", title_style="bold")
            for n, column in enumerate(data.columns):
                table.add_column(Text(column), justify="left" if n == 0 else "right")
            for row in data.rows:
                table.add_row(*(Text(shown(cell)) for cell in row))
            console.print(table)
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


def megabytes(count: int) -> str:
    """A size in bytes in kB or MB (powers of ten)."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _bars(plot: Plot) -> dict[str, Any]:
    """Lengths in percent for the page's bar chart."""
    import math

    positive = [v for v in plot.values if v > 0]
    top, low = max(positive, default=1.0), min(positive, default=1.0)
    floor = math.log10(low) - 0.5 if plot.log else 0.0
    span = (math.log10(top) - floor if plot.log else top) or 1.0

    def length(value: float) -> float:
        if value <= 0:
            return 0.0
        return round(100 * ((math.log10(value) - floor) if plot.log else value) / span, 2)

    rows = [(label, shown(v), length(v)) for label, v in zip(plot.labels, plot.values, strict=True)]
    return {"title": plot.title, "rows": rows, "log": plot.log}
