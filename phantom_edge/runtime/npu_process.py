"""An NPU's graphs as models to call, each in the process of ``qnn_worker``; and the same on the CPU."""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort

from phantom_edge.export import qnn_provider
from phantom_edge.export.qnn_chips import Chip
from phantom_edge.runtime.worker_process import WorkerProcess, worker_process
from phantom_edge.system.partials import temporary_folder

WORKER: Final = "phantom_edge.runtime.qnn_worker"


class Input(NamedTuple):
    """An input's type as ONNX Runtime calls it, such as ``tensor(float16)``, and its shape."""

    type: str
    shape: Sequence[int]


class Model(Protocol):
    """A graph that runs: its inputs by name, names of its outputs."""

    @property
    def inputs(self) -> Mapping[str, Input]: ...
    @property
    def outputs(self) -> Sequence[str]: ...
    def run(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name."""


@dataclass(frozen=True)
class RemoteModel:
    """A session of the process, by the graph's name."""

    process: WorkerProcess
    graph: str
    inputs: Mapping[str, Input]
    outputs: Sequence[str]

    def run(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name. Raises :class:`InputError` where the process ends or the provider fails."""
        names = {"graph": self.graph, "inputs": list(values), "outputs": list(self.outputs)}
        _, arrays = self.process.call("run", list(values.values()), **names)
        return dict(zip(self.outputs, arrays, strict=True))


class LocalModel:
    """A session in this process, on the CPU."""

    def __init__(self, session: ort.InferenceSession):
        self._session = session
        self.inputs = {value.name: Input(value.type, value.shape) for value in session.get_inputs()}
        self.outputs = [value.name for value in session.get_outputs()]

    def run(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name."""
        return dict(zip(self.outputs, self._session.run(self.outputs, dict(values)), strict=True))


class NpuProcess:
    """The process in which sessions of the QNN provider run; it ends with this object.

    ``folder`` is what an error names. Raises :class:`InputError` where the provider cannot be had.
    """

    def __init__(self, folder: Path):
        qnn_provider.require()
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(temporary_folder())
            command = [sys.executable, "-P", "-m", WORKER]
            name = f"{folder}: the emulated process"
            self._process = stack.enter_context(worker_process(command, scratch, name))
            self._end = weakref.finalize(self, stack.pop_all().close)

    def open(self, graph: str, path: Path, chip: Chip, switches: Mapping[str, str]) -> RemoteModel:
        """A session as :func:`phantom_edge.export.qnn_provider.open_session` opens it, and raises."""
        place, own = str(path.absolute()), dict(switches)
        head, _ = self._process.call("open", graph=graph, path=place, chip=chip.name, switches=own)
        inputs = {name: Input(*described) for name, described in head["inputs"].items()}
        return RemoteModel(self._process, graph, inputs, list(head["outputs"]))
