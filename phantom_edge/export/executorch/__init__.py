"""ExecuTorch: one ``model.pte`` for the stock multimodal runner, computed by XNNPACK on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from phantom_edge.export.base import Exported, ExportOptions, StoredWeights
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step

FILE: Final = "model.pte"


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
