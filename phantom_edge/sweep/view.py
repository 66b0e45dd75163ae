"""A sweep as tables and plots: who is on the Pareto front, who won and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phantom_edge.bench.view import number
from phantom_edge.evaluate.summary import INTERVALS
from phantom_edge.report import svg
from phantom_edge.report.report import Report, Table
from phantom_edge.sweep.front import Measures, against
from phantom_edge.sweep.request import SweepRequest
from phantom_edge.sweep.result import ANSWER_TOKENS, Best, Made, Row, Speed

MISSING = "-"
LEGEND = "Filled: on the Pareto front of size, answers, KL and seconds. Hollow: beaten. Ringed: the winner."


def rule(request: SweepRequest) -> str:
    """How the winner is chosen, in a sentence."""
    best = "the fastest" if request.prefer == "speed" else "the smallest"
    size = "" if request.max_mb is None else f" of at most {request.max_mb:g} MB"
    if request.within is None:
        answers = "are not significantly worse than the best (95 % interval of the paired change)"
    else:
        answers = f"are at most {request.within:g} points worse than the best"
    return f"{best}{size} whose answers {answers}"


def report(request: SweepRequest, model: str, rows: Sequence[Row], best: Best) -> Report:
    """Facts, the table of combinations, their speed, what failed, and the plots."""
    out = Report("sweep", f"{model}: {len(rows)} combinations", _facts(request, rows, best))
    out.tables.append(_table(request, rows, best))
    if any(row.made for row in rows):
        out.tables.append(_speeds(request, rows))
    if failed := tuple((row.name, row.error) for row in rows if row.error):
        out.tables.append(Table("Failed", ("combination", "why"), failed))
    out.figures += figures(request, rows, best)
    return out


def _facts(request: SweepRequest, rows: Sequence[Row], best: Best) -> dict[str, Any]:
    facts: dict[str, Any] = {"rule": best.rule}
    if best.choice is None:
        facts["winner"] = "none: nothing is finished that is small enough and runs there"
    else:
        facts["winner"] = best.choice.winner
        facts["best answers"] = best.choice.best
        facts["command"] = next(row.command for row in rows if row.name == best.choice.winner)
    made = next((row.made for row in rows if row.made), None)
    questions = 0 if made is None else len(made.answers)
    facts["answers"] = f"{questions} questions on drawn scenes, greedy. {INTERVALS}"
    device = request.device
    where = "measured on the machine that made it" if device is None else f"predicted for {device}"
    facts["seconds"] = f"first token and {ANSWER_TOKENS - 1} more, of one tile; {where}"
    if device is None and len({row.timed.processor for row in rows if row.timed and row.timed.speed}) > 1:
        facts["note"] = "measured on different processors: compare seconds within one of them only"
    return facts


def _table(request: SweepRequest, rows: Sequence[Row], best: Best) -> Table:
    measures = {row.name: row.measures(request.device) for row in rows}
    top = measures.get(best.choice.best) if best.choice else None
    columns = ("", "combination", "", "MB", "right, %", "against the best", "KL, nats", "seconds")
    cells = []
    for n, row in enumerate(rows, start=1):
        own = measures[row.name]
        noisy = request.device is None and row.timed is not None and row.timed.noisy
        seconds = _seconds(row.speed(request.device), predicted=request.device is not None, noisy=noisy)
        cells.append((str(n), row.name, _mark(row, best), *_costs(row.made, own, top), seconds))
    return Table("Combinations, and what each costs", columns, tuple(cells))


def _mark(row: Row, best: Best) -> str:
    if row.error:
        return "failed"
    if best.choice and row.name == best.choice.winner:
        return "winner"
    return "front" if row.name in best.front else ""


def _costs(made: Made | None, own: Measures | None, top: Measures | None) -> tuple[str, ...]:
    """Megabytes, right answers with their interval, the change from the best ones, KL."""
    if made is None:
        return (MISSING,) * 4
    right = made.accuracy
    answers = f"{right.percent:.1f} ({right.low:.1f} to {right.high:.1f})"
    change = MISSING if own is None or top is None or own is top else str(against(top, own))
    return f"{made.bytes / 1e6:,.2f}", answers, change, f"{made.kl:.2g}"


def _seconds(speed: Speed | None, *, predicted: bool, noisy: bool = False) -> str:
    if speed is None:
        return MISSING
    mark = "~" if predicted else ""
    return (
        f"{mark}{number(speed.seconds)} ({number(speed.low)} to {number(speed.high)}){'*' if noisy else ''}"
    )


def _speeds(request: SweepRequest, rows: Sequence[Row]) -> Table:
    title = (
        "Speed where it was made; * other processes used the machine meanwhile, ~ a prediction with its band"
    )
    device = f"seconds on {request.device}" if request.device else None
    columns = (
        "combination",
        "first token, ms",
        "decode, tok/s",
        "seconds",
        "peak, MB",
        *filter(None, [device]),
    )
    cells = []
    for row in rows:
        timed = row.timed
        speed = timed.speed if timed else None
        if speed is None or timed is None:
            reason = timed.why if timed and timed.why else MISSING
            values: tuple[str, ...] = (MISSING, MISSING, reason, MISSING)
        else:
            peak = MISSING if timed.memory is None else number(timed.memory / 1e6)
            first, decode = number(speed.first_token * 1e3), number(speed.decode)
            values = (first, decode, _seconds(speed, predicted=False, noisy=timed.noisy), peak)
        predicted = (_seconds(row.speed(request.device), predicted=True),) if device else ()
        cells.append((row.name, *values, *predicted))
    return Table(title, columns, tuple(cells))


def figures(request: SweepRequest, rows: Sequence[Row], best: Best) -> list[svg.Figure]:
    """Answers and KL over size and seconds, every combination a numbered dot, the front filled."""
    dots = _dots(request, rows, best)
    if not dots:
        return []
    targets = list(dict.fromkeys(row.combination.values[0] for row in rows))
    key = tuple((n % svg.COLOURS, target) for n, target in enumerate(targets))
    where = f"seconds on {request.device}, predicted" if request.device else "seconds, measured here"
    plots = [("Answers by size", "MB", "right, %", 0, 2), ("Answers by speed", where, "right, %", 1, 2)]
    plots += [("Distance from the original by size", "MB", "KL, thousandths of a nat", 0, 3)]
    out = []
    for title, x_title, y_title, x, y in plots:
        placed = [dot for dot in (_dot(entry, targets, x, y) for entry in dots) if dot is not None]
        if placed:
            chart = svg.scatter(title, placed, x_title, y_title)
            out.append(svg.Figure(title, chart, key, f"{LEGEND} Numbers are the table's."))
    return out


Entry = tuple[int, Row, Made, Measures, Best]


def _dots(request: SweepRequest, rows: Sequence[Row], best: Best) -> list[Entry]:
    numbered = ((n, row, row.made, row.measures(request.device)) for n, row in enumerate(rows, start=1))
    return [
        (n, row, made, own, best) for n, row, made, own in numbered if made is not None and own is not None
    ]


def _dot(entry: Entry, targets: list[str], x: int, y: int) -> svg.Dot | None:
    """A combination at two of its values: 0 megabytes, 1 seconds, 2 percent right, 3 KL in 1e-3 nats."""
    n, row, made, own, best = entry
    right = made.accuracy
    values = (own.bytes / 1e6, own.seconds, right.percent, own.kl * 1e3)
    across, up = values[x], values[y]
    if across is None or up is None:
        return None
    low, high = (right.low, right.high) if y == 2 else (up, up)
    winner = best.choice is not None and best.choice.winner == row.name
    colour = targets.index(row.combination.values[0])
    on_front = row.name in best.front
    return svg.Dot(str(n), row.name, across, up, low, high, filled=on_front, ringed=winner, colour=colour)
