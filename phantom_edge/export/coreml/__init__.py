"""Core ML for iOS 18: three hand-built ML Programs, the KV cache as state, integers as they are.

Nothing here imports coremltools before :func:`export` is called.
"""

from __future__ import annotations

from dataclasses import replace
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

    from phantom_edge.model.weights import LazyWeights

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

NOTES: Final = (
    "RMSNorm is layer_norm over [x, -x]: the same value, and its squares do not leave float16",
    "query heads that share a key head are rows of one attention op, so keys and values are not repeated",
    "positions beyond the current one are masked with -1e4, not with minus infinity",
    "the decoder's functions prefill and decode have fixed lengths; they share weights and states with main",
)
NOTES_FP16: Final = (
    "vectors and phantom constants are float16; powers of two keep the phantom's small factors normal "
    "numbers",
    "sqrt(width / head_dim), which undoes the attention op's own scale, is the product of two float16 "
    "factors",
    "activations and the cache are float16; rotary tables are float32 and rounded once they are looked up",
)
NOTES_FP32: Final = (
    "the cache is float16, the only type that a Core ML state can have; all else is float32",
)

_MOVED: Final = "in float16 moved by a power of two, which the model gives; compared by `differences`"
_LAYERS: Final = "text_decoder.layers.*"
NOT_STORED: Final = {
    f"{_LAYERS}.{name}": _MOVED
    for name in ("phantom.*.scale", "phantom.*.basis", "gate.scale", "gate.basis", "gate.weight")
}
"""Weights that :func:`stored_floats` leaves out, and why."""


def activation_grid(weight: QuantizedTensor) -> ActivationGrid:
    """Core ML multiplies with dequantised weights and rounds no activation to integers."""
    return ActivationGrid.NONE


def reference(model: FoldedModel, float_type: str | None = None) -> FoldedModel:
    """The torch model with the numbers that an artifact of ``model`` stores: its float constants as written.

    ``float_type`` is the recipe's unless given (``fp16`` or ``fp32``).
    """
    from phantom_edge.export.half_constants import FloatConstants

    if float_type is None:
        float_type = str(model.recipe.float_type) if model.recipe else "fp32"
    constants = FloatConstants(model.spec, model.weights, float_type)
    weights = {
        n: w if isinstance(w, QuantizedTensor) else constants.meaning(n) for n, w in model.weights.items()
    }
    return replace(model, weights=weights)


def stored_weights(folder: Path) -> dict[str, QuantizedTensor]:
    """The integers and scales read back out of the packages in ``folder``, by module name."""
    from phantom_edge.export.coreml.readback import stored_weights as read

    return read(folder)


def stored_floats(folder: Path) -> LazyWeights[Tensor]:
    """Every float constant of the packages in ``folder`` by its name in the folded model, in the type stored.

    The rotary tables are ``rope.cos`` and ``rope.sin`` [context, head_dim / 2]. Each is read at access.
    Raises :class:`InputError` as :func:`stored_weights`.
    """
    from phantom_edge.export.coreml.readback import stored_floats as read

    return read(folder)


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in the packages in ``folder`` is not as :func:`export` writes it, in a few words each.

    The same programs are built again; every function is compared with its own, operation by operation, and
    every constant with what it should hold. Raises :class:`InputError` for a damaged package.
    """
    from phantom_edge.export.coreml.compare import packages_differences

    return packages_differences(folder, model, options)


def graph_files(folder: Path) -> dict[str, str]:
    """Where each graph lies below ``folder``. Raises :class:`InputError` for a damaged package."""
    from phantom_edge.export.coreml.readback import further_vision_encoders

    further = further_vision_encoders(Path(folder) / f"{VISION}.mlpackage")
    return {graph: f"{graph}.mlpackage" for graph in GRAPHS} | dict.fromkeys(further, f"{VISION}.mlpackage")


def artifact_files(folder: Path) -> set[str]:
    """The files of the three packages, as posix paths below ``folder``."""
    from phantom_edge.export.coreml.package import FILES

    return {f"{graph}.mlpackage/{file}" for graph in GRAPHS for file in FILES}


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write ``vision_encoder``, ``token_embedding`` and ``text_decoder`` as ``.mlpackage``, and count.

    Inputs and outputs: ``pixel_values`` [1, 3, S, S] in 0..1 to ``image_features`` [1, N, hidden];
    ``input_ids`` int32 [1, S] to ``inputs_embeds`` [1, S, hidden]; ``inputs_embeds`` and ``position_ids``
    int32 [S] to ``logits`` [1, 1, V] of the last position. S is 1 to ``options.chunk``, floats are
    ``options.float_type``; layer n keeps ``key_cache_n`` and ``value_cache_n``, float16 [1, Hkv, context,
    head_dim + phantom_dim]. The vision encoder has a function ``vision_encoder_SIZE`` for each further size
    of tiles.

    The decoder has three functions over one set of weights and states: ``main``, and the same with S fixed,
    as the Neural Engine wants it: ``prefill`` for ``options.chunk`` and ``decode`` for 1. To fill a shorter
    call of ``prefill``, repeat its last embedding and its last position: each repetition computes what the
    last one does, and the keys and values that it leaves beyond the end are out of sight until the next call
    writes over them. The whole length must fit the context.

    Raises:
        CheckError: an attention op or a quantised weight is missing from a package, or a weight went nowhere.
        InputError: a context beyond the rotary embedding's, or a constant that float16 cannot hold.
    """
    from phantom_edge.export.coreml.checks import count_ops, expected_counts
    from phantom_edge.export.coreml.package import write_package
    from phantom_edge.export.coreml.programs import build

    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, dict[str, int]] = {}
    unread = set(model.weights)
    for graph in GRAPHS:
        progress(f"coreml: {graph}")
        built = build(graph, model, options)
        path = write_package(built, graph, out)
        counts[graph] = count_ops(path)
        integers = [w for name in built.read if isinstance(w := model.weights[name], QuantizedTensor)]
        require_counts(graph, counts[graph], expected_counts(graph, model.spec, integers, options.float_type))
        unread -= built.read
    if unread:
        raise CheckError(f"weights that no graph used: {', '.join(sorted(unread)[:8])}")
    files = {graph: Path(f"{graph}.mlpackage") for graph in GRAPHS}
    files |= dict.fromkeys(vision_graphs(model.spec), files[VISION])
    return Exported(files, counts, NOTES + (NOTES_FP16 if options.float_type == "fp16" else NOTES_FP32))
