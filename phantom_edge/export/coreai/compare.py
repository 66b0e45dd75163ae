"""What an asset declares and stores, beside what the exporter writes for a model.

A program names none of its constants, so that each float of the model is looked for by its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch

from phantom_edge.errors import CheckError, InputError, first_line
from phantom_edge.export.base import GRAPHS, VISION, ExportOptions
from phantom_edge.export.coreai import file
from phantom_edge.export.coreai.asset import Asset, expected_counts
from phantom_edge.export.coreai.convert import NAMES, vision_functions
from phantom_edge.export.coreai.modules import cache_names
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rope import static_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.grid import QuantizedTensor

MOST: Final = 3  # of one kind that are listed
SMALL: Final = 16
"""Elements; the converter makes smaller constants of its own, such as an epsilon."""
Signature = dict[str, str]


def asset_differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """Of the three assets in ``folder``. Raises :class:`InputError` for a damaged one."""
    lines: list[str] = []
    for graph in GRAPHS:
        asset = Asset.open(Path(folder) / file(graph))
        try:
            lines += (f"{graph}: {line}" for line in _asset(asset, graph, model, options))
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            reason = f"not a program of this toolkit ({first_line(error)})"
            raise InputError(f"{asset.path}: {reason}; export it again") from None
    return lines


def _asset(asset: Asset, graph: str, model: FoldedModel, options: ExportOptions) -> Iterator[str]:
    expected = _signatures(graph, model, options)
    if asset.functions.keys() != expected.keys():
        yield f"functions {', '.join(sorted(asset.functions))[:80]}, not {', '.join(expected)}"
        return
    for name, signature in expected.items():
        if asset.signature(name) != signature:
            yield f"{name}: declared inputs, outputs or states"
    weights = {n: w for n, w in model.weights.items() if n.startswith(f"{graph}.")}
    integers = {n: w for n, w in weights.items() if isinstance(w, QuantizedTensor)}
    yield from _counts(asset, graph, model, [w.bits for w in integers.values()])
    described = {n.removesuffix(".weight"): (w.bits, w.group or 0) for n, w in integers.items()}
    if {str(name): (bits, group) for name, bits, group in asset.described} != described:
        yield "description of its weights"
    yield from _floats(asset, graph, model, options)


def _signatures(graph: str, model: FoldedModel, options: ExportOptions) -> dict[str, Signature]:
    """Types of what each function takes, keeps and gives, by name."""
    d = model.config.decoder
    (source, *rest), (result,) = NAMES[graph]
    if graph == VISION:
        return {
            name: {
                source: f"tensor<1x3x{size}x{size}xf32>",
                result: f"tensor<1x{model.config.tokens_of(size)}x{d.hidden_size}xf32>",
            }
            for name, size in vision_functions(model.spec).items()
        }
    if graph == "token_embedding":
        return {"main": {source: "tensor<1x?xsi32>", result: f"tensor<1x?x{d.hidden_size}xf32>"}}
    caches = {
        name: f"!coreai.handle<tensor<1x{d.kv_heads}x{options.context}x{model.spec.width(n)}xf32>>"
        for n in range(d.layers)
        for name in cache_names(n)
    }
    logits = f"tensor<1x1x{d.vocab_size}xf32>"
    return {
        name: {source: f"tensor<1x{n}x{d.hidden_size}xf32>", rest[0]: f"tensor<{n}xsi32>", result: logits}
        | caches
        for name, n in {"prefill": options.chunk, "decode": 1}.items()
    }


def _counts(asset: Asset, graph: str, model: FoldedModel, widths: list[int]) -> Iterator[str]:
    try:
        counts = asset.counts()
    except CheckError as error:
        yield str(error)
        return
    for kind, expected in expected_counts(graph, model.spec, widths).items():
        if counts.get(kind, 0) != expected:
            yield f"{kind} {counts.get(kind, 0)} times, not {expected}"


def _floats(asset: Asset, graph: str, model: FoldedModel, options: ExportOptions) -> Iterator[str]:
    """Weights that a function lacks, and constants in it that are none of the model's."""
    digests: dict[str, set[str]] = {}
    known: set[str] = set()
    for name, weight in model.weights.items():
        if not name.startswith(f"{graph}."):
            continue
        if isinstance(weight, QuantizedTensor):
            known |= _digests(weight.scales)
        else:
            digests[name] = _digests(weight)  # the converter transposes matrices as it sees fit
    if graph == "text_decoder":
        d = model.config.decoder
        known = known.union(*map(_digests, static_tables(d.rope, d.head_dim, options.context)))
    known = known.union(*digests.values())
    for function, stored in asset.floats().items():
        foreign = other_positions(model.spec, function) if graph == VISION else set()
        lacking = [
            name for name, forms in digests.items() if name not in foreign and not forms & stored.keys()
        ]
        yield from (f"{function}: values of {name}" for name in lacking[:MOST])
        others = [size for digest, size in stored.items() if size >= SMALL and digest not in known]
        if others:
            yield f"{function}: {len(others)} float constants that are none of the model's"


def other_positions(spec: FoldedSpec, function: str) -> set[str]:
    """Names of the position embeddings that one function of the vision encoder has no use for."""
    sizes = vision_functions(spec)
    return {spec.positions(size) for size in sizes.values()} - {spec.positions(sizes[function])}


def _digests(weight: torch.Tensor) -> set[str]:
    """SHA-256 of a weight in float32, as it is and transposed."""
    array = weight.detach().float().numpy()
    return {hashlib.sha256(np.ascontiguousarray(form).tobytes()).hexdigest() for form in (array, array.T)}
