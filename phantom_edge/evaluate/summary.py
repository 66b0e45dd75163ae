"""Results side by side, as a report and for machines: accuracies, changes, a benchmark's measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phantom_edge.evaluate.items import Suite
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.evaluate.statistics import Accuracy, Change
from phantom_edge.report.report import Plot, Report, Table

INTERVALS = "95 %: Wilson for accuracy, Bonett-Price for paired changes; a picture's questions are a cluster"


def changes(results: Sequence[EvalResult]) -> list[tuple[EvalResult, Change, dict[str, Change]]]:
    """What the first result won or lost against each of the others, overall and by task."""
    return [(other, *results[0].changes_from(other)) for other in results[1:]]


def to_dict(suite: Suite, results: Sequence[EvalResult]) -> dict[str, Any]:
    """Everything for machines: accuracies and their intervals in percent, changes in points."""
    return {
        "kind": "eval",
        "suite": suite.name,
        "scoring": suite.scoring,
        "decoding": "greedy",
        "results": [{**result.to_dict(), "measures": suite.measures(result.records)} for result in results],
        "changes": [
            {
                "of": results[0].model,
                "against": other.model,
                "overall": overall.to_dict(),
                "tasks": {name: task.to_dict() for name, task in tasks.items()},
            }
            for other, overall, tasks in changes(results)
        ],
    }


def report(suite: Suite, results: Sequence[EvalResult]) -> Report:
    """The same as tables, with a plot of the tasks."""
    first = results[0]
    facts: dict[str, Any] = {result.model: _summary(result) for result in results}
    most = max(item.max_tokens for item in suite.items)
    facts["questions"] = f"{len(suite.items)}, greedy, at most {most} tokens each"
    facts |= {"scored by": suite.scoring, "intervals": INTERVALS}
    for result in results:
        facts |= {
            f"pieces of {one.model}'s replies that {result.model} lacks": str(one) for one in result.gone
        }
    tables = [_accuracies(results)]
    for other, overall, by_task in changes(results):
        counts = f"{overall.lost} lost, {overall.gained} gained"
        facts[f"change against {other.model}"] = f"{overall} points (95 %, paired; {counts})"
        tables.append(_changes(first, other, {"all questions": overall, **by_task}))
    tables += [table for result in results if (table := _measures(suite, result)) is not None]
    tasks = first.tasks
    bars = Plot(f"Accuracy of {first.model} (%)", tuple(tasks), tuple(t.percent for t in tasks.values()))
    return Report("eval", f"Accuracy: {suite.name}", facts, tables=tables, plots=[bars])


def _summary(result: EvalResult) -> str:
    text = result.runs_as
    if result.seconds:
        text += f"; {result.seconds:.1f} s"
    if chosen := result.confidences:
        mean = sum(chosen) / len(chosen)
        text += f"; {len(chosen)} replies are the likeliest of their choices, mean confidence {mean:.2f}"
    if lost := result.unanswered:
        text += f"; {len(lost)} could not be asked and count as wrong ({lost[0].error})"
    return text


def _cell(value: Accuracy) -> str:
    return f"{value.percent:.1f} ({value.low:.1f} to {value.high:.1f})"


def _accuracies(results: Sequence[EvalResult]) -> Table:
    rows: list[tuple[object, ...]] = []
    for task, accuracy in results[0].tasks.items():
        rows.append((task, accuracy.questions, *(_cell(result.tasks[task]) for result in results)))
    questions = results[0].overall.questions
    rows.append(("all questions", questions, *(_cell(result.overall) for result in results)))
    if len(results[0].tasks) > 1:
        rows.append(("mean of tasks", questions, *(f"{result.mean_of_tasks:.1f}" for result in results)))
    columns = ("task", "questions", *(result.model for result in results))
    return Table("Accuracy in percent, with its 95 % interval", columns, tuple(rows))


def _changes(first: EvalResult, other: EvalResult, rows: dict[str, Change]) -> Table:
    title = f"{first.model} against {other.model}, the same questions, in points"
    cells = tuple((name, c.questions, str(c), c.lost, c.gained) for name, c in rows.items())
    return Table(title, ("task", "questions", "change (95 %)", "lost", "gained"), cells)


def _measures(suite: Suite, result: EvalResult) -> Table | None:
    measures = suite.measures(result.records)
    if not measures:
        return None
    columns = tuple(dict.fromkeys(name for values in measures.values() for name in values))
    rows = tuple((task, *(f"{values.get(c, 0):.1f}" for c in columns)) for task, values in measures.items())
    return Table(f"Further measures of {result.model}, in percent", ("task", *columns), rows)
