"""What to sweep, how to measure, and by which rule the best is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.bench.estimate.predict import LOCAL
from phantom_edge.bench.settings import Settings
from phantom_edge.errors import InputError, did_you_mean
from phantom_edge.evaluate.scene_tasks import SAMPLES
from phantom_edge.pipeline.export import ExportRequest
from phantom_edge.sweep.axes import AXES, Values, count

MOST: Final = 64
"""Combinations that are worked through without a word."""
SETTINGS: Final = Settings(processes=2, repeats=3, steps=32, depths=(0, 512))
"""How each is timed: less often than by ``bench``, because there are many."""
PREFERENCES: Final = ("size", "speed")
KEPT: Final = ("winner", "front")


@dataclass(frozen=True)
class SweepRequest:
    """What to sweep; ``targets``, ``quant``, ``fold``, ``vocab`` and ``tile_size`` are axes.

    Each has values of an option of an export; one of ``vocab`` may join several by ``+``.

    Of an axis without values the option is left out, which the value ``default`` does too. ``context`` is for
    all. Each combination is asked ``samples`` questions of each of the scene ``tasks`` (none: of all).
    ``bench`` says whether it is timed where it was made; ``device`` is a name of ``phantom-edge estimate``
    for which seconds are predicted, and those then count.

    The best: among those of at most ``max_mb`` megabytes whose answers are not significantly worse than the
    best answers, or with ``within`` at most so many percentage points, the smallest (``prefer`` ``size``) or
    the fastest (``speed``). ``keep`` puts the bundles of the ``winner`` or of the ``front`` into ``output``.

    ``address`` is that of a Ray cluster, else one is started on this machine. A task declares ``cpus`` and
    ``memory_gb``, which by default follow from the model. ``many`` allows more than 64 combinations.

    >>> pe.SweepRequest(targets=("desktop", "android"), quant=("int4", "int8"), within=1.0).prefer
    'size'
    """

    model: str | None = None
    revision: str | None = None
    targets: tuple[str, ...] = ("desktop",)
    quant: tuple[str, ...] = ()
    fold: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ()
    tile_size: tuple[str, ...] = ()
    context: int | None = None
    output: Path | None = None
    tasks: tuple[str, ...] = ()
    samples: int = SAMPLES
    bench: bool = True
    device: str | None = None
    within: float | None = None
    max_mb: float | None = None
    prefer: str = PREFERENCES[0]
    keep: str | None = None
    address: str | None = None
    cpus: int = 1
    memory_gb: float | None = None
    many: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("prefer", self.prefer, PREFERENCES), ("keep", self.keep, KEPT)):
            if value is not None and value not in known:
                raise InputError(
                    f"--{name} {value!r}{did_you_mean(value, known)}: it is {' or '.join(known)}"
                )
        for name, number in (("max-mb", self.max_mb), ("memory-gb", self.memory_gb), ("cpus", self.cpus)):
            if number is not None and not number > 0:
                raise InputError(f"--{name} is {number}; it must be above 0")
        if self.within is not None and not 0 <= self.within <= 100:
            raise InputError(f"--within is {self.within}; give percentage points from 0 to 100")
        if self.device == LOCAL:
            raise InputError("--device local: this machine is measured; leave --device out")
        if count(self.values) < 2:
            flags = ", ".join(axis.flag for axis in AXES)
            raise InputError(f"nothing to sweep: give at least one of {flags} two values, such as int4,int8")

    @property
    def values(self) -> Values:
        """The values of each axis by its name, each once."""
        return {axis.name: tuple(dict.fromkeys(getattr(self, axis.name))) for axis in AXES}

    @property
    def base(self) -> ExportRequest:
        """What all exports have in common."""
        return ExportRequest(model=self.model, revision=self.revision, context=self.context)
