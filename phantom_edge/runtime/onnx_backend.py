"""ONNX Runtime under a session: three models of a bundle, checked before they run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.bundle.backend import name_in_mode
from phantom_edge.errors import InputError
from phantom_edge.export.onnx_layout import find, further_vision_encoders
from phantom_edge.export.onnx_model import load_model, read_model
from phantom_edge.runtime.onnx_attention import suits_untiled
from phantom_edge.runtime.onnx_graphs import DECODER, GRAPHS, VISION, OnnxGraphs, Source
from phantom_edge.runtime.onnx_int8 import EXACT_INT8, saturates

if TYPE_CHECKING:
    from google.protobuf.message import Message


class OnnxBackend(OnnxGraphs):
    """The artifact below a bundle's ``folder``, as a :class:`~phantom_edge.bundle.backend.Backend`.

    ``context`` may be less than what the decoder was exported for. ``threads`` is ORT's for one operation;
    None lets it choose. ``mode`` chooses what runs: ``stock`` the files as they are, ``lifted`` the same
    weights with activations that are not rounded to integers. ``tile_size`` is the size whose vision encoder
    is loaded at once, where the bundle has several; others follow with their first tile. Without ``vision``
    the first picture loads its encoder. ``graphs`` are those that run here, where others run elsewhere.

    Raises:
        InputError: a file is missing, is no such model, refers to data elsewhere, or was exported for less
            context.
    """

    def __init__(
        self,
        folder: Path,
        *,
        context: int,
        chunk: int,
        threads: int | None = None,
        mode: str = "stock",
        tile_size: int | None = None,
        vision: bool = True,
        graphs: Sequence[str] = tuple(GRAPHS),
    ):
        self.name = name_in_mode("onnxruntime", mode)
        sources = sources_of(folder, context, chunk, mode, graphs)
        entries = {EXACT_INT8: "1"} if saturates() else {}
        super().__init__(
            Path(folder),
            sources,
            context=context,
            chunk=chunk,
            threads=threads,
            tile_size=tile_size,
            vision=vision,
            entries=entries,
        )


def sources_of(
    folder: Path, context: int, chunk: int, mode: str, graphs: Sequence[str] = tuple(GRAPHS)
) -> dict[str, Source]:
    """The models of ``graphs`` below ``folder``, checked, as ``mode`` runs them.

    With the vision encoder come those for further sizes of tiles. Raises as :class:`OnnxBackend`.
    """
    paths = {name: find(Path(folder), name) for name in graphs}
    if VISION in paths:
        further = further_vision_encoders(Path(folder))
        paths |= {f"{VISION}_{size}": path for size, path in further.items()}
    models = {name: read_model(path) for name, path in paths.items()}
    if DECODER in paths:
        limit = _positions(paths[DECODER], models[DECODER])
        if context > limit:
            raise InputError(f"{folder}: exported for {limit} tokens; export again with --context {context}")
    untiled = {name for name in models if name == DECODER and suits_untiled(models[name], context, chunk)}
    changed = {} if mode == "stock" else {name: _lifted(path) for name, path in paths.items()}
    return {name: Source(path, changed.get(name), name in untiled) for name, path in paths.items()}


def _lifted(path: Path) -> bytes:
    from phantom_edge.runtime.onnx_lift import lift  # verify's: it needs `onnx`

    return bytes(lift(load_model(path)).SerializeToString())


def _positions(path: Path, decoder: Message) -> int:
    """Positions that the decoder's RoPE tables hold. Raises :class:`InputError` for a decoder without any."""
    dims = {tensor.name: tensor.dims for tensor in decoder.graph.initializer}
    casts = [node for node in decoder.graph.node if node.op_type == "Cast"]
    dims |= {node.output[0]: dims[node.input[0]] for node in casts if node.input[0] in dims}
    rotary = [node for node in decoder.graph.node if node.op_type == "RotaryEmbedding"]
    tables: list[Sequence[int]] = [dims.get(name, ()) for node in rotary for name in node.input[2:]]
    if not tables or any(len(table) != 2 for table in tables):
        raise InputError(
            f"{path.name}: no rotary embedding over stored tables; not a decoder of this toolkit"
        )
    return min(table[0] for table in tables)
