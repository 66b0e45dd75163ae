"""What was measured of a combination, as records that are kept between runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from phantom_edge.bench.results import Run
from phantom_edge.evaluate.items import Record
from phantom_edge.evaluate.statistics import Accuracy, accuracy
from phantom_edge.records import to_json
from phantom_edge.sweep.axes import Combination
from phantom_edge.sweep.front import Choice, Measures

ANSWER_TOKENS: Final = 32
"""Of the answer whose seconds are compared: the first token and 31 more."""


@dataclass(frozen=True)
class Answer:
    """One question: whether the reply was right."""

    id: str
    task: str
    picture: str
    correct: bool

    @classmethod
    def of(cls, record: Record) -> Answer:
        return cls(record.id, record.task, record.picture or record.id, record.correct)


@dataclass(frozen=True)
class Speed:
    """Seconds of a whole answer between ``low`` and ``high``: quartiles where it was measured, else a band.

    ``first_token`` in seconds and ``decode`` in tokens per second with ``depth`` tokens cached are its parts.
    """

    seconds: float
    low: float
    high: float
    first_token: float
    decode: float
    depth: int

    @classmethod
    def of(cls, run: Run) -> Speed | None:
        """From a measured or a predicted run, at its deepest cache; None where it lacks a part."""
        if not run.depths or run.value("first_token") is None:
            return None
        depth = max(run.depths)
        (first, fast, slow), (rate, low, high) = (_three(run, k) for k in ("first_token", f"decode@{depth}"))
        rest = ANSWER_TOKENS - 1
        return cls(first + rest / rate, fast + rest / high, slow + rest / low, first, rate, depth)


def _three(run: Run, key: str) -> tuple[float, float, float]:
    if summary := run.summary(key):
        return summary.median, summary.low, summary.high
    band = run.bands[key]
    return band.typical, band.low, band.high


@dataclass(frozen=True)
class Made:
    """A combination that was exported, verified and asked: all but its speed where it runs.

    ``agreement`` is the share of positions at which artifact and original choose the same token,
    ``predicted`` the speed on every device that ``estimate`` knows and that runs the format.
    """

    node: str
    host: str
    took: float
    bytes: int
    kl: float
    agreement: float
    answers: tuple[Answer, ...]
    predicted: Mapping[str, Speed]

    @property
    def accuracy(self) -> Accuracy:
        """Right answers with their 95 % interval."""
        return accuracy([a.correct for a in self.answers], [a.picture for a in self.answers])


@dataclass(frozen=True)
class Timed:
    """Its speed on the machine that it was made on; None with the reason ``why`` it says nothing there.

    ``noisy`` says that other processes used the machine meanwhile. ``memory`` is the peak in bytes.
    """

    host: str
    processor: str
    speed: Speed | None
    memory: float | None = None
    noisy: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """A combination with what became of it; ``error`` is one line where it failed."""

    combination: Combination
    command: str
    made: Made | None = None
    timed: Timed | None = None
    error: str = ""

    @property
    def name(self) -> str:
        return self.combination.name

    def speed(self, device: str | None) -> Speed | None:
        """The seconds that count: measured, or predicted where a device is named."""
        if device is not None:
            return self.made.predicted.get(device) if self.made else None
        return self.timed.speed if self.timed else None

    def measures(self, device: str | None) -> Measures | None:
        """What the front compares; None for a combination that failed."""
        if self.made is None or self.error:
            return None
        outcomes = {a.id: (a.correct, a.picture) for a in self.made.answers}
        speed = self.speed(device)
        return Measures(self.made.bytes, outcomes, self.made.kl, None if speed is None else speed.seconds)

    def to_dict(self, device: str | None) -> dict[str, Any]:
        """Everything for machines, the single answers aside."""
        made = self.made and {**to_json(self.made), "answers": self.made.accuracy.to_dict()}
        if made and device is not None:
            made["predicted"] = {k: v for k, v in made["predicted"].items() if k == device}
        return {
            "name": self.name,
            "values": list(self.combination.values),
            "command": self.command,
            "made": made or None,
            "timed": to_json(self.timed),
            "error": self.error,
        }


@dataclass(frozen=True)
class Best:
    """The Pareto front by name, and who was chosen from it by which rule; None where none fits."""

    front: tuple[str, ...]
    choice: Choice | None
    rule: str
