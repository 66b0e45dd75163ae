"""Graphs compiled for named chips: context binaries, as a phone loads them without compiling."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx

from phantom_edge.bundle.manifest import CompiledGraphs
from phantom_edge.errors import CheckError
from phantom_edge.export.onnx.qnn.graphs import VISION
from phantom_edge.export.onnx_layout import FOLDER, NPU_FOLDER, compiled_file, npu_file
from phantom_edge.export.onnx_model import context_of, parse_model
from phantom_edge.export.qnn_chips import Chip
from phantom_edge.progress import Step, no_step
from phantom_edge.system.children import run
from phantom_edge.system.partials import temporary_folder
from phantom_edge.versions import installed

PACKAGE: Final = "onnxruntime-qnn"
MODULE: Final = "phantom_edge.export.qnn_compiler"


def compile_graphs(out: Path, names: Sequence[str], chip: Chip, progress: Step) -> CompiledGraphs:
    """Compile the graphs ``names`` in ``out`` for ``chip``; prefill and decode share one set of weights.

    Raises :class:`CheckError` for a graph that the compiler does not take whole.
    """
    progress(f"compiling for {chip.title} ({chip.name})")
    begin = time.monotonic()
    # Apart, because the decoders' binary is another one where the vision encoder was compiled before.
    for together in ([n for n in names if n == VISION], [n for n in names if n != VISION]):
        if together:
            _compile(out, together, chip)
    return entry(chip, names, installed(PACKAGE)[PACKAGE], round(time.monotonic() - begin, 1))


def entry(chip: Chip, names: Sequence[str], compiler: str, seconds: float) -> CompiledGraphs:
    """What the manifest says of the graphs ``names`` that were compiled for ``chip``."""
    files = {name: compiled_file(chip.name, name) for name in names}
    return CompiledGraphs(chip.architecture, chip.model, files, compiler, seconds)


def _compile(out: Path, names: Sequence[str], chip: Chip) -> None:
    done = run([sys.executable, "-P", "-m", MODULE, chip.name, *names], cwd=out)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"the compiler ended with {done.returncode}"]
        raise CheckError(
            f"{', '.join(names)}: not to be compiled for {chip.title} ({lines[-1][:160]}); report it, or "
            "leave out --soc"
        )


def decoders_again(folder: Path, names: Sequence[str], chips: Sequence[Chip]) -> dict[str, bytes]:
    """Every file of the compiled decoders, by path in the bundle, compiled again from graphs in ``folder``.

    One binary holds both, which the emulator does not load; but the compiler writes the same one again.
    """
    decoders = [name for name in names if name != VISION]
    made: dict[str, bytes] = {}
    if not decoders or not chips:
        return made
    with temporary_folder() as place:
        (place / FOLDER).symlink_to((folder / FOLDER).resolve(), target_is_directory=True)
        for chip in chips:
            compile_graphs(place, decoders, chip, no_step)
        for path in sorted((place / NPU_FOLDER).rglob("*")):
            if path.is_file():
                made[path.relative_to(place).as_posix()] = path.read_bytes()
    return made


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
