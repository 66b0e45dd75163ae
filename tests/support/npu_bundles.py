"""A bundle for ``snapdragon`` beside one for ``android``: manifest and small files are real, no graph is.

What reads them is under test elsewhere; here it is which files a phone needs, and by which rules it uses
them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from phantom_edge.bundle.folder import TOKENIZER, Bundle, finish
from phantom_edge.bundle.golden import GOLDEN
from phantom_edge.bundle.manifest import CompiledGraphs, GraphFiles, Npu

CHIPS = {"SM8650": (75, 57), "SM8750": (79, 69)}
"""Hexagon version and Qualcomm's number of the chips that the graphs were compiled for."""
VISION, DECODER = ("vision_encoder",), ("prefill", "decode")


def write_npu_bundle(
    cpu: Bundle,
    folder: Path,
    *,
    decodes: bool = True,
    architectures: Sequence[int] = (73, 75),
    **changes: object,
) -> Bundle:
    """The NPU's bundle of the same model as ``cpu``. ``changes`` are fields of its manifest."""
    folder.mkdir(parents=True)
    for name in (TOKENIZER, GOLDEN):
        shutil.copy(cpu.folder / name, folder / name)
    (folder / "npu").mkdir()
    for name in ("embed.onnx", "embed.onnx_data"):  # a CPU's, in one folder with the uncompiled graphs
        (folder / "npu" / name).write_text("not for an NPU")
    for_cpu = GraphFiles("npu/vision_encoder.onnx", "npu/embed.onnx", "npu/embed.onnx")
    names = (*VISION, *DECODER) if decodes else VISION
    npu = Npu(
        graphs=_graphs(folder, "npu", names, "weights"),
        activations="uint16",
        ranges="0" * 64,
        architectures=tuple(architectures),
        options={"offload_graph_io_quantization": "0"},
        compiled={
            chip: CompiledGraphs(
                architecture=architecture,
                model=model,
                graphs=_graphs(folder, f"npu/{chip.lower()}", names, f"context of {chip}"),
                compiler="2.7.0",
                seconds=1.0,
            )
            for chip, (architecture, model) in CHIPS.items()
        },
    )
    manifest = replace(cpu.manifest, target="snapdragon", format="onnx", graphs=for_cpu, npu=npu, **changes)
    return finish(folder, manifest)


def _graphs(folder: Path, below: str, names: Sequence[str], content: str) -> dict[str, str]:
    """A file for each graph, and one beside it."""
    (folder / below).mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / below / f"{name}.onnx").write_text(f"{name}, {content}")
        (folder / below / f"{name}.bin").write_text(content * 100)
    return {name: f"{below}/{name}.onnx" for name in names}
