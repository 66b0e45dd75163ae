"""The process in which an NPU's graphs run: sessions of ONNX Runtime's QNN provider, told over a pipe.

In a process of its own, because Qualcomm's libraries give their symbols to whatever is loaded after them (RE2
among others, with which ExecuTorch's tokenizers then end the process), and can end it themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from phantom_edge.errors import InputError, PhantomEdgeError, first_line
from phantom_edge.export import qnn_provider
from phantom_edge.export.qnn_chips import chip_for
from phantom_edge.runtime import frames


def opened(head: dict[str, Any]) -> ort.InferenceSession:
    """The session that a message asks for."""
    return qnn_provider.open_session(Path(head["path"]), chip_for(head["chip"]), head["switches"])


def described(values: Any) -> dict[str, list[Any]]:
    """Type and shape of inputs or outputs by name."""
    return {value.name: [value.type, list(value.shape)] for value in values}


def answers() -> Callable[[dict[str, Any], list[np.ndarray]], frames.Reply]:
    """What answers the messages of one process: ``open`` makes a session, ``run`` runs it."""
    sessions: dict[str, ort.InferenceSession] = {}

    def run(head: dict[str, Any], arrays: list[np.ndarray]) -> frames.Reply:
        if head["call"] == "open":
            session = sessions[head["graph"]] = opened(head)
            ends = {"inputs": described(session.get_inputs()), "outputs": described(session.get_outputs())}
            return ends, []
        values = dict(zip(head["inputs"], arrays, strict=True))
        return {}, sessions[head["graph"]].run(head["outputs"], values)

    def answer(head: dict[str, Any], arrays: list[np.ndarray]) -> frames.Reply:
        try:
            return run(head, arrays)
        except PhantomEdgeError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InputError(first_line(error)) from None

    return answer


if __name__ == "__main__":
    frames.serve(answers())
