"""A run on disk, beside its output: what a killed run needs to go on exactly where it was saved.

OUTPUT.partial/run.json           the arguments, so that another run does not go on with this one's state
OUTPUT.partial/state.safetensors  weights, moments and gradients; counts, curve and validation in its metadata
OUTPUT.partial/progress.json      how far it is, for whoever wonders; never read again
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from phantom_edge.errors import CheckError, InputError, UnwritableError
from phantom_edge.system import interrupts
from phantom_edge.system.causes import unwritable
from phantom_edge.system.outputs import check_folder
from phantom_edge.system.reading import is_file, open_safetensors, parse_json, read_json
from phantom_edge.system.writing import explaining, sync, use_default_permissions

SCHEMA = 1
RUN, STATE, PROGRESS, LOCK = "run.json", "state.safetensors", "progress.json", "lock"
RESULT = "checkpoint"
TRAINING = "training.json"
MAX_JSON_BYTES = 1 << 30
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq", "b": "momentum_buffer"}


@dataclass
class Totals:
    """Sums of the terms of a loss, and of how many values each is the sum."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, term: str, total: float, count: int) -> None:
        """Count ``count`` values that sum up to ``total`` in."""
        self.sums[term] = self.sums.get(term, 0.0) + total
        self.counts[term] = self.counts.get(term, 0) + count

    def means(self) -> dict[str, float | None]:
        """The mean of every term; None where there were no values."""
        return {term: self.sums[term] / n if n else None for term, n in self.counts.items()}


@dataclass
class RunState:
    """Where a run is: in ``stage`` (from 1), after ``step`` optimiser steps and ``micro`` micro-batches."""

    stage: int = 1
    step: int = 0
    micro: int = 0
    totals: Totals = field(default_factory=Totals)
    curve: list[dict[str, Any]] = field(default_factory=list)
    validation: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: list[list[int]] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> RunState:
        data = parse_json(text, "the state's counts")
        values = {f.name: data[f.name] for f in fields(cls)}
        return cls(**values | {"totals": Totals(**values["totals"])})


class RunFolder:
    """``OUTPUT.partial``: made when a run begins, removed when its output is in place."""

    def __init__(self, output: str | Path):
        self.output = Path(os.path.abspath(output))
        self.folder = self.output.with_name(f"{self.output.name}.partial")

    @property
    def resumable(self) -> bool:
        return is_file(self.folder / STATE)

    def finished(self) -> dict[str, Any] | None:
        """What ``training.json`` of a finished output says. Raises :class:`InputError` for other contents."""
        check_folder(self.output)
        if not self.output.is_dir() or not any(self.output.iterdir()):
            return None
        if not is_file(self.output / TRAINING):
            raise InputError(f"{self.output}: holds something that no training made; choose another --output")
        return read_json(self.output / TRAINING, MAX_JSON_BYTES)

    def check_finished(self, training: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Raise :class:`InputError` when a finished output was made with other arguments."""
        if differing := differences(training.get("arguments"), arguments):
            what = f"{self.output} was trained with other arguments"
            raise InputError(f"{what} ({differing}): choose another output")
        self.clear()  # of a run that was killed as it put its output in place

    def check_same(self, arguments: Mapping[str, Any]) -> None:
        """Raise :class:`InputError` when an unfinished run with other arguments is here."""
        if not self.resumable:
            return
        before = read_json(self.folder / RUN, MAX_JSON_BYTES).get("arguments")
        if differing := differences(before, arguments):
            what = f"{self.folder} holds an unfinished run with other arguments ({differing})"
            raise InputError(f"{what}: repeat those to go on with it, or delete that folder to start anew")

    @contextmanager
    def locked(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """The folder, made if need be, for this process alone; it stays if there is a state to go on from.

        Raises :class:`InputError` when another process works on it, or when it cannot be made.
        """
        with explaining(self.folder, always=True):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{self.folder}: another training is at work on it; wait for it") from None
            try:
                self.check_same(arguments)
                self.write_json(RUN, {"schema": SCHEMA, "arguments": dict(arguments)})
                yield
            except CheckError:  # the loss went astray, as it would again from any state
                self.clear()
                raise
            finally:
                if not self.resumable:
                    self.clear()

    # --- state ----------------------------------------------------------------------------------------------

    def save(
        self, state: RunState, tensors: Mapping[str, Tensor], optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        """Write everything; the earlier state stays until the new one is complete on disk."""
        stored: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        of_tensor = {tensor: moments for o in optimizers for tensor, moments in o.state.items()}
        for name, tensor in tensors.items():
            stored[f"weight.{name}"] = tensor.detach()
            if tensor.grad is not None:
                stored[f"grad.{name}"] = tensor.grad
            moments = of_tensor.get(tensor, {})
            stored |= {f"{short}.{name}": moments[key] for short, key in MOMENTS.items() if key in moments}
            if "step" in moments:
                counts[name] = int(moments["step"])
        stored = {name: tensor.to("cpu").contiguous() for name, tensor in stored.items()}
        metadata = {"state": json.dumps(asdict(state)), "counts": json.dumps(counts)}
        with _writing(self.folder):
            save_file(stored, self._new(STATE), metadata)
            self._replace(STATE)
        self.write_json(PROGRESS, {"stage": state.stage, "step": state.step, "last": state.curve[-1:]})

    def read_state(self) -> RunState:
        """Counts, curve and validation of the saved run, without its tensors."""
        with self._opened() as file:
            return RunState.from_json(file.metadata()["state"])

    def restore(self, tensors: Mapping[str, Tensor], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Put weights, gradients and moments back."""
        owner = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
        with self._opened() as file, torch.no_grad():
            counts, names = parse_json(file.metadata()["counts"], "its counts"), set(file.keys())
            for name, tensor in tensors.items():
                tensor.copy_(file.get_tensor(f"weight.{name}"))
                if f"grad.{name}" in names:
                    tensor.grad = file.get_tensor(f"grad.{name}").clone().to(tensor.device)
                moments = {
                    key: file.get_tensor(f"{short}.{name}").clone().to(tensor.device)
                    for short, key in MOMENTS.items()
                    if f"{short}.{name}" in names
                }
                if name in counts:
                    moments["step"] = torch.tensor(float(counts[name]), device="cpu")
                if moments:
                    owner[tensor].state[tensor] = moments

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with open_safetensors(self.folder / STATE, mend="delete it to start anew") as file:
            yield file

    # --- output ---------------------------------------------------------------------------------------------

    @contextmanager
    def finishing(self, training: Mapping[str, Any]) -> Iterator[Path]:
        """A folder that becomes the output, with ``training.json``, when the block ends; the state goes."""
        result = self.folder / RESULT
        shutil.rmtree(result, ignore_errors=True)  # of a run that was killed here
        with _writing(self.folder):
            result.mkdir()
            yield result
            (result / TRAINING).write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
            interrupts.check()
            for path in [*result.iterdir(), result]:
                use_default_permissions(path)
                sync(path)
            with interrupts.deferred():
                result.rename(self.output)  # over an empty folder, if there is one: see `finished`
                interrupts.complete(self.output)
        self.clear()

    def clear(self) -> None:
        """Remove the folder of a run whose output is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder; an earlier one stays until it is complete."""
        with _writing(self.folder):
            self._new(name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
            self._replace(name)

    def _new(self, name: str) -> Path:
        return self.folder / f"new-{name}"

    def _replace(self, name: str) -> None:
        sync(self._new(name))
        self._new(name).replace(self.folder / name)
        sync(self.folder)


def differences(before: Any, now: Mapping[str, Any]) -> str:
    """Which arguments are not the same, in words; empty when all are."""
    before = before if isinstance(before, dict) else {}
    plain = (str, int, float, bool, type(None))

    def difference(name: str) -> str:
        values = (before.get(name), now.get(name))
        short = all(isinstance(value, plain) and len(str(value)) < 20 for value in values)
        return f"{name} was {values[0]}, now {values[1]}" if short else f"{name} differs"

    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    return "; ".join(map(difference, names))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        for leftover in folder.glob("new-*"):
            leftover.unlink(missing_ok=True)
        refused = UnwritableError(f"{folder}: cannot be written ({error}); mend that and run it again")
        raise unwritable(error, folder) or refused from None
