"""The result of a run as tables and plots: for the terminal, one HTML page, and Markdown. Pure arithmetic
over data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.stats import Sample, Summary, decode_bound, ratio, summary
from phantom_edge.report.report import Plot, Report, Table, shown

MISSING = "-"
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """One row: the key of its samples, its title, what divides the raw value, and which direction is
    better.
    """

    key: str
    title: str
    unit: str = "tok/s"
    divide: float = 1.0
    higher: bool = True


METRICS = (
    Metric("decode_empty", "decode, empty cache"),
    Metric("decode_deep", "decode, {depth} cached"),
    Metric("prefill", "prefill {prefill}"),
    Metric("tile", "vision encoder, one 448 px tile", "s", higher=False),
    Metric("tile_336", "vision encoder, one 336 px tile", "s", higher=False),
    Metric("tile_224", "vision encoder, one 224 px tile", "s", higher=False),
    Metric("resident", "resident, both models loaded", "MB", 1e6, higher=False),
    Metric("resident_trimmed", "resident, vision encoder given back", "MB", 1e6, higher=False),
    Metric("resident_decoder", "resident, decoder only", "MB", 1e6, higher=False),
)
FACTS = (
    Metric("decoder", "decoder's bytes", "MB", 1e6, higher=False),
    Metric("files", "all files", "MB", 1e6, higher=False),
    Metric("seconds", "export time", "s", higher=False),
    Metric("peak", "export, peak memory", "GB", 1e9, higher=False),
)


def summaries(result: Result) -> dict[str, dict[str, Summary]]:
    """By metric and contender."""
    return {
        m.key: {
            name: summary(_samples(result, name, m.key), higher_is_better=m.higher)
            for name in _names(result)
            if _samples(result, name, m.key)
        }
        for m in METRICS
    }


def rows(result: Result) -> list[tuple[str, ...]]:
    """A row of texts per metric: its title, then one cell per contender; ``*`` marks what was measured in
    noise.
    """
    found, lines = summaries(result), []
    for metric in METRICS:
        cells = [_cell(found[metric.key].get(name), metric) for name in _names(result)]
        if any(cell != MISSING for cell in cells):
            lines.append((f"{metric.title.format(**result['settings'])}, {metric.unit}", *cells))
    lines.extend(_bounds(result))
    for metric in FACTS:
        facts = [result["facts"].get(name, {}).get(metric.key) for name in _names(result)]
        cells = [MISSING if value is None else shown(float(value) / metric.divide) for value in facts]
        if any(cell != MISSING for cell in cells):
            lines.append((f"{metric.title}, {metric.unit}", *cells))
    return lines


def ratios(result: Result) -> list[tuple[str, ...]]:
    """Per metric, every contender against the best peer without phantom, by round; above 1 is better than the
    peer.
    """
    found, lines = summaries(result), []
    peers = [c["name"] for c in result["contenders"] if c["kind"] in ("torch", "llama")]
    for metric in METRICS[:4]:
        known = {name: found[metric.key][name] for name in peers if name in found[metric.key]}
        if not known:
            continue
        best = (max if metric.higher else min)(known, key=lambda name: known[name].median)
        theirs = _of_setting(result, best, metric, known[best])
        cells = []
        for name in _names(result):
            mine = found[metric.key].get(name)
            value = ratio(_of_setting(result, name, metric, mine), theirs) if mine else None
            cells.append(MISSING if value is None else f"{value if metric.higher else 1 / value:.2f}")
        lines.append((f"{metric.title.format(**result['settings'])}: against {best}", *cells))
    return lines


def report(result: Result) -> Report:
    """Tables and plots of a run."""
    facts = {"measured": result["when"], **result["machine"], **result["versions"]}
    facts["others' share of the cores"] = _noise(result)
    columns = ("", *_names(result))
    out = Report("bench", f"Phantom {result['settings']['size']}, side by side", facts | result["failures"])
    against = "against the best peer without phantom (above 1 is better)"
    out.tables.append(
        Table("medians (* measured while others used the machine)", columns, tuple(rows(result)))
    )
    out.tables.append(Table(against, columns, tuple(ratios(result))))
    for metric in METRICS[:7]:
        found = summaries(result)[metric.key]
        if found:
            title = f"{metric.title.format(**result['settings'])}, {metric.unit}"
            out.plots.append(
                Plot(title, tuple(found), tuple(s.median / metric.divide for s in found.values()))
            )
    return out


def markdown(result: Result) -> str:
    """The tables for a README, one column per contender."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    parts = [
        f"{result['when']}, {machine}; others used {_noise(result)} of the cores.",
        _grid(result, rows(result)),
        _grid(result, ratios(result)),
    ]
    return "\n\n".join(part for part in parts if part)


def _grid(result: Result, lines: list[tuple[str, ...]]) -> str:
    if not lines:
        return ""
    head = ("", *_names(result))
    rule = ("---", *["--:"] * len(_names(result)))
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def _noise(result: Result) -> str:
    return f"{result['others']:.0%}" + (" (NOISY: trust the ratios only)" if result["noisy"] else "")


def _names(result: Result) -> list[str]:
    return [c["name"] for c in result["contenders"]]


def _samples(result: Result, name: str, metric: str) -> list[Sample]:
    return [Sample(**s) for s in result["samples"].get(name, {}).get(metric, [])]


def _of_setting(result: Result, name: str, metric: Metric, best: Summary) -> list[Sample]:
    return [s for s in _samples(result, name, metric.key) if s.setting == best.setting]


def _cell(found: Summary | None, metric: Metric) -> str:
    if found is None:
        return MISSING
    spread = f" ±{found.spread:.0%}" if found.count > 1 else ""
    setting = f" ({found.setting})" if found.setting else ""
    return f"{shown(found.median / metric.divide)}{spread}{'*' if found.noisy else ''}{setting}"


def _bounds(result: Result) -> list[tuple[str, ...]]:
    """What memory bandwidth alone would allow on decode."""
    bandwidth, lines = result["machine"]["read bandwidth, GB/s"] * 1e9, []
    for title, cached in (
        ("empty cache", 0),
        (f"{result['settings']['depth']} cached", result["settings"]["depth"]),
    ):
        cells = []
        for name in _names(result):
            facts = result["facts"].get(name, {})
            known = "decoder" in facts and "cache_per_token" in facts
            bound = (
                decode_bound(bandwidth, facts["decoder"], facts["cache_per_token"], cached) if known else None
            )
            cells.append(MISSING if bound is None else shown(bound))
        lines.append((f"bandwidth allows, {title}, tok/s", *cells))
    return lines
