"""A ``.pte`` with its integer matmuls lifted to fp32: the same weights, activations not rounded.

XNNPACK rounds the input of every integer matmul to int8 per token. That turns differences of one part in a
million into whole steps, and a wrong graph could hide among them. In a lifted copy each such matmul reads the
fp32 values before the rounding, and the fp32 weights that its stored integers and scales stand for;
everything else is as in the file.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import XNNGraph
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import serialize_xnnpack_binary
from executorch.backends.xnnpack.utils.xnnpack_constants import UINT64_MAX
from executorch.exir import schema
from executorch.exir._serialize._dataclass import _json_to_dataclass

from phantom_edge.errors import InputError, NoRoomError
from phantom_edge.export.executorch.file import aligned, pad, tables
from phantom_edge.export.executorch.readback import Matmul, StoredProgram, decode, matmuls
from phantom_edge.system.partials import temporary_folder
from phantom_edge.system.resident import available


@contextlib.contextmanager
def lifted(path: Path) -> Iterator[Path]:
    """The lifted copy of the program ``path``, in a temporary folder that is gone after the block.

    A program that the runtime has loaded by then stays whole: it holds the file open. A program without
    integer matmuls is its own copy. Beside the file's own size, the copy takes four bytes a weight on disk
    and, once it is loaded, four bytes a weight in XNNPACK's layout; while it is written, one matrix at a time
    is in memory.

    Raises:
        InputError: a damaged program, or one whose delegates are not as this toolkit writes them.
        NoRoomError: the weights do not fit into memory or into the temporary folder.
    """
    program = _Lifted(StoredProgram.open(path))
    if not program.weights:
        yield path
        return
    with temporary_folder() as folder:
        program.write(Path(folder, path.name))
        yield Path(folder, path.name)


class _Lifted:
    """The tables of ``stored`` with lifted delegates. What those hold is appended to the stored segments."""

    def __init__(self, stored: StoredProgram):
        self.stored, self.program = stored, copy.deepcopy(stored.program)
        self.weights: dict[str, Matmul] = {}
        self._payloads: list[bytes] = []
        self._end = stored.size - stored.base  # of the segments so far
        for plan in self.program.execution_plan:
            for delegate in plan.delegates:
                self._lift(delegate)
        for name, matmul in self.weights.items():
            self.program.named_data.append(schema.NamedData(name, self._segment(_nbytes(matmul))))

    def write(self, path: Path) -> None:
        """Write the copy to ``path``. Raises :class:`NoRoomError`."""
        _require_room(self.stored, sum(map(_nbytes, self.weights.values())), path.parent)
        try:
            with open(path, "wb") as out, open(self.stored.path, "rb") as file:
                out.write(tables(self.program, self._end))
                pad(out)
                file.seek(self.stored.base)
                shutil.copyfileobj(file, out)
                for data in self._appended():
                    pad(out)
                    out.write(data)
        except OSError as error:
            raise NoRoomError(f"{self.stored.path}: its lifted copy cannot be written ({error})") from None

    def _lift(self, delegate: schema.BackendDelegate) -> None:
        payload = self.stored.segment(delegate.processed.index)
        try:
            graph = decode(payload)
            if not any(matmul.bits for matmul in matmuls(graph)):
                return
            if encode(graph) != payload:
                raise ValueError(
                    "what flatc reads is not all that is there: it prints floats with six decimals"
                )
            self.weights |= {_name(matmul): matmul for matmul in lift_graph(graph)}
            self._payloads.append(encode(graph))
        except (KeyError, IndexError, TypeError, ValueError, subprocess.CalledProcessError) as error:
            raise InputError(
                f"{self.stored.path}: a delegate is not as this toolkit writes it ({error})"
            ) from None
        delegate.processed.index = self._segment(len(self._payloads[-1]))

    def _segment(self, size: int) -> int:
        start = aligned(self._end)
        self.program.segments.append(schema.DataSegment(start, size))
        self._end = start + size
        return len(self.program.segments) - 1

    def _appended(self) -> Iterator[bytes | memoryview]:
        yield from self._payloads
        for matmul in self.weights.values():
            yield self.stored.quantized(matmul).dequantize().numpy().data


def encode(graph: dict[str, Any]) -> bytes:
    """The payload of a delegate without constants of its own: undoes :func:`decode`."""
    return bytes(serialize_xnnpack_binary(_json_to_dataclass(graph, XNNGraph), bytearray()))


def lift_graph(graph: dict[str, Any]) -> list[Matmul]:
    """Lift every integer matmul of ``graph`` (see :func:`decode`), in place, and return them.

    Raises :class:`ValueError` where one reads something other than the int8 of an XNNConvert, or something
    else reads that: XNNPACK gives such a matmul another meaning, which lifting it would hide.
    """
    integers = {matmul.value: matmul for matmul in matmuls(graph) if matmul.bits}
    tensors = [v["xvalue_union"].get("tensor_value", v["xvalue_union"]) for v in graph["xvalues"]]
    rounded = {tensor["id_out"] for tensor in tensors if tensor["datatype"] == "xnn_datatype_qdint8"}
    graph["xnodes"] = list(_unrounded(graph["xnodes"], set(integers), rounded))
    values = []
    for value, tensor in zip(graph["xvalues"], tensors, strict=True):
        if tensor["id_out"] in integers:
            values.append(_float_weight(graph, tensor, integers[tensor["id_out"]]))
        elif tensor["id_out"] not in rounded:
            values.append(value)
    graph["xvalues"] = values
    return list(integers.values())


def _unrounded(nodes: list[dict[str, Any]], weights: set[int], rounded: set[int]) -> Iterator[dict[str, Any]]:
    """The nodes without conversions to ``rounded``; matmuls with ``weights`` read what was converted."""
    before: dict[int, int] = {}
    for node in nodes:
        kind, fields = node["xnode_union_type"], node["xnode_union"]
        if kind == "XNNConvert" and fields["output_id"] in rounded:
            before[fields["output_id"]] = fields["input_id"]
            continue
        if kind == "XNNFullyConnected" and fields["filter_id"] in weights:
            if fields["input1_id"] not in before:
                raise ValueError("an integer matmul reads values that are not rounded to int8")
            fields["input1_id"] = before[fields["input1_id"]]
        if rounded & {fields[name] for name in fields if name.endswith("_id")}:
            raise ValueError(f"{kind} reads values that are rounded to int8")
        yield node


def _float_weight(graph: dict[str, Any], tensor: dict[str, Any], matmul: Matmul) -> dict[str, Any]:
    """``tensor`` as fp32 data of their own; what shares the integers' data is left as it is."""
    graph["constant_data"].append({"offset": UINT64_MAX, "size": _nbytes(matmul), "named_key": _name(matmul)})
    data = {"datatype": "xnn_datatype_fp32", "constant_buffer_idx": len(graph["constant_data"]) - 1}
    return {"xvalue_union_type": "XNNTensorValue", "xvalue_union": tensor | data}


def _name(matmul: Matmul) -> str:
    return f"{matmul.key} * {matmul.scales}"


def _nbytes(matmul: Matmul) -> int:
    rows, columns = matmul.shape
    return 4 * rows * columns


LOADED: Final = 1.5
"""Memory over the fp32 weights' bytes while XNNPACK packs them: measured 1.25 at 8 GB, above 1.4 at 16."""


def _require_room(stored: StoredProgram, weights: int, folder: Path) -> None:
    """Raise :class:`NoRoomError` unless the copy fits into ``folder`` and its weights into memory."""
    copied, disk, memory = stored.size + weights, shutil.disk_usage(folder).free, available()
    if copied > disk:
        raise NoRoomError(
            f"{stored.path}: its lifted copy takes {copied >> 20} MiB and {folder.parent} has {disk >> 20} "
            "free; "
            "set TMPDIR to a folder with more room"
        )
    loaded = int(weights * LOADED)
    if memory is not None and loaded > memory:
        raise NoRoomError(
            f"{stored.path}: its weights take {loaded >> 20} MiB in fp32 and {memory >> 20} MiB of memory "
            "are free"
        )
