"""The one form of a measurement: rows of samples, curves over time, and what is missing and why.

A report is a JSON file with one or more runs; a run is one model on one device. Samples are in base units
(seconds, bytes, tokens per second, joules). A row of an estimate holds a band instead of samples, so that
neither passes for the other. The page, the Android app and the iOS app write the same form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any

from phantom_edge.bench.stats import Summary, drift, summary
from phantom_edge.errors import InputError, shown

SCHEMA = 1
MAX_REPORT_BYTES = 16 << 20
MAX_SAMPLES = 100_000
DECODE = re.compile(r"decode@(\d{1,7})")


@dataclass(frozen=True)
class Metric:
    """A row: its title, its unit and what divides the stored value for it; which direction is better."""

    key: str
    title: str
    unit: str
    divide: float = 1.0
    higher: bool = False


METRICS = (
    Metric("first_token", "time to first token", "ms", 1e-3),
    Metric("preprocess", "  of it preprocessing", "ms", 1e-3),
    Metric("vision", "  of it vision encoder", "ms", 1e-3),
    Metric("prefill", "  of it prefill", "ms", 1e-3),
    Metric("prefill_rate", "prefill", "tok/s", higher=True),
    Metric("load", "load time", "ms", 1e-3),
    Metric("memory", "peak memory", "MB", 1e6),
    Metric("libraries", "  of it the runtime's libraries", "MB", 1e6),
    Metric("resident", "memory after decoding", "MB", 1e6),
    Metric("resident_trimmed", "  with the vision encoder given back", "MB", 1e6),
    Metric("bundle", "bundle on disk", "MB", 1e6),
    Metric("energy", "energy per generated token", "mJ", 1e-3),
    Metric("drift", "change of speed over the soak", "%", 1e-2, higher=True),
)
_BY_KEY = {m.key: m for m in METRICS}
_ORDER = [m.key for m in METRICS]


def metric(key: str) -> Metric:
    """What a row is called and how it is shown. Raises :class:`InputError` for an unknown one.

    >>> metric("decode@512").title
    'decode, 512 tokens cached'
    """
    if key in _BY_KEY:
        return _BY_KEY[key]
    if match := DECODE.fullmatch(key):
        return Metric(key, f"decode, {int(match[1])} tokens cached", "tok/s", higher=True)
    raise InputError(f"unknown row {shown(key)}; there are {', '.join(_ORDER)} and decode@DEPTH")


def order(key: str) -> tuple[int, int]:
    """Sort key that puts rows in the order of :data:`METRICS`, decode by depth after prefill."""
    if match := DECODE.fullmatch(key):
        return _ORDER.index("prefill_rate"), 1 + int(match[1])
    return _ORDER.index(key), 0


@dataclass(frozen=True)
class Band:
    """A predicted value between a low and a high one."""

    typical: float
    low: float
    high: float


@dataclass
class Run:
    """One model on one device.

    ``device``, ``runtime``, ``model``, ``settings`` and ``conditions`` are plain facts. ``samples`` maps a
    row to its measurements, ``bands`` a row to a prediction, ``curves`` a name to (seconds, value) points,
    ``missing`` a row to the reason why it has neither.
    """

    device: dict[str, Any]
    runtime: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    bands: dict[str, Band] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, key: str, *values: float) -> None:
        """Append samples to a row."""
        metric(key)
        self.samples.setdefault(key, []).extend(float(v) for v in values)

    def summary(self, key: str) -> Summary | None:
        """Median and quartiles of a measured row, None when it has no samples."""
        samples, tokens = self.samples.get(key), self.prompt_tokens
        times = self.summary("prefill") if key == "prefill_rate" and samples else None
        if tokens and times is not None and times.low > 0:
            # Of few samples the median of rates is not the rate of the median time: the two rows must agree.
            return Summary(tokens / times.median, tokens / times.high, tokens / times.low, times.count)
        return summary(samples) if samples else None

    def value(self, key: str) -> float | None:
        """The row's median, or its typical predicted value."""
        if summary := self.summary(key):
            return summary.median
        return self.bands[key].typical if key in self.bands else None

    @property
    def prompt_tokens(self) -> int | None:
        """Length of the prompt, None where whoever measured does not tell."""
        count = self.model.get("prompt_tokens")
        return count if isinstance(count, int) and count > 0 else None

    @property
    def estimated(self) -> bool:
        """Whether its rows are predictions."""
        return bool(self.bands)

    @property
    def keys(self) -> list[str]:
        """Rows that have a value, in order."""
        return sorted({*self.samples, *self.bands}, key=order)

    @property
    def depths(self) -> list[int]:
        """Cache depths at which decoding has a value."""
        return [int(match[1]) for key in self.keys if (match := DECODE.fullmatch(key))]

    @property
    def title(self) -> str:
        """Model, format and device in one line."""
        name, recipe = self.model.get("name", "?"), self.model.get("recipe")
        runtime = self.runtime.get("name", "?")
        kind = "estimate for " if self.estimated else ""
        return f"{name}{f' {recipe}' if recipe else ''}, {runtime}, {kind}{self.device.get('name', '?')}"

    def derive(self) -> Run:
        """Add the rows that follow from others: prefill in tokens per second, drift of the soak."""
        tokens = self.prompt_tokens
        if tokens and self.samples.get("prefill") and "prefill_rate" not in self.samples:
            rates = (tokens / seconds for seconds in self.samples["prefill"] if seconds > 0)
            self.add("prefill_rate", *rates)
        change = drift(self.curves.get("soak", ()))
        if change is not None and "drift" not in self.samples:
            self.add("drift", change)
        return self

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["summary"] = {key: vars(self.summary(key)) for key in self.keys if self.samples.get(key)}
        return data

    @classmethod
    def from_dict(cls, data: Any) -> Run:
        """Read a run back, whoever wrote it. Raises :class:`InputError` naming what is not as it must be."""
        fields = _object(data, "a run")
        names = ("device", "runtime", "model", "settings", "conditions")
        plain: dict[str, Any] = {name: _facts(fields.get(name, {}), name) for name in names}
        samples = {_row(k): _numbers(v, k) for k, v in _object(fields.get("samples", {}), "samples").items()}
        bands = {_row(k): _band(v, k) for k, v in _object(fields.get("bands", {}), "bands").items()}
        curves = {str(k): _points(v, k) for k, v in _object(fields.get("curves", {}), "curves").items()}
        missing = {_row(k): str(v) for k, v in _object(fields.get("missing", {}), "missing").items()}
        notes = [str(note) for note in checked_list(fields.get("notes", []), "notes")]
        return cls(**plain, samples=samples, bands=bands, curves=curves, missing=missing, notes=notes)


def _row(key: Any) -> str:
    return metric(str(key)).key


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is {type(value).__name__}, expected an object")
    return dict(value)


def _facts(value: Any, where: str) -> Mapping[str, Any]:
    """Facts for people: texts, numbers and lists of them, but a name is a text and a count a number."""
    facts = _object(value, where)
    for key, kind in (("name", str), ("recipe", str), ("prompt_tokens", int)):
        if not isinstance(facts.get(key), (kind, NoneType)):
            raise InputError(f"{where}.{key} is {shown(facts[key])}, expected {kind.__name__}")
    return facts


def checked_list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_SAMPLES:
        raise InputError(f"{where} is no list of at most {MAX_SAMPLES} entries")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{where} holds {shown(value)}, expected a number")
    return float(value)


def _numbers(value: Any, where: str) -> list[float]:
    return [_number(v, where) for v in checked_list(value, where)]


def _points(value: Any, where: str) -> list[tuple[float, float]]:
    pairs = [_numbers(pair, where) for pair in checked_list(value, where)]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{where}: a point is [seconds, value]")
    return [(x, y) for x, y in pairs]


def _band(value: Any, where: str) -> Band:
    fields = _object(value, where)
    return Band(*(_number(fields.get(name), f"{where}.{name}") for name in ("typical", "low", "high")))
