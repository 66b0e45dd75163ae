"""Results: one record per question, accuracies over them, and records as a file to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError, shown
from phantom_edge.evaluate.items import Item, Record, Suite
from phantom_edge.evaluate.statistics import Accuracy, Change, accuracy, change
from phantom_edge.runtime.confidence import LEAST_CONFIDENCE
from phantom_edge.system.outputs import RECORDS, check_file
from phantom_edge.system.reading import read_json_lines
from phantom_edge.system.writing import replacing_file

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Gone:
    """Of the ``tokens`` of another model's replies, those of pieces that are gone; in how many replies.

    Replies are taken as the checkpoint's tokenizer encodes them, so that those of an earlier run count too.
    """

    model: str
    tokens: int
    gone: int
    replies: int

    def __str__(self) -> str:
        share = 100 * self.gone / max(1, self.tokens)
        return f"{self.gone} of {self.tokens} tokens ({share:.2f} %), in {self.replies} replies"


@dataclass(frozen=True)
class Calibration:
    """How many replies have a confidence of at least a half, how many of these are right; and of the rest."""

    sure: int
    sure_right: int
    unsure: int
    unsure_right: int

    def __str__(self) -> str:
        """For people: where confidence tells right from wrong, the first share is high and the second low."""
        parts = [("sure", self.sure, self.sure_right), ("not sure", self.unsure, self.unsure_right)]
        return "; ".join(
            f"{name} of {n}, right in {right} ({100 * right / n:.1f} %)" for name, n, right in parts if n
        )


@dataclass
class EvalResult:
    """The records of one model in the order of the items; what ran, and for how many ``seconds``."""

    model: str
    records: list[Record]
    runs_as: str = ""
    seconds: float = 0.0
    pictures: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    gone: Sequence[Gone] = ()
    """What of the other models' replies this one has no piece for, where its vocabulary is trimmed."""

    @cached_property
    def overall(self) -> Accuracy:
        """Accuracy over all questions (micro average)."""
        return _accuracy(self.records)

    @cached_property
    def tasks(self) -> dict[str, Accuracy]:
        """Accuracy by task, in order of appearance."""
        return _by_task(self.records, _accuracy)

    @property
    def mean_of_tasks(self) -> float:
        """Mean of the tasks' accuracies in percent (macro average)."""
        return sum(task.percent for task in self.tasks.values()) / len(self.tasks)

    @property
    def confidences(self) -> list[float]:
        """The probabilities of the replies that were chosen from an item's choices."""
        return [r.confidence for r in self.records if r.chosen and r.confidence is not None]

    @property
    def calibration(self) -> Calibration | None:
        """How often it is right when it is sure, and when not; None where no confidence is known."""
        known = [(r.confidence, r.correct) for r in self.records if r.confidence is not None]
        if not known:
            return None
        sure = [right for confidence, right in known if confidence >= LEAST_CONFIDENCE]
        unsure = [right for confidence, right in known if confidence < LEAST_CONFIDENCE]
        return Calibration(len(sure), sum(sure), len(unsure), sum(unsure))

    @property
    def unanswered(self) -> list[Record]:
        """Records of questions that were refused."""
        return [record for record in self.records if record.error]

    def changes_from(self, before: EvalResult) -> tuple[Change, dict[str, Change]]:
        """Paired change from ``before`` to this one: overall, and by task.

        Raises :class:`InputError` when the two were not asked the same.
        """
        pairs = _pairs(before, self)
        return _change(pairs), _by_task(pairs, _change, key=lambda pair: pair[1].task)

    def to_dict(self) -> dict[str, Any]:
        chosen, calibration = self.confidences, self.calibration
        return {
            "model": self.model,
            "runs_as": self.runs_as,
            **self.facts,
            "seconds": self.seconds,
            "pictures": self.pictures,
            "unanswered": len(self.unanswered),
            **({"gone": [asdict(one) for one in self.gone]} if self.gone else {}),
            **({"constrained": len(chosen), "confidence": sum(chosen) / len(chosen)} if chosen else {}),
            **({"calibration": asdict(calibration)} if calibration else {}),
            "overall": self.overall.to_dict(),
            "mean_of_tasks": self.mean_of_tasks,
            "tasks": {name: task.to_dict() for name, task in self.tasks.items()},
        }


def _accuracy(records: Sequence[Record]) -> Accuracy:
    return accuracy([r.correct for r in records], [r.picture or r.id for r in records])


def _change(pairs: Sequence[tuple[Record, Record]]) -> Change:
    before, after = ([r.correct for r in side] for side in zip(*pairs, strict=True))
    return change(before, after, [r.picture or r.id for _, r in pairs])


def _by_task(
    rows: Sequence[Any], measure: Callable[[Sequence[Any]], Any], key: Callable[[Any], str] = lambda r: r.task
) -> dict[str, Any]:
    tasks = dict.fromkeys(map(key, rows))
    return {task: measure([row for row in rows if key(row) == task]) for task in tasks}


def _pairs(before: EvalResult, after: EvalResult) -> list[tuple[Record, Record]]:
    earlier = {record.id: record for record in before.records}
    content = attrgetter("question", "answer", "task")
    for record in after.records:
        other = earlier.get(record.id)
        if other is None or content(other) != content(record):
            what = f"question {shown(record.id)} of {after.model} was not asked of {before.model}"
            raise InputError(f"{what}; ask both the same --tasks, --samples, --split and --limit")
    if len(earlier) != len(after.records):
        raise InputError(f"{before.model} got {len(earlier)} questions, {after.model} {len(after.records)}")
    return [(earlier[record.id], record) for record in after.records]


def write_records(path: str | Path, results: Sequence[EvalResult]) -> None:
    """Write a line of JSON per record, with its ``model``; the file appears when it is whole."""
    path = Path(path)
    check_file(path, RECORDS)
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for result in results:
            for record in result.records:
                line = {"model": result.model, **asdict(record)}
                if record.confidence is None:
                    del line["confidence"]
                if not record.chosen:
                    del line["chosen"]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_records(path: str | Path, suite: Suite) -> EvalResult:
    """The records of an earlier run (of its first model) for a suite's items, judged anew.

    Raises :class:`InputError` when it is no such file, or does not hold all of the questions.
    """
    path, model = Path(path), None
    stored: dict[str, dict[str, Any]] = {}
    for number, line in read_json_lines(path):
        if not all(isinstance(line.get(name), str) for name in ("model", "id", "question", "reply")):
            raise InputError(f"{path}, line {number}: no record of an evaluation; --records writes them")
        model = model or line["model"]
        if line["model"] == model:
            stored[line["id"]] = line
    records = [_stored(path, item, stored.get(item.id)) for item in suite.items]
    return EvalResult(str(model), records, runs_as=f"records of {path.name}")


def recorded(path: str | Path) -> list[EvalResult]:
    """Every model's records in a file of an earlier run, as they were judged then.

    Raises :class:`InputError` when it is no such file.
    """
    path, texts = Path(path), ("model", "id", "task", "question", "reply")
    models: dict[str, list[Record]] = {}
    for number, line in read_json_lines(path):
        right, picture = line.get("correct"), line.get("picture", "")
        if not all(isinstance(line.get(name), str) for name in texts) or not isinstance(right, bool):
            raise InputError(f"{path}, line {number}: no record of an evaluation; --records writes them")
        record = Record(line["id"], line["task"], str(picture), line["question"], "", line["reply"], right)
        models.setdefault(line["model"], []).append(record)
    if not models:
        raise InputError(f"{path}: holds no record of an evaluation; --records writes them")
    return [
        EvalResult(model, records, runs_as=f"records of {path.name}") for model, records in models.items()
    ]


def _stored(path: Path, item: Item, line: dict[str, Any] | None) -> Record:
    if line is None or line["question"] != item.question:
        options = "--benchmark, --tasks, --samples, --split and --limit"
        what = f"{path}: question {shown(item.id)} is not among its records"
        raise InputError(f"{what}; use the {options} that it was written with")
    error = str(line.get("error", ""))
    correct = not error and bool(item.judge(line["reply"].strip()))
    key = "" if item.picture is None else item.picture.key
    confidence = line.get("confidence")
    return Record(
        item.id,
        item.task,
        key,
        item.question,
        item.answer,
        line["reply"],
        correct,
        error=error,
        confidence=confidence if isinstance(confidence, float) else None,
        chosen=line.get("chosen") is True,
    )
