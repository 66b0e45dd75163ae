"""Results side by side, as a report and for machines: accuracies, changes, a benchmark's measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phantom_edge.checkpoint.origin import short_name
from phantom_edge.evaluate.examples import cautions, examples, names_of
from phantom_edge.evaluate.items import Suite
from phantom_edge.evaluate.result import EvalResult
from phantom_edge.evaluate.statistics import Accuracy, Change
from phantom_edge.report.report import Plot, Report, Table
from phantom_edge.runtime.confidence import LEAST_CONFIDENCE

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
    """The same as tables, with a plot of the tasks and some of the questions with their pictures."""
    first, names = results[0], names_of(results)
    facts: dict[str, Any] = {name: _summary(result) for name, result in zip(names, results, strict=True)}
    most = max(item.max_tokens for item in suite.items)
    facts["questions"] = f"{len(suite.items)}, greedy, at most {most} tokens each"
    facts |= {"scored by": suite.scoring, "intervals": INTERVALS}
    for name, result in zip(names, results, strict=True):
        facts |= {
            f"pieces of {short_name(one.model)}'s replies that {name} lacks": str(one) for one in result.gone
        }
    for name, result in zip(names, results, strict=True):
        if result.calibration:
            facts[f"confidence of {name}"] = f"{result.calibration}; sure is at least {LEAST_CONFIDENCE:.0%}"
    tables = [_accuracies(names, results)]
    for name, (_, overall, by_task) in zip(names[1:], changes(results), strict=True):
        counts = f"{overall.lost} lost, {overall.gained} gained"
        facts[f"change against {name}"] = f"{overall} points (95 %, paired; {counts})"
        tables.append(_changes(names[0], name, {"all questions": overall, **by_task}))
    tables += filter(None, (_measures(suite, *pair) for pair in zip(names, results, strict=True)))
    return Report(
        "eval",
        f"{names[0]}: {suite.name}",
        facts,
        tables=tables,
        plots=[accuracy_plot(name, result) for name, result in zip(names, results, strict=True)],
        examples=examples(suite.items, results),
        conclusion=_conclusion(names, results),
        cautions=cautions(first, "--samples"),
        provenance=_digests(names, results),
    )


def accuracy_plot(name: str, result: EvalResult) -> Plot:
    """Accuracy by task, with the intervals in the bars."""
    tasks = result.tasks
    percents = tuple(task.percent for task in tasks.values())
    intervals = tuple((task.low, task.high) for task in tasks.values())
    title = f"Accuracy of {name} in percent, with its 95 % interval"
    return Plot(title, tuple(tasks), percents, intervals=intervals, end=100.0)


def _conclusion(names: Sequence[str], results: Sequence[EvalResult]) -> str:
    """Who answered how many right, and whether a change is more than chance."""
    right = results[0].overall
    counts = f"{right.right} of {right.questions} right"
    said = [f"{names[0]}: {right.percent:.1f} % ({right.low:.1f} to {right.high:.1f}), {counts}"]
    for name, (_, overall, _) in zip(names[1:], changes(results), strict=True):
        if overall.low <= 0 <= overall.high:
            said.append(f"no difference from {name} shows ({overall} points)")
        else:
            better = "better" if overall.points > 0 else "worse"
            said.append(f"{better} than {name} ({overall} points)")
    return "; ".join(said)


def _digests(names: Sequence[str], results: Sequence[EvalResult]) -> dict[str, str]:
    pairs = zip(names, results, strict=True)
    return {f"{name}, SHA-256": result.facts["sha256"] for name, result in pairs if "sha256" in result.facts}


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


def _accuracies(names: Sequence[str], results: Sequence[EvalResult]) -> Table:
    rows: list[tuple[object, ...]] = []
    for task, accuracy in results[0].tasks.items():
        rows.append((task, accuracy.questions, *(_cell(result.tasks[task]) for result in results)))
    questions = results[0].overall.questions
    rows.append(("all questions", questions, *(_cell(result.overall) for result in results)))
    if len(results[0].tasks) > 1:
        rows.append(("mean of tasks", questions, *(f"{result.mean_of_tasks:.1f}" for result in results)))
    columns = ("task", "questions", *names)
    return Table("Accuracy in percent, with its 95 % interval", columns, tuple(rows))


def _changes(first: str, other: str, rows: dict[str, Change]) -> Table:
    title = f"{first} against {other}, the same questions, in points"
    cells = tuple((name, c.questions, str(c), c.lost, c.gained) for name, c in rows.items())
    return Table(title, ("task", "questions", "change (95 %)", "lost", "gained"), cells)


def _measures(suite: Suite, name: str, result: EvalResult) -> Table | None:
    measures = suite.measures(result.records)
    if not measures:
        return None
    columns = tuple(dict.fromkeys(name for values in measures.values() for name in values))
    rows = tuple((task, *(f"{values.get(c, 0):.1f}" for c in columns)) for task, values in measures.items())
    return Table(f"Further measures of {name}, in percent", ("task", *columns), rows)
