"""Core AI for iOS 27: three ``.aimodel`` assets converted by Apple's ``coreai-torch``, the KV cache as state.

The package is an extra (``pip install "phantom-edge[coreai]"``); imported by :func:`export`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from phantom_edge.errors import CheckError
from phantom_edge.export.base import GRAPHS, VISION, Exported, ExportOptions, require_counts, vision_graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NOT_STORED",
    "activation_grid",
    "artifact_files",
    "differences",
    "export",
    "reference",
    "stored_floats",
    "stored_weights",
]

FILES: Final = ("main.hash", "main.mlirb", "metadata.json")
"""All files of an asset."""
NOTES: Final = (
    "arithmetic, inputs, outputs, the cache and all that is not quantised are float32, with an fp16 recipe "
    "too",
    "query heads that share a key head are rows of one attention op, so keys and values are not repeated",
    "positions beyond the current one are masked with -1e4, not with minus infinity",
    "the decoder has two functions of a fixed length, prefill and decode, over one set of weights and states",
    "a quantised embedding is stored as int8, whatever its bits, since a row of it is looked up before it "
    "is scaled",
)

NOT_STORED: Final = {"*": "a program names no constants; `differences` looks for each by its bytes"}
"""Weights that :func:`stored_floats` leaves out, and why."""


def activation_grid(weight: QuantizedTensor) -> ActivationGrid:
    """Core AI multiplies with dequantised weights and rounds no activation to integers."""
    return ActivationGrid.NONE


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that computes what the assets do: the model itself, in fp32."""
    return model


def stored_weights(folder: Path) -> dict[str, QuantizedTensor]:
    """Integers and scales read back by module name. Raises :class:`InputError` for what is not ours."""
    from phantom_edge.export.coreai.asset import Asset

    assets = (Asset.open(Path(folder) / file(graph)) for graph in GRAPHS)
    return {name: weight for asset in assets for name, weight in asset.weights().items()}


def stored_floats(folder: Path) -> dict[str, Tensor]:
    """The rotary tables ``rope.cos`` and ``rope.sin`` [context, head_dim / 2] as they are stored.

    Raises :class:`InputError` as :func:`stored_weights`.
    """
    from phantom_edge.export.coreai.asset import Asset

    tables = Asset.open(Path(folder) / file("text_decoder")).rotary_tables()
    return dict(zip(("rope.cos", "rope.sin"), tables, strict=True))


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in the assets in ``folder`` is not as :func:`export` writes it, in a few words each.

    Functions, their inputs, outputs and states, what is counted in them, and each float of the model by its
    bytes. Raises :class:`InputError` for a damaged asset.
    """
    from phantom_edge.export.coreai.compare import asset_differences

    return asset_differences(folder, model, options)


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``. Raises :class:`InputError` for a damaged asset."""
    from phantom_edge.export.coreai.asset import Asset

    functions = Asset.open(Path(folder) / file(VISION)).functions
    further = [name for name in functions if name.startswith(f"{VISION}_")]
    return {graph: file(graph) for graph in GRAPHS} | dict.fromkeys(further, file(VISION))


def artifact_files(folder: Path) -> set[str]:
    """The files of the three assets, as posix paths below ``folder``."""
    return {f"{file(graph)}/{name}" for graph in GRAPHS for name in FILES}


def file(graph: str) -> str:
    """The asset's name in a bundle.

    >>> file("text_decoder")
    'text_decoder.aimodel'
    """
    return f"{graph}.aimodel"


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write ``vision_encoder``, ``token_embedding`` and ``text_decoder`` as ``.aimodel``, and count.

    Inputs and outputs are those of the Core ML export, in float32: ``pixel_values`` [1, 3, S, S] to
    ``image_features`` [1, N, hidden]; ``input_ids`` int32 [1, S] to ``inputs_embeds`` [1, S, hidden];
    ``inputs_embeds`` and ``position_ids`` int32 [S] to ``logits`` [1, 1, V] of the last position. The
    embedding takes 1 to ``options.chunk`` ids. The decoder's ``prefill`` takes ``options.chunk`` steps,
    ``decode`` one; a shorter call of ``prefill`` repeats its last embedding at its last position. Layer n
    keeps ``key_cache_n`` and ``value_cache_n``, float32 [1, Hkv, context, head_dim + phantom_dim].

    Raises:
        CheckError: an attention op or a quantised weight is missing from an asset, or a weight went nowhere.
        InputError: no ``coreai-torch``, or a context beyond the rotary embedding's.
    """
    from phantom_edge.export.coreai.asset import Asset, expected_counts
    from phantom_edge.export.coreai.convert import write_asset

    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, dict[str, int]] = {}
    unread = set(model.weights)
    for graph in GRAPHS:
        progress(f"coreai: {graph}")
        read = write_asset(graph, model, options, out / file(graph))
        counts[graph] = Asset.open(out / file(graph)).counts()
        widths = [bits for bits in read.values() if bits is not None]
        require_counts(graph, counts[graph], expected_counts(graph, model.spec, widths))
        unread -= set(read)
    if unread:
        raise CheckError(f"weights that no graph used: {', '.join(sorted(unread)[:8])}")
    files = {graph: Path(file(graph)) for graph in GRAPHS}
    return Exported(files | dict.fromkeys(vision_graphs(model.spec), files[VISION]), counts, NOTES)
