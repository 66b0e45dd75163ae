"""What can be chosen about a tuning run. Nothing heavy is imported here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from phantom_edge.errors import InputError

LR_END = 0.1  # of the learning rate, where its cosine ends: 1e-5 to 1e-6 as published
PRECISIONS = ("fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TuneOptions:
    """A tuning run; the defaults are the published recipe (arXiv 2409.14713, section 3.3 and 4).

    ``steps_1`` and ``steps_2`` count optimiser steps of the two steps of the recipe; None makes ``epochs``
    passes over the data, 0 leaves one out. ``batch`` lines make one optimiser step, ``micro_batch`` of them
    are computed at a time. ``lora`` is the rank of adapters that learn in step 2 in place of the decoder and
    the vision encoder. ``recompute`` computes each layer again for its gradients instead of keeping what it
    computed. ``validation`` lines, at least, are held out. ``max_tiles`` None takes what the checkpoint was
    trained with. ``save_every`` is in seconds; it changes nothing about the result.

    >>> TuneOptions(steps_1=10, steps_2=0).count_steps(lines=500)
    (10, 0)
    """

    steps_1: int | None = None
    steps_2: int | None = None
    epochs: int = 1
    lr: float = 1e-5
    batch: int = 128
    micro_batch: int = 4
    seed: int = 0
    sft_only: bool = False
    beta: float = 2.0
    gamma: float = 0.5
    lora: int | None = None
    max_tiles: int | None = None
    precision: str = "fp32"
    recompute: bool = True
    validation: int = 0
    device: str = "auto"
    save_every: float = 30.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "micro_batch"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("max_tiles", self.max_tiles is None or self.max_tiles >= 1, "at least 1")
        for name in ("validation", "gamma", "save_every"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        for name in ("lr", "beta"):
            self._require(name, 0 < getattr(self, name) < math.inf, "more than 0")
        for name in ("steps_1", "steps_2"):
            self._require(name, (getattr(self, name) or 0) >= 0, "0 or more")
        self._require("lora", self.lora is None or 1 <= self.lora <= 1024, "a rank from 1 to 1024")
        self._require("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS))
        self._require("device", self.device in DEVICES, "one of " + ", ".join(DEVICES))
        if self.steps_1 == 0 and self.steps_2 == 0:
            raise InputError("--steps-1 and --steps-2 are both 0, so nothing would learn: give steps")

    def _require(self, name: str, right: bool, what: str) -> None:
        if not right:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(self, name)}: it must be {what}")

    def count_steps(self, lines: int) -> tuple[int, int]:
        """Optimiser steps of step 1 and of step 2 over so many lines."""
        whole = math.ceil(self.epochs * lines / self.batch_of(lines))
        first, second = (whole if steps is None else steps for steps in (self.steps_1, self.steps_2))
        return first, second

    def batch_of(self, lines: int) -> int:
        """Lines of one optimiser step: no line is in a batch twice."""
        return min(self.batch, lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything that the result depends on."""
        values = asdict(self)
        del values["save_every"]
        return values


def schedule(step: int, steps: int) -> float:
    """The learning rate of optimiser step ``step`` (from 0) of ``steps``: a cosine from 1 to a tenth.

    >>> [round(schedule(step, 3), 4) for step in range(3)]
    [1.0, 0.55, 0.1]
    """
    share = 0.5 * (1 + math.cos(math.pi * step / max(steps - 1, 1)))
    return LR_END + (1 - LR_END) * share
