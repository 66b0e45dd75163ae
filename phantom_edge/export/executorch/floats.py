"""The float constants that a ``.pte`` holds, as its delegates and kernels refer to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import torch
from executorch.exir import schema
from executorch.exir.scalar_type import ScalarType

from phantom_edge.export.base import GRAPHS
from phantom_edge.export.executorch import is_stored
from phantom_edge.export.executorch.permitted import AGAIN
from phantom_edge.export.executorch.readback import FLOATS, StoredProgram, decode
from phantom_edge.model.weights import LazyWeights, Maker
from phantom_edge.system.reading import reading

DELEGATED: Final = ("vision_encoder", "text_decoder")
PATCHES: Final = "vision_encoder.patch_embedding.weight"
CHANNELS: Final = 3
TABLES: Final = {ScalarType.FLOAT: torch.float32, ScalarType.HALF: torch.float16}
ROPE: Final = ("rope.cos", "rope.sin")
Makers = Iterator[tuple[str, Maker[torch.Tensor]]]


def program_floats(stored: StoredProgram, delegated: Iterable[str] = DELEGATED) -> LazyWeights[torch.Tensor]:
    """Constants of the XNNPACK graphs in the methods ``delegated``, and of the kernels.

    Raises :class:`InputError` for damage, for a constant's when it is read.
    """
    with reading(stored.path, AGAIN):
        makers = dict(_of_kernels(stored))
        for method in delegated:
            for delegate in stored.plan(method).delegates:
                makers |= dict(_of_graph(stored, decode(stored.segment(delegate.processed.index))))
        return LazyWeights(makers)


def _of_graph(stored: StoredProgram, graph: dict[str, Any]) -> Makers:
    """What :func:`decode` gives: every float constant under its key."""
    for value in graph["xvalues"]:
        tensor = value["xvalue_union"]
        if tensor.get("datatype") in FLOATS and tensor.get("constant_buffer_idx"):
            key = graph["constant_data"][tensor["constant_buffer_idx"]]["named_key"]
            # Others are the exporter's own: a row of 1/C, an epsilon.
            if key.split(".")[0] in GRAPHS and is_stored(key):
                shape = tuple(tensor["dims"])
                if key == PATCHES:  # [C, 3 * P * P], the order of the model's [C, 3, P, P]
                    side = math.isqrt(shape[1] // CHANNELS)
                    shape = (shape[0], CHANNELS, side, side)
                dtype = getattr(torch, FLOATS[tensor["datatype"]])
                yield key, Maker(shape, partial(_named, stored, key, shape, dtype))


def _of_kernels(stored: StoredProgram) -> Makers:
    """A float table of embeddings, and RoPE's tables [context, 1, D / 2], of which a call's rows are cut."""
    for tensor in _first_constants(stored, "token_embedding", "aten::embedding"):
        yield "token_embedding.weight", Maker(tuple(tensor.sizes), partial(_table, stored, tensor))
    tables = _first_constants(stored, "text_decoder", "aten::slice_copy")
    for name, tensor in zip(ROPE, tables, strict=True):
        shape = (tensor.sizes[0], tensor.sizes[-1])
        yield name, Maker(shape, partial(_table, stored, tensor, shape))


def _first_constants(stored: StoredProgram, method: str, kernel: str) -> list[schema.Tensor]:
    """The first argument of every call of ``kernel`` where that is a constant, in the order of the calls."""
    plan = stored.plan(method)
    calls = (i.instr_args for chain in plan.chains for i in chain.instructions)
    kernels = (call for call in calls if isinstance(call, schema.KernelCall))
    firsts = (plan.values[k.args[0]].val for k in kernels if plan.operators[k.op_index].name == kernel)
    return [first for first in firsts if isinstance(first, schema.Tensor) and first.data_buffer_idx]


def _table(
    stored: StoredProgram, tensor: schema.Tensor, shape: tuple[int, ...] | None = None
) -> torch.Tensor:
    with reading(stored.path, AGAIN):
        return stored.buffer(tensor, TABLES[tensor.scalar_type]).reshape(shape or tensor.sizes)


def _named(stored: StoredProgram, key: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    with reading(stored.path, AGAIN):
        return torch.frombuffer(bytearray(stored.named(key)), dtype=dtype).reshape(shape)
