"""The emulated process: the three models of a bundle, run as they are told over a pipe.

Started by ``backend`` under QEMU with the environment's Python, where of this package only what needs no
more than numpy and ONNX Runtime can be imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from phantom_edge.runtime import frames
from phantom_edge.runtime.onnx_graphs import OnnxCache, OnnxGraphs, Source

CPUINFO: Final = Path("/proc/cpuinfo")
NO_SPIN: Final = {"session.intra_op.allow_spinning": "0"}  # a waiting thread would be emulated, too


class Worker:
    """The models, once they are open, and the caches by number."""

    def __init__(self) -> None:
        self.graphs: OnnxGraphs | None = None
        self.caches: dict[int, OnnxCache] = {}

    def open(self, head: dict[str, Any], arrays: list[np.ndarray]) -> frames.Reply:
        """Load the models; a changed one comes as its bytes, in the order of the paths."""
        changed = iter(arrays)
        sources = {
            graph: Source(Path(path), next(changed).tobytes() if other else None)
            for graph, path, other in zip(head["graphs"], head["paths"], head["changed"], strict=True)
        }
        self.graphs = OnnxGraphs(
            Path(head["folder"]),
            sources,
            context=head["context"],
            chunk=head["chunk"],
            threads=head["threads"],
            entries=NO_SPIN,
        )
        return {"onnxruntime": ort.__version__, "features": features()}, []

    def answer(self, head: dict[str, Any], arrays: list[np.ndarray]) -> frames.Reply:
        """Do what a message asks for. Raises what the models raise."""
        for number in head.get("dropped", ()):
            self.caches.pop(number, None)
        if head["call"] == "open":
            return self.open(head, arrays)
        assert self.graphs is not None, "the first message opens the models"
        match head["call"]:
            case "encode_image":
                return {}, [self.graphs.encode_image(arrays[0])]
            case "embed":
                return {}, [self.graphs.embed(arrays[0])]
            case "make_cache":
                self.caches[head["cache"]] = self.graphs.make_cache()
                return {}, []
            case "decode":
                cache = self.caches[head["cache"]]
                cache.length = head["length"]
                return {}, [self.graphs.decode(arrays[0], cache)]
            case call:
                raise ValueError(f"no such call: {call}")


def features() -> list[str]:
    """What this processor can do, as Linux says it; the C library announces the same to programs."""
    lines = CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    return next((line.partition(":")[2].split() for line in lines if line.startswith("Features")), [])


if __name__ == "__main__":
    frames.serve(Worker().answer)
