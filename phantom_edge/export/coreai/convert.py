"""From a torch module to an ``.aimodel``: traced, converted by ``coreai-torch``, weights named."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from phantom_edge.export.base import VISION, ExportOptions, vision_graphs
from phantom_edge.export.coreai.modules import Graph, build, cache_names
from phantom_edge.export.coreai.toolkit import coreai_torch
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.spec import FoldedSpec

WEIGHTS = "phantom_edge.weights"
"""Metadata of an asset: [name, bits, group or 0] of each quantised weight in the order of its use."""

NAMES = {
    "vision_encoder": (["pixel_values"], ["image_features"]),
    "token_embedding": (["input_ids"], ["inputs_embeds"]),
    "text_decoder": (["inputs_embeds", "position_ids"], ["logits"]),
}


def write_asset(graph: str, model: FoldedModel, options: ExportOptions, path: Path) -> dict[str, int | None]:
    """Write one graph as the asset ``path``; returns its weights, with their bits if quantised."""
    toolkit = coreai_torch()
    module = build(graph, model, options.context).eval()
    converter = toolkit.TorchConverter(mode=toolkit.TorchConverter.Mode.RELEASE)
    inputs, outputs = NAMES[graph]
    layers = model.config.decoder.layers if graph == "text_decoder" else 0
    states = [state for n in range(layers) for state in cache_names(n)]
    for function, arguments, dynamic in _functions(graph, model, options):
        with torch.no_grad():
            module(*arguments)  # makes the buffers, which a trace may not
            traced = _traced(module, arguments, dynamic, toolkit.get_decomp_table())
        converter.add_exported_program(
            traced, input_names=inputs, output_names=outputs, state_names=states, entrypoint_name=function
        )
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # its progress bar
        program = converter.to_coreai()
    asset = program.save_asset(path)
    asset.update_metadata(lambda metadata: metadata.set_custom(WEIGHTS, _described(module)))
    return {name: None if grid is None else grid.bits for name, grid in module.grids.items()}


def vision_functions(spec: FoldedSpec) -> dict[str, int]:
    """The functions of the vision encoder, with the size of tiles that each takes."""
    return {"main" if name == VISION else name: size for name, size in vision_graphs(spec).items()}


def _functions(
    graph: str, model: FoldedModel, options: ExportOptions
) -> list[tuple[str, tuple[Any, ...], Any]]:
    """Name, example arguments and open dimensions of each function of ``graph``."""
    hidden = model.config.decoder.hidden_size
    if graph == VISION:
        sizes = vision_functions(model.spec)
        return [(name, (torch.zeros(1, 3, side, side),), None) for name, side in sizes.items()]
    if graph == "token_embedding":
        steps = torch.export.Dim("steps", min=1, max=options.chunk)
        return [("main", (torch.zeros(1, min(2, options.chunk), dtype=torch.int64),), ({1: steps},))]
    lengths = {"prefill": options.chunk, "decode": 1}
    return [(name, (torch.zeros(1, n, hidden), torch.arange(n)), None) for name, n in lengths.items()]


def _traced(module: Graph, arguments: tuple[Any, ...], dynamic: Any, table: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own deprecated calls
        return torch.export.export(module, arguments, dynamic_shapes=dynamic).run_decompositions(table)


def _described(module: Graph) -> list[list[Any]]:
    return [[n.removesuffix(".weight"), g.bits, g.group or 0] for n, g in module.grids.items() if g]
