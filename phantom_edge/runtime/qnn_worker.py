"""The process in which an NPU's graphs run: sessions of ONNX Runtime's QNN provider, told over a pipe.

In a process of its own, because Qualcomm's libraries give their symbols to whatever is loaded after them (RE2
among others, with which ExecuTorch's tokenizers then end the process), and can end it themselves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnxruntime as ort

from phantom_edge.errors import PhantomEdgeError, first_line
from phantom_edge.export import qnn_provider
from phantom_edge.export.qnn_chips import chip_for
from phantom_edge.runtime import frames

Reply = tuple[dict[str, Any], list[np.ndarray]]


def opened(head: dict[str, Any]) -> ort.InferenceSession:
    """The session that a message asks for."""
    return qnn_provider.open_session(Path(head["path"]), chip_for(head["chip"]), head["switches"])


def described(values: Any) -> dict[str, list[Any]]:
    """Type and shape of inputs or outputs by name."""
    return {value.name: [value.type, list(value.shape)] for value in values}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer messages until there are no more."""
    sessions: dict[str, ort.InferenceSession] = {}

    def answer(head: dict[str, Any], arrays: list[np.ndarray]) -> Reply:
        if head["call"] == "open":
            session = sessions[head["graph"]] = opened(head)
            ends = {"inputs": described(session.get_inputs()), "outputs": described(session.get_outputs())}
            return ends, []
        values = dict(zip(head["inputs"], arrays, strict=True))
        return {}, sessions[head["graph"]].run(head["outputs"], values)

    while True:
        try:
            head, arrays = frames.read(requests)
        except EOFError:
            return
        try:
            reply = answer(head, arrays)
        except PhantomEdgeError as error:
            reply = {"error": str(error)}, []
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            reply = {"error": first_line(error)}, []
        frames.write(replies, *reply)


def main() -> None:
    """Speak over standard input and output; what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
