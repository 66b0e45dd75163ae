"""A quantisation as a report: its cost per module and over all, and what else was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phantom_edge.evaluate.examples import cautions
from phantom_edge.evaluate.summary import accuracy_plot
from phantom_edge.quantize.other_quantizers import Comparison
from phantom_edge.quantize.result import Quantization
from phantom_edge.report.report import Check, Plot, Report, Table, megabytes

if TYPE_CHECKING:
    from phantom_edge.evaluate.result import EvalResult
    from phantom_edge.evaluate.statistics import Accuracy, Change

COST = "What it costs: next tokens against the original's in fp32, on pictures that nothing was fitted to"
PRECISION = {"fp32": 32.0, "fp16": 16.0, "int8": 8.0}


def quantization_report(
    quantization: Quantization,
    name: str,
    comparisons: Sequence[Comparison] = (),
    answers: Sequence[EvalResult] = (),
) -> Report:
    """The whole report.

    ``comparisons`` are with other quantisers, ``answers`` the quantised model's accuracy and the original's.
    """
    facts = quantization.facts
    report = Report(
        "quantize",
        f"{name}: {quantization.recipe.name}, {quantization.method}",
        _facts(quantization),
        {COST: _checks(facts)},
    )
    report.tables += tables(quantization)
    report.plots += plots(quantization)
    if comparisons:
        report.tables.insert(0, _comparisons(comparisons))
    if answers:
        report.tables.insert(0, _answers(answers))
        report.plots = [*(accuracy_plot(answer.model, answer) for answer in answers), *report.plots]
        report.cautions += cautions(answers[0], "--accuracy")
    report.conclusion = _conclusion(quantization, answers)
    return report


def _conclusion(quantization: Quantization, answers: Sequence[EvalResult]) -> str:
    """Size and cost in a sentence."""
    facts = quantization.facts
    costs = next(iter(facts["measured"].values()))
    said = [
        f"{megabytes(facts['bytes'])} of weights at {costs['kl']:.3g} nats from the original",
        f"{100 * costs['agreement']:.1f} % of its next tokens are the same",
    ]
    if answers:
        change, _ = answers[0].changes_from(answers[1])
        said.append(f"{answers[0].overall.percent:.1f} % of the answers right ({change} points)")
    return "; ".join(said)


def tables(quantization: Quantization) -> list[Table]:
    """The modules, one row each."""
    columns = (
        "module",
        "precision",
        "bytes",
        "error before",
        "after",
        "int8 inputs",
        "outlier",
        "folded scale",
    )
    rows = tuple(
        (r.name, r.precision, r.bytes, r.before, r.after, r.activation, r.outlier, r.scale)
        for r in quantization.rows
    )
    title = (
        "Per module: relative error of its output, round-to-nearest before and this method after; the "
        "error of int8 "
        "inputs alone; how far the largest input channel stands out"
    )
    return [Table(title, columns, rows)]


def plots(quantization: Quantization) -> list[Plot]:
    """What each module costs at each precision, and the choice; without one, each module's error."""
    choice = quantization.facts.get("sensitivity")
    if not isinstance(choice, Mapping):
        names, errors = tuple(r.name for r in quantization.rows), tuple(r.after for r in quantization.rows)
        return [Plot("Relative error of each module's output", names, errors, log=True)]
    labels = tuple(f"{name} ({entry['chosen']})" for name, entry in choice["modules"].items())
    bits = tuple(float(_bits(entry["chosen"])) for entry in choice["modules"].values())
    costs = {
        f"{name}, {option['precision']}"
        + (" (chosen)" if option["precision"] == entry["chosen"] else ""): option["kl"]
        for name, entry in choice["modules"].items()
        for option in entry["options"]
        if not option["precision"].startswith("fp")
    }
    return [
        Plot("Bits per weight, as chosen", labels, bits),
        Plot(
            "KL divergence that each module's integers cost (nats per token)",
            tuple(costs),
            (*costs.values(),),
            True,
        ),
    ]


def _bits(precision: str) -> int:
    digits = precision.removeprefix("int").removeprefix("fp").partition(":")[0]
    return int(digits)


def _facts(quantization: Quantization) -> dict[str, Any]:
    facts = quantization.facts
    rows: dict[str, Any] = {"size of all weights": megabytes(facts["bytes"])}
    for key, title in (("calibration", "calibrated on"), ("measured_on", "measured on")):
        entry = facts[key]
        rows[title] = f"{entry['name']}, {entry['samples']} samples, {entry['tokens']:,} tokens"
    fold = facts["fold_from"]
    rows["phantom constants"] = f"from the {fold['chosen']} weights" + (
        f" (KL {fold['kl']['original']:.3g} from the originals, {fold['kl']['quantised']:.3g} from the "
        "quantised)"
        if "kl" in fold
        else ""
    )
    if budget := facts.get("sensitivity", {}).get("budget"):
        rows["budget"] = megabytes(int(budget["bytes"])) if "bytes" in budget else f"{budget['nats']:g} nats"
    return rows


def _checks(facts: Mapping[str, Any]) -> list[Check]:
    rows = []
    for name, q in facts["measured"].items():
        detail = f"largest {q['largest']:.3g}; top-1 agreement {100 * q['agreement']:.2f} %, "
        detail += f"{q['positions']} positions"
        rows.append(Check(f"{name}: mean KL (nats)", q["kl"], detail=detail))
    if cache := facts.get("kv_cache"):
        q = cache["beyond_quantised"]
        detail = (
            f"beyond the weights' own; top-1 agreement {100 * q['agreement']:.2f} %; not part of the integers"
        )
        rows.append(Check("int8 KV cache: mean KL (nats)", q["kl"], detail=detail))
    return rows


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    columns = ("method", "bytes", "mean KL (nats)", "largest", "top-1 agreement (%)")
    rows = tuple(
        (c.name, c.bytes, c.quality.kl, c.quality.largest, f"{100 * c.quality.agreement:.2f}")
        for c in comparisons
    )
    return Table("Other quantisers on the same weights", columns, rows)


def _answers(answers: Sequence[EvalResult]) -> Table:
    after, before = answers
    overall, tasks = after.changes_from(before)
    columns = ("task", "questions", "original", "quantised", "change (95 %)")

    def row(name: str, new: Accuracy, old: Accuracy, change: Change) -> tuple[object, ...]:
        return (
            name,
            old.questions,
            *(f"{x.percent:.1f} ({x.low:.1f} to {x.high:.1f})" for x in (old, new)),
            str(change),
        )

    rows = [row(name, after.tasks[name], before.tasks[name], change) for name, change in tasks.items()]
    rows.append(row("all questions", after.overall, before.overall, overall))
    return Table(
        "Accuracy in percent with its 95 % interval, and the paired change in points", columns, tuple(rows)
    )
