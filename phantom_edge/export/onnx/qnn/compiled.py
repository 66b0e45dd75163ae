"""Graphs compiled for named chips: context binaries, as a phone loads them without compiling."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from phantom_edge.bundle.manifest import CompiledGraphs
from phantom_edge.errors import CheckError, first_line
from phantom_edge.export import qnn_provider
from phantom_edge.export.onnx.qnn.graphs import DECODE, PREFILL, VISION
from phantom_edge.export.onnx_layout import FOLDER, NPU_FOLDER, compiled_file, npu_file
from phantom_edge.export.onnx_model import context_of, load_model, parse_model
from phantom_edge.export.qnn_chips import Chip
from phantom_edge.progress import Step
from phantom_edge.versions import installed

PACKAGE: Final = "onnxruntime-qnn"
SHARE, STOP_SHARING = "ep.share_ep_contexts", "ep.stop_share_ep_contexts"


def compile_graphs(out: Path, names: Sequence[str], chip: Chip, progress: Step) -> CompiledGraphs:
    """Compile the graphs ``names`` in ``out`` for ``chip``; prefill and decode share one set of weights.

    Raises :class:`CheckError` for a graph that the compiler does not take whole.
    """
    files = {name: compiled_file(chip.name, name) for name in names}
    begin = time.monotonic()
    for name in (VISION, PREFILL, DECODE):
        if name in files:
            progress(f"compiling {name} for {chip.title} ({chip.name})")
            _compile(out / FOLDER / npu_file(name), out / files[name], chip, _sharing(name))
    seconds = round(time.monotonic() - begin, 1)
    return CompiledGraphs(chip.architecture, chip.model, files, installed(PACKAGE)[PACKAGE], seconds)


def _sharing(name: str) -> dict[str, str]:
    """The two decoders are compiled after each other into one binary."""
    if name == VISION:
        return {}
    return {SHARE: "1"} | ({STOP_SHARING: "1"} if name == DECODE else {})


def _compile(graph: Path, path: Path, chip: Chip, sharing: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {entry.key: entry.value for entry in load_model(graph).metadata_props}
    entries = {
        "ep.context_enable": "1",
        "ep.context_file_path": os.fspath(path),
        "ep.context_embed_mode": "0",
        **sharing,
    }
    switches = qnn_provider.switches_of(metadata)
    try:
        session: Any = qnn_provider.open_session(graph, chip, switches, entries=entries)
    except Exception as error:
        raise CheckError(
            f"{graph.name}: does not compile for {chip.title} ({first_line(error)}); report it, or leave out --soc"
        ) from error
    del session


def chip_folders(folder: Path) -> list[Path]:
    """The folders of chips below a bundle, by name."""
    npu = folder / NPU_FOLDER
    return sorted(path for path in npu.iterdir() if path.is_dir()) if npu.is_dir() else []


def files(folder: Path) -> set[str]:
    """The compiled graphs below ``folder`` and the binaries that they name, as posix paths.

    Raises :class:`InputError` for a graph that holds more than a chip's context.
    """
    names: set[str] = set()
    for chip in chip_folders(folder):
        for path in sorted(chip.glob("*.onnx")):
            binary = path.with_name(context_of(path))
            names |= {each.relative_to(folder).as_posix() for each in (path, binary)}
    return names


def differences(folder: Path, names: Sequence[str], chips: Sequence[str]) -> list[str]:
    """What of the compiled graphs is missing, too much, or around other inputs than the uncompiled ones."""
    expected = {compiled_file(chip, name): name for chip in chips for name in names}
    present = {path for path in files(folder) if path.endswith(".onnx")}
    lines = [
        f"{path} is {'not to be' if path in present else 'missing'}" for path in present ^ expected.keys()
    ]
    for path in sorted(present & expected.keys()):
        own, source = (
            parse_model(each).graph for each in (folder / path, folder / FOLDER / npu_file(expected[path]))
        )
        for kind in ("input", "output"):
            if _signature(getattr(own, kind)) != _signature(getattr(source, kind)):
                lines.append(f"{path}: its {kind}s are not those of the graph that it was compiled from")
    return sorted(lines)


def _signature(values: Sequence[onnx.ValueInfoProto]) -> dict[str, tuple[int, ...]]:
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            *(dim.dim_value for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    }
