"""The three graphs of a folded model in one ExecuTorch program."""

from __future__ import annotations

from pathlib import Path

import torch
from executorch.exir import schema
from executorch.exir._serialize._program import PTEFile, serialize_pte_binary

from phantom_edge.export.base import GRAPHS, Exported, ExportOptions, Progress
from phantom_edge.export.executorch.ops import XnnOps, dynamic
from phantom_edge.export.executorch.program import Buffers, Method, constant_method
from phantom_edge.export.executorch.xnnpack import Constants
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel

FILE = "model.pte"


def write_program(model: FoldedModel, options: ExportOptions, out: Path, progress: Progress) -> Exported:
    constants, buffers, payloads, plans = Constants(), Buffers(), [], []
    write = {"vision_encoder": _vision_encoder, "token_embedding": _token_embedding, "text_decoder": _text_decoder}
    for name in GRAPHS:
        progress(f"writing {name}")
        method = Method(name, constants, buffers)
        output = write[name](method, model, options)
        plans.append(method.finish(output, payloads))
    plans += [constant_method(name, value) for name, value in metadata(options).items()]
    program = schema.Program(0, plans, buffers.list, payloads, [], schema.SubsegmentOffsets(0, []))
    progress("packing model.pte")
    data = serialize_pte_binary(
        PTEFile(program, named_data=constants.store.get_named_data_store_output()), extract_delegate_segments=True
    )
    with open(out / FILE, "wb") as file:
        data.write_to_file(file)
    return Exported(dict.fromkeys(GRAPHS, Path(FILE)), {})


def metadata(options: ExportOptions) -> dict[str, bool | int | list[int]]:
    """What ExecuTorch's runners ask a program for, by method name."""
    return {
        "get_max_seq_len": options.chunk,
        "get_max_context_len": options.context,
        "get_eos_ids": list(options.end_ids),
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }


def _vision_encoder(method: Method, model: FoldedModel, options: ExportOptions):
    side = model.config.tile_size
    ops = XnnOps(method, model.spec, model.weights)
    pixels = method.input((1, 3, side, side), torch.float32)
    output = graphs.vision_encoder(ops, model.spec, pixels)
    ops.finish(output)
    return output


def _token_embedding(method: Method, model: FoldedModel, options: ExportOptions):
    ids = method.input(dynamic((1, options.chunk), 1), torch.int64)
    return graphs.token_embedding(XnnOps(method, model.spec, model.weights), ids)


def _text_decoder(method: Method, model: FoldedModel, options: ExportOptions):
    hidden = model.config.decoder.hidden_size
    embeds = method.input(dynamic((1, options.chunk, hidden), 1), torch.float32)
    positions = method.input(dynamic((options.chunk,), 0), torch.int64)
    ops = XnnOps(method, model.spec, model.weights, options.context)
    ops.begin_decoder(embeds, positions)
    output = graphs.text_decoder(ops, model.spec, embeds)
    ops.finish(output)
    return output
