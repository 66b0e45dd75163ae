"""The options of an export that a sweep varies, their combinations, and each as a command line."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError, shown
from phantom_edge.pipeline.export import ExportRequest
from phantom_edge.pipeline.tiles import parse_tile_sizes
from phantom_edge.text.corpus import Corpus

DEFAULT: Final = "default"
"""The value that leaves an axis's option out."""
Values = Mapping[str, tuple[str, ...]]
"""The values of each axis by its name."""


@dataclass(frozen=True)
class Axis:
    """An option of ``export`` with several values: ``apply`` puts one of them into a request.

    ``name`` is the axis's field in :class:`~phantom_edge.sweep.request.SweepRequest`, ``flag`` its option in
    ``sweep``, ``option`` the one in ``export``. A value of an axis of ``files`` may name files or folders.
    ``split`` gives the parts of a value for each of which the export's option is repeated.
    """

    name: str
    flag: str
    option: str
    apply: Callable[[ExportRequest, str], ExportRequest]
    files: bool = False
    split: Callable[[str], tuple[str, ...]] = lambda value: (value,)


def _texts(value: str) -> tuple[str, ...]:
    """What a vocabulary is measured by: names with ``+`` between them, or the name of what is there."""
    return (value,) if Path(value).exists() else tuple(value.split("+"))


AXES: Final = (
    Axis("targets", "--targets", "--target", lambda request, value: replace(request, target=value)),
    Axis(
        "quant",
        "--quant",
        "--quant",
        lambda request, value: replace(request, quantize=replace(request.quantize, quant=value)),
        files=True,
    ),
    Axis("fold", "--fold", "--fold", lambda request, value: replace(request, fold=value)),
    Axis(
        "vocab",
        "--vocab",
        "--vocab",
        lambda request, value: replace(request, vocab=_texts(value)),
        files=True,
        split=_texts,
    ),
    Axis(
        "tile_size",
        "--tile-size",
        "--tile-size",
        lambda request, value: replace(request, tile_sizes=parse_tile_sizes(value)),
    ),
)


@dataclass(frozen=True)
class Combination:
    """One value of each axis, in the order of :data:`AXES`.

    >>> Combination(("desktop", "int4", "default", "default", "default")).name
    'desktop int4'
    """

    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its values, those left out aside."""
        return " ".join(value for _, value in self._chosen)

    @property
    def _chosen(self) -> list[tuple[Axis, str]]:
        return [(axis, value) for axis, value in zip(AXES, self.values, strict=True) if value != DEFAULT]

    def request(self, base: ExportRequest) -> ExportRequest:
        """``base`` with these values."""
        for axis, value in self._chosen:
            base = axis.apply(base, value)
        return base

    def files(self) -> tuple[Path, ...]:
        """Files that its values name, and those in folders that they name."""
        parts = [Path(part) for axis, value in self._chosen if axis.files for part in axis.split(value)]
        return Corpus.of([path for path in parts if path.exists()]).files

    def absolute(self) -> Combination:
        """The same with whole paths, for a process in another folder."""
        pairs = zip(AXES, self.values, strict=True)
        return Combination(tuple(_absolute(axis, value) if axis.files else value for axis, value in pairs))

    def command(self, base: ExportRequest) -> str:
        """The command line that exports it: ``base``'s model and context with these values.

        >>> Combination(("web", "int4", "default", "en", "336")).command(ExportRequest(model="my model"))
        "phantom-edge export --model 'my model' --target web --quant int4 --vocab en --tile-size 336"
        """
        fixed = (("--model", base.model), ("--revision", base.revision), ("--context", base.context))
        words = ["phantom-edge", "export"]
        chosen = [(axis.option, part) for axis, value in self._chosen for part in axis.split(value)]
        for flag, value in (*fixed, *chosen):
            words += [] if value is None else [flag, str(value)]
        return shlex.join(words)


def _absolute(axis: Axis, value: str) -> str:
    parts = [Path(part) for part in axis.split(value)]
    return "+".join(str(path.absolute()) if path.exists() else str(path) for path in parts)


def count(values: Values) -> int:
    """How many combinations there are.

    >>> count({"targets": ("ios", "android"), "quant": ("int4", "int8")})
    4
    """
    return math.prod(max(1, len(values.get(axis.name, ()))) for axis in AXES)


def combinations(values: Values) -> Iterator[Combination]:
    """All of them; an axis without values is left out of each."""
    columns = (values[axis.name] or (DEFAULT,) for axis in AXES)
    return map(Combination, itertools.product(*columns))


def parse_values(flag: str, text: str) -> tuple[str, ...]:
    """Values between commas, each once. Raises :class:`InputError` where there is none.

    >>> parse_values("--quant", "int4, int8,int4")
    ('int4', 'int8')
    """
    values = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not values:
        raise InputError(f"{flag} {shown(text)} names nothing; give values between commas")
    return values
