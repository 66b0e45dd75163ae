"""What is measured, the same on every device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from phantom_edge.bench.machine import CLOCKS
from phantom_edge.errors import InputError, shown

DEPTHS = (0, 512, 1024, 1920)
MAX_SOAK_MINUTES = 24 * 60
MAX_THREADS = 256
MAX_DEPTHS, MAX_DEPTH = 64, 1 << 24


@dataclass(frozen=True)
class Settings:
    """How often and how long.

    ``processes`` fresh processes each load the model, warm up with ``warmup`` prompts and measure ``repeats``
    prompts and, at each of ``depths`` cached tokens, ``steps`` generated ones. ``soak`` minutes of generating
    follow, in the last process. ``threads`` None leaves their number to the runtime. ``clock`` is one of
    :data:`~phantom_edge.bench.machine.CLOCKS`: ``processor`` is for comparisons on a machine that others use,
    with one thread and on ``local`` only.

    >>> Settings(depths=(0, 4000)).fitting(2048)
    (0,)
    """

    processes: int = 3
    repeats: int = 5
    warmup: int = 1
    steps: int = 32
    depths: tuple[int, ...] = DEPTHS
    threads: int | None = None
    soak: float = 0.0
    clock: str = "wall"

    def __post_init__(self) -> None:
        bounds = {"processes": (1, 100), "repeats": (1, 1000), "warmup": (0, 100), "steps": (1, 10_000)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"--{name} is {value}; use {low} to {high}")
        if not 0 < len(self.depths) <= MAX_DEPTHS or any(not 0 <= d <= MAX_DEPTH for d in self.depths):
            what = f"1 to {MAX_DEPTHS} numbers of cached tokens up to {MAX_DEPTH}, such as 0,512,1024"
            raise InputError(f"--depths needs {what}")
        if not 0 <= self.soak <= MAX_SOAK_MINUTES:
            raise InputError(f"--soak is {self.soak}; use minutes from 0 to {MAX_SOAK_MINUTES}")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise InputError(f"--threads is {self.threads}; use 1 to {MAX_THREADS}")
        if self.clock not in CLOCKS:
            raise InputError(f"unknown clock {self.clock!r}; use {' or '.join(CLOCKS)}")
        if self.clock == "processor" and self.threads != 1:
            raise InputError("the processor's clock adds up what threads take: use it with threads 1")

    def fitting(self, context: int) -> tuple[int, ...]:
        """Depths at which warm-up and steps fit a context of so many tokens, each once and in order."""
        return tuple(d for d in sorted(set(self.depths)) if d + self.warm_steps + self.steps <= context)

    def too_deep(self, context: int) -> dict[str, str]:
        """The rows of the other depths, each with the reason why it is missing."""
        left = sorted(set(self.depths) - set(self.fitting(context)))
        return {f"decode@{d}": f"a context of {context} tokens holds no {d} and more" for d in left}

    @property
    def warm_steps(self) -> int:
        """Generated tokens that are not counted before each measured run of them."""
        return 4 * self.warmup

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "depths": list(self.depths)}


def parse_depths(text: str) -> tuple[int, ...]:
    """``0,512,1024`` as numbers. Raises :class:`InputError`."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--depths {shown(text)}: use numbers of cached tokens, such as 0,512,1024"
        ) from None
