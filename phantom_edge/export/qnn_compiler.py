"""Compiles the graphs of a bundle for one chip, in a process of its own that runs in the bundle's folder.

In that folder because the compiler writes the path of a graph into what it makes: a relative one is the same
everywhere, and so is the file. In a process of its own because a compiler can end the one that it runs in.

Called as ``python -m phantom_edge.export.qnn_compiler CHIP GRAPH...``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from phantom_edge.errors import first_line
from phantom_edge.export import qnn_provider
from phantom_edge.export.onnx_layout import FOLDER, NPU_GRAPHS, compiled_file, npu_file
from phantom_edge.export.onnx_model import load_model
from phantom_edge.export.qnn_chips import Chip, chip_for

SHARE: Final = "ep.share_ep_contexts"
STOP_SHARING: Final = "ep.stop_share_ep_contexts"


def compile_graph(name: str, chip: Chip) -> None:
    """Write the compiled form of one graph of the bundle in the current folder."""
    graph, path = Path(FOLDER) / npu_file(name), Path(compiled_file(chip.name, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    switches = qnn_provider.switches_of({e.key: e.value for e in load_model(graph).metadata_props})
    entries = {
        "ep.context_enable": "1",
        "ep.context_file_path": str(path),
        "ep.context_embed_mode": "0",
        **_sharing(name),
    }
    qnn_provider.open_session(graph, chip, switches, entries=entries)


def _sharing(name: str) -> dict[str, str]:
    """The two decoders, compiled after each other, become one binary with one set of weights."""
    if name == NPU_GRAPHS[0]:
        return {}
    return {SHARE: "1"} | ({STOP_SHARING: "1"} if name == NPU_GRAPHS[-1] else {})


def main(arguments: list[str]) -> int:
    """Compile what the arguments name; the last line of stderr says why that failed."""
    try:
        chip = chip_for(arguments[0])
        for name in arguments[1:]:
            compile_graph(name, chip)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        print(first_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
