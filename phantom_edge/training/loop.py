"""The loop of every training: optimiser steps, stage after stage, saved as it goes and resumed exactly."""

from __future__ import annotations

import math
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from phantom_edge import __version__
from phantom_edge.errors import CheckError
from phantom_edge.training.progress import OnProgress, TrainingProgress
from phantom_edge.training.run_folder import RunFolder, RunState, Totals

BEFORE, AFTER = "before", "after"  # names of validations; those between have their stage's


@dataclass(frozen=True)
class Stage:
    """A stretch of training in which the same weights learn from the same loss, for so many steps."""

    name: str
    steps: int


S = TypeVar("S", bound=Stage)
M = TypeVar("M")
"""A micro-batch: what is computed at a time, of which several may make one optimiser step."""


class Trainer(ABC, Generic[S, M]):
    """Carries a training out; what it trains, on what and for what loss is a subclass's to say.

    With a ``folder`` the state is saved every ``save_every`` seconds, also between micro-batches, and
    :meth:`train` goes on from it: the numbers are then those of a run that was never stopped. Gradients are
    clipped to the norm ``clip``; ``remedy`` tells a user what helps against a loss that is no number.
    """

    clip: float | None = None
    remedy = "use a lower --lr"

    def __init__(
        self,
        stages: Sequence[S],
        progress: OnProgress,
        folder: RunFolder | None = None,
        save_every: float = math.inf,
    ):
        self.stages, self.progress, self.folder, self.save_every = stages, progress, folder, save_every
        self.state = RunState()
        self.learning: Mapping[str, Tensor] = {}
        self.optimizers: Sequence[torch.optim.Optimizer] = ()
        self.tokens = 0  # read in this process, for the rate that is shown
        self._seconds, self._steps = 0.0, 0.0  # of computing, in this process
        self._resuming = False
        self._saved_at = time.monotonic()

    # --- what a training defines ----------------------------------------------------------------------------

    @abstractmethod
    def begin(self, stage: S) -> tuple[Mapping[str, Tensor], Sequence[torch.optim.Optimizer]]:
        """Let the weights of a stage learn: their names, and new optimisers over them."""

    @abstractmethod
    def batches(self, stage: S, first: int) -> Iterable[Sequence[M]]:
        """The micro-batches of each optimiser step from ``first`` (0 for the stage's first) to its last."""

    @abstractmethod
    def loss(self, part: M, parts: Sequence[M]) -> Tensor:
        """What a micro-batch adds to the loss of its batch; its terms are added to ``state.totals``."""

    @abstractmethod
    def schedule(self, stage: S, step: int) -> float:
        """The learning rate of a step, as a factor on the rates that the optimisers were made with."""

    def saved(self) -> Mapping[str, Tensor]:
        """The tensors that a state must hold: all that have learned so far, by name."""
        return self.learning

    def validate(self, name: str) -> Mapping[str, Any]:
        """What is measured before all stages and after each but the last; empty for nothing."""
        return {}

    # --- the loop -------------------------------------------------------------------------------------------

    def train(self) -> None:
        """All stages, from wherever the folder's state is."""
        if self.folder is not None and self.folder.resumable:
            self.state, self._resuming = self.folder.read_state(), True
            self.state.resumed.append([self.state.stage, self.state.step, self.state.micro])
        for number in range(self.state.stage, len(self.stages) + 1):
            stage = self.stages[number - 1]
            self._begin(number, stage)
            if BEFORE not in self.state.validation:
                self.measure(BEFORE)
                self._save()
            for parts in self.batches(stage, self.state.step):
                self._step(stage, parts)
                self._save_if_due()
            if number < len(self.stages) and stage.steps and stage.name not in self.state.validation:
                self.measure(stage.name)
            self._save()

    def _begin(self, number: int, stage: S) -> None:
        """Let a stage's weights learn, and put back what was saved of it."""
        self.learning, self.optimizers = self.begin(stage)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        if self._resuming and self.folder is not None:
            self.folder.restore(self.saved(), self.optimizers)
            self._resuming = False
        elif number > self.state.stage:
            self.state.stage, self.state.step, self.state.micro = number, 0, 0

    def _step(self, stage: S, parts: Sequence[M]) -> None:
        """One optimiser step over one batch."""
        state = self.state
        while state.micro < len(parts):
            self._micro_batch(stage, parts)
            if state.micro < len(parts):
                self._save_if_due()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self.learning.values()), self.clip)
        factor = self.schedule(stage, state.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        rate = self.optimizers[0].param_groups[0]["lr"]
        state.curve.append({"stage": state.stage, "step": state.step + 1, "lr": rate, **state.totals.means()})
        state.step, state.micro, state.totals = state.step + 1, 0, Totals()

    def _micro_batch(self, stage: S, parts: Sequence[M]) -> None:
        """Add one micro-batch's share to the gradients of its batch."""
        started = time.monotonic()
        loss = self.loss(parts[self.state.micro], parts)
        if not math.isfinite(float(loss.detach())):
            where = f"{stage.name}, at optimiser step {self.state.step + 1}"
            raise CheckError(f"the loss is no longer a number in {where}: {self.remedy}")
        loss.backward()
        self._seconds += time.monotonic() - started
        self._steps += 1 / len(parts)
        self.state.micro += 1
        self._report(stage, self.state.micro / len(parts))

    def _report(self, stage: S, share: float) -> None:
        """Report when a ``share`` of a step is computed; what is left follows from this process's speed."""
        state = self.state
        steps = sum(later.steps for later in self.stages[state.stage - 1 :]) - state.step - share
        rate = self.tokens / max(self._seconds, 1e-9) if self.tokens else None
        left = self._seconds / self._steps * steps
        means = state.totals.means()
        self.progress(TrainingProgress(stage.name, state.step + 1, stage.steps, means, rate, left))

    @torch.no_grad()
    def measure(self, name: str) -> None:
        """Validate with the weights as they are now."""
        if measured := self.validate(name):
            self.state.validation[name] = dict(measured)

    # --- state ----------------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= self.save_every:
            self._save()

    def _save(self) -> None:
        if self.folder is not None:
            self._count_time()
            self.folder.save(self.state, self.saved(), self.optimizers)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._saved_at
        self._saved_at = now

    def record(self) -> dict[str, Any]:
        """What any ``training.json`` says of its run."""
        self._count_time()
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        return {
            "producer": {"phantom_edge": __version__, **versions},
            "steps": {stage.name: stage.steps for stage in self.stages if stage.steps},
            "threads": torch.get_num_threads(),
            "seconds": round(self.state.seconds, 1),
            "resumed": self.state.resumed,
            "validation": self.state.validation,
            "curve": self.state.curve,
        }
