"""ExecuTorch: one ``model.pte`` for the stock multimodal runner, computed by XNNPACK on the CPU."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phantom_edge.export.base import GRAPHS, Exported, ExportOptions, StoredWeights
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step

if TYPE_CHECKING:
    import torch

    from phantom_edge.model.weights import LazyWeights

FILE: Final = "model.pte"
_SUM: Final = "class token and positions are one table, whose first row is a sum; differences compares it"
NOT_STORED: Final = {"vision_encoder.class_embedding": _SUM, "vision_encoder.position_embedding*": _SUM}
"""Patterns of weights that :func:`stored_floats` cannot give, and why."""


def activation_grid(weight: QuantizedTensor) -> ActivationGrid:
    """XNNPACK holds the input of every integer matmul as int8 per row, whatever the weight's bits."""
    return ActivationGrid.TOKEN_INT8


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write ``out/model.pte`` with the three graphs and the metadata that ExecuTorch's runners read.

    Raises :class:`CheckError` when what was written lacks an attention op or a quantised weight.
    """
    from phantom_edge.export.executorch.lower import write_program

    return write_program(model, options, out, progress)


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that computes what the file does: the same integers, activations on XNNPACK's grid."""
    return model.on_grid(activation_grid)


def stored_weights(folder: Path) -> StoredWeights:
    """Quantised weights of ``folder/model.pte`` by module. Raises :class:`InputError` for damage."""
    from phantom_edge.export.executorch.readback import StoredProgram

    return StoredProgram.open(Path(folder) / FILE).weights()


def stored_floats(folder: Path) -> LazyWeights[torch.Tensor]:
    """Float constants of ``folder/model.pte`` by their names in the folded model, each read at access.

    In the model's layout and the type stored; RoPE's tables are ``rope.cos`` and ``rope.sin``
    [context, head_dim / 2]. Raises :class:`InputError` for damage.
    """
    from phantom_edge.export.executorch.floats import program_floats
    from phantom_edge.export.executorch.readback import StoredProgram

    return program_floats(StoredProgram.open(Path(folder) / FILE))


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in ``folder/model.pte`` is not as :func:`export` writes it, in a few words each.

    Instructions, values, shapes, memory plan, metadata, the delegates' graphs and constants that are no
    weights; weights' values aside. Raises :class:`InputError` for no readable program.
    """
    from phantom_edge.export.executorch.compare import Expected, program_differences
    from phantom_edge.export.executorch.readback import StoredProgram

    return program_differences(StoredProgram.open(Path(folder) / FILE), Expected.of(model, options))


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``. Raises :class:`InputError` for no readable program."""
    from phantom_edge.export.executorch.readback import StoredProgram

    return dict.fromkeys((*GRAPHS, *StoredProgram.open(Path(folder) / FILE).further_vision_encoders()), FILE)


def is_stored(name: str) -> bool:
    """Whether :func:`stored_floats` gives a weight of that name."""
    return not any(fnmatchcase(name, pattern) for pattern in NOT_STORED)


def artifact_files(folder: Path) -> set[str]:
    """The one file."""
    return {FILE}
