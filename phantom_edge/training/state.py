"""A run on disk, beside its output: what a killed run needs to go on exactly where it was saved.

OUTPUT.partial/run.json           the arguments, so that another run does not go on with this one's state
OUTPUT.partial/pictures.json      which pictures were decoded and found good
OUTPUT.partial/state.safetensors  weights, moments and gradients; counts, curve and validation in its metadata
OUTPUT.partial/progress.json      how far it is, for whoever wonders; never read again
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from phantom_edge.errors import CheckError, InputError
from phantom_edge.files import read_json, sync, use_default_permissions
from phantom_edge.text.triples import Stamp

SCHEMA = 1
RUN, PICTURES, STATE, PROGRESS, LOCK = (
    "run.json",
    "pictures.json",
    "state.safetensors",
    "progress.json",
    "lock",
)
RESULT = "checkpoint"
TRAINING = "training.json"
MAX_JSON_BYTES = 1 << 30
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}


@dataclass
class Totals:
    """Sums over what one optimiser step, or a validation, has computed so far."""

    sft: float = 0.0
    learned: int = 0
    preference: float = 0.0
    preferred: int = 0
    pairs: int = 0

    def means(self) -> dict[str, float | None]:
        """Both terms of the loss, and how often the right answer is preferred; None where there was
        nothing.
        """
        return {
            "sft": self.sft / self.learned if self.learned else None,
            "preference": self.preference / self.pairs if self.pairs else None,
            "preferred": self.preferred / self.pairs if self.pairs else None,
        }


@dataclass
class RunState:
    """Where a run is: in step ``stage`` of the recipe, after ``step`` optimiser steps and ``micro``
    micro-batches.
    """

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
        data = json.loads(text)
        values = {f.name: data[f.name] for f in fields(cls)}
        return cls(**values | {"totals": Totals(**values["totals"])})


class RunFolder:
    """``OUTPUT.partial``: made when a run begins, removed when its output is in place."""

    def __init__(self, output: Path):
        self.output = Path(os.path.abspath(output))
        self.folder = self.output.with_name(f"{self.output.name}.partial")

    @property
    def resumable(self) -> bool:
        return (self.folder / STATE).is_file()

    def finished(self) -> dict[str, Any] | None:
        """What ``training.json`` of a finished output says. Raises :class:`InputError` for anything else
        there.
        """
        if self.output.is_symlink() or (self.output.exists() and not self.output.is_dir()):
            raise InputError(f"{self.output}: is a file or a link; choose another --output")
        if not self.output.is_dir() or not any(self.output.iterdir()):
            return None
        if not (self.output / TRAINING).is_file():
            raise InputError(f"{self.output}: holds something that no tuning made; choose another --output")
        return read_json(self.output / TRAINING, MAX_JSON_BYTES)

    def known_pictures(self) -> dict[str, Stamp]:
        """What an earlier attempt found out about the pictures; nothing if that cannot be read."""
        try:
            found = read_json(self.folder / PICTURES, MAX_JSON_BYTES)
        except InputError:
            return {}
        kinds = (int, int, str, int, int)
        return {
            name: stamp
            for name, stamp in found.items()
            if isinstance(stamp, list) and tuple(map(type, stamp)) == kinds
        }

    def check_same(self, arguments: Mapping[str, Any]) -> None:
        """Raise :class:`InputError` when an unfinished run with other arguments is here."""
        if not self.resumable:
            return
        differing = differences(read_json(self.folder / RUN, MAX_JSON_BYTES).get("arguments"), arguments)
        if differing:
            raise InputError(
                f"{self.folder} holds an unfinished run with other arguments ({differing}): "
                "repeat those to go on with it, or delete that folder to start anew"
            )

    @contextmanager
    def held(self, arguments: Mapping[str, Any], stamps: Mapping[str, Stamp]) -> Iterator[None]:
        """The folder, made if need be, for this process alone; gone afterwards unless there is a state to go
        on from.

        Raises :class:`InputError` when another process holds it, or when it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another --output"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"{self.folder}: another tune is at work on it; wait or choose another --output"
                ) from None
            try:
                self.check_same(arguments)
                self._write_json(RUN, {"schema": SCHEMA, "arguments": dict(arguments)})
                self._write_json(PICTURES, stamps)
                yield
            except CheckError:  # the loss went astray, as it would again from any state
                self.clear()
                raise
            finally:
                if not self.resumable:
                    shutil.rmtree(self.folder, ignore_errors=True)

    # --- state ----------------------------------------------------------------------------------------------

    def save(
        self, state: RunState, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.AdamW
    ) -> None:
        """Write everything; the earlier state stays until the new one is complete on disk."""
        tensors, counts = {}, {}
        for name, tensor in trained.items():
            tensors[f"weight.{name}"] = tensor.detach()
            if tensor.grad is not None:
                tensors[f"grad.{name}"] = tensor.grad
            if moments := optimizer.state.get(tensor):
                counts[name] = int(moments["step"])
                tensors |= {f"{short}.{name}": moments[long] for short, long in MOMENTS.items()}
        tensors = {name: tensor.to("cpu").contiguous() for name, tensor in tensors.items()}
        metadata = {"state": json.dumps(asdict(state)), "counts": json.dumps(counts)}
        with _room(self.folder):
            save_file(tensors, self._new(STATE), metadata)
            self._replace(STATE)
        self._write_json(PROGRESS, {"stage": state.stage, "step": state.step, "last": state.curve[-1:]})

    def read_state(self) -> RunState:
        """Counts, curve and validation of the saved run, without its tensors."""
        with self._opened() as file:
            return RunState.from_json(file.metadata()["state"])

    def restore(self, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.AdamW) -> None:
        """Put weights, gradients and moments back."""
        with self._opened() as file, torch.no_grad():
            counts, names = json.loads(file.metadata()["counts"]), set(file.keys())
            for name, tensor in trained.items():
                tensor.copy_(file.get_tensor(f"weight.{name}"))
                if f"grad.{name}" in names:
                    tensor.grad = file.get_tensor(f"grad.{name}").clone().to(tensor.device)
                if name in counts:
                    moments = {long: file.get_tensor(f"{s}.{name}").clone() for s, long in MOMENTS.items()}
                    moments = {long: moment.to(tensor.device) for long, moment in moments.items()}
                    optimizer.state[tensor] = {
                        "step": torch.tensor(float(counts[name]), device="cpu"),
                        **moments,
                    }

    @contextmanager
    def _opened(self) -> Iterator:
        try:
            with safe_open(self.folder / STATE, framework="pt") as file:
                yield file
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.folder / STATE}: damaged ({reason}); delete that folder to start anew"
            ) from None

    # --- output ---------------------------------------------------------------------------------------------

    @contextmanager
    def finishing(self) -> Iterator[Path]:
        """A folder that becomes the output when the block ends; then the state is no longer needed."""
        result = self.folder / RESULT
        shutil.rmtree(result, ignore_errors=True)  # of a run that was killed here
        with _room(self.folder):
            result.mkdir()
            yield result
            for path in [*result.iterdir(), result]:
                use_default_permissions(path)
                sync(path)
            if self.output.is_dir():
                self.output.rmdir()  # it is empty: see `finished`
            result.rename(self.output)
        self.clear()

    def clear(self) -> None:
        """Remove the folder of a run whose output is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_json(self, name: str, value: Any) -> None:
        with _room(self.folder):
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
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    plain = (str, int, float, bool, type(None))

    def told(name: str) -> str:
        values = (before.get(name), now.get(name))
        short = all(isinstance(value, plain) and len(str(value)) < 20 for value in values)
        return f"{name} was {values[0]}, now {values[1]}" if short else f"{name} differs"

    return "; ".join(map(told, names))


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        for leftover in folder.glob("new-*"):
            leftover.unlink(missing_ok=True)
        raise InputError(
            f"{folder}: cannot be written ({error}); free some space and run the same command again"
        ) from None
