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

DEFAULT: Final = "default"
"""The value that leaves an axis's option out."""
Values = Mapping[str, tuple[str, ...]]
"""The values of each axis by its name."""


@dataclass(frozen=True)
class Axis:
    """An option of ``export`` with several values: ``apply`` puts one of them into a request.

    ``name`` is the axis's field in :class:`~phantom_edge.sweep.request.SweepRequest`, ``flag`` its option in
    ``sweep``, ``option`` the one in ``export``. A value of an axis of ``files`` may be the name of one.
    """

    name: str
    flag: str
    option: str
    apply: Callable[[ExportRequest, str], ExportRequest]
    files: bool = False


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
)


@dataclass(frozen=True)
class Combination:
    """One value of each axis, in the order of :data:`AXES`.

    >>> Combination(("desktop", "int4", "default")).name
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
        """Files that its values name."""
        values = [Path(value) for axis, value in self._chosen if axis.files]
        return tuple(path for path in values if path.is_file())

    def absolute(self) -> Combination:
        """The same with whole paths, for a process in another folder."""
        files = {str(path): str(path.absolute()) for path in self.files()}
        return Combination(tuple(files.get(str(Path(value)), value) for value in self.values))

    def command(self, base: ExportRequest) -> str:
        """The command line that exports it: ``base``'s model and context with these values.

        >>> Combination(("desktop", "int4", "auto")).command(ExportRequest(model="my model"))
        "phantom-edge export --model 'my model' --target desktop --quant int4 --fold auto"
        """
        fixed = (("--model", base.model), ("--revision", base.revision), ("--context", base.context))
        words = ["phantom-edge", "export"]
        for flag, value in (*fixed, *((axis.option, value) for axis, value in self._chosen)):
            words += [] if value is None else [flag, str(value)]
        return shlex.join(words)


def count(values: Values) -> int:
    """How many combinations there are.

    >>> count({"targets": ("ios", "android"), "quant": ("int4", "int8"), "fold": ()})
    4
    """
    return math.prod(max(1, len(values[axis.name])) for axis in AXES)


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
