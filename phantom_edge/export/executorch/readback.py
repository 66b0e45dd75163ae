"""What a finished ``.pte`` holds, read from the file alone: its operations, its integers and its metadata.

Only the program's own tables are read up front; weights stay in the file until they are read.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
from executorch.exir import schema
from executorch.exir._serialize._flatbuffer import _get_flatc_path
from executorch.exir._serialize._flatbuffer_program import _flatbuffer_to_program
from executorch.exir._serialize._program import _ExtendedHeader

from phantom_edge.errors import InputError, shown
from phantom_edge.export.base import VISION, StoredWeights
from phantom_edge.export.executorch import permitted
from phantom_edge.export.executorch.delegates import check_graph
from phantom_edge.export.executorch.permitted import AGAIN
from phantom_edge.numbers.grid import QuantizedTensor, unpack_nibbles
from phantom_edge.system.partials import temporary_folder
from phantom_edge.system.reading import check_size, opened, read_json, reading

XNNPACK: Final = "XnnpackBackend"
HEAD: Final = 8 + _ExtendedHeader.EXPECTED_LENGTH  # flatbuffer offset and magic, then ExecuTorch's own header
MAX_PROGRAM_BYTES: Final = 256 << 20  # of the tables: instructions and values, not weights
FLOATS: Final = {"xnn_datatype_fp32": "float32", "xnn_datatype_fp16": "float16"}
FURTHER: Final = re.compile(rf"{VISION}_([1-9]\d{{0,6}})")
"""The name of a method for a further size of tiles."""
GATHERS: Final = {"quantized_decomposed::embedding_byte": 8, "quantized_decomposed::embedding_4bit": 4}
UPDATE: Final = "llama::update_cache"
INTEGERS: Final = {"xnn_datatype_qcint8": 8, "xnn_datatype_qbint4": 4}


@dataclass(frozen=True)
class Matmul:
    """A fully connected node: the type of its input, and its constant weight.

    ``key`` and ``scales`` name its data, ``value`` is its id in the graph, ``bits`` is 0 for floats.
    """

    input_type: str
    key: str
    value: int
    shape: tuple[int, int]
    bits: int
    group: int | None = None
    scales: str = ""


@dataclass(frozen=True)
class StoredProgram:
    """A ``.pte`` file's tables."""

    path: Path
    program: schema.Program
    base: int  # of the segments in the file
    size: int  # of the file

    @classmethod
    def open(cls, path: Path) -> StoredProgram:
        """Read a file's tables. Raises :class:`InputError` for no program, or one cut short."""
        with opened(path, mend=AGAIN) as file:
            size = check_size(path, None)
            header = _header(path, file.read(HEAD), size)
            file.seek(0)
            tables = file.read(header.program_size)
            with reading(path, AGAIN, "is not a readable ExecuTorch program"):
                permitted.check_size(tables)
                program = _flatbuffer_to_program(tables)
            stored = cls(path, program, header.segment_base_offset, size)
            permitted.check_program(path, program)
            stored._check_segments()
            return stored

    def plan(self, method: str) -> schema.ExecutionPlan:
        """The method's instructions and values. Raises :class:`InputError` for an unknown name."""
        for plan in self.program.execution_plan:
            if plan.name == method:
                return plan
        raise InputError(f"{self.path}: has no method {method}")

    def further_vision_encoders(self) -> dict[str, int]:
        """Methods for further sizes of tiles, each with its size."""
        names = [plan.name for plan in self.program.execution_plan]
        return {name: int(match[1]) for name in names if (match := FURTHER.fullmatch(name))}

    def constant(self, method: str) -> list[int | bool]:
        """What a metadata method returns."""
        plan = self.plan(method)
        with reading(self.path, AGAIN, f"its {method} is no integer or truth value"):
            values = [plan.values[slot].val for slot in plan.outputs]
            return [v.bool_val if isinstance(v, schema.Bool) else v.int_val for v in values]

    def input_shapes(self, method: str) -> list[tuple[int, ...]]:
        """The bounds of a method's arguments."""
        plan = self.plan(method)
        with reading(self.path, AGAIN, f"its {method} takes something other than tensors"):
            return [tuple(plan.values[slot].val.sizes) for slot in plan.inputs]

    def kernels(self, method: str) -> Counter[str]:
        """How often the method calls each kernel, by ``namespace::name``."""
        plan = self.plan(method)
        calls = (i.instr_args for c in plan.chains for i in c.instructions)
        return Counter(plan.operators[c.op_index].name for c in calls if isinstance(c, schema.KernelCall))

    def states(self, method: str) -> list[str]:
        """Names of the tensors that are the method's KV cache; none where one has no name of its own."""
        plan, tensors = self.plan(method), []
        for call in (i.instr_args for c in plan.chains for i in c.instructions):
            if isinstance(call, schema.KernelCall) and plan.operators[call.op_index].name == UPDATE:
                tensors.append(plan.values[call.args[1]].val)
        everyone = Counter(_name(value.val) for value in plan.values)
        names = [_name(tensor) if tensor.allocation_info else "" for tensor in tensors]
        return names if all(name and everyone[name] == 1 for name in names) else []

    def matmuls(self, method: str) -> Iterator[Matmul]:
        """The matmuls with constant weights in the method's XNNPACK delegates, in the order they run."""
        for graph in self._graphs(method):
            with self._damaged(method):
                nodes = list(matmuls(graph))
            yield from nodes

    def _graphs(self, method: str) -> Iterator[dict[str, Any]]:
        """What :func:`decode` gives for each of the method's delegates."""
        for delegate in self.plan(method).delegates:
            with self._damaged(method):
                graph = decode(self.segment(delegate.processed.index))
            yield graph

    def _damaged(self, method: str) -> AbstractContextManager[None]:
        return reading(self.path, AGAIN, f"its {method} has a damaged delegate")

    def check_delegates(self) -> None:
        """Raise :class:`InputError` for an XNNPACK graph that the runtime would trust and should not."""
        sizes = {data.key: self._size_of(data.segment_index) for data in self.program.named_data or []}
        for plan in self.program.execution_plan:
            calls = [i.instr_args for c in plan.chains for i in c.instructions]
            arguments = {c.delegate_index: len(c.args) for c in calls if isinstance(c, schema.DelegateCall)}
            for index, delegate in enumerate(plan.delegates):
                if delegate.id != XNNPACK:
                    continue
                with self._damaged(plan.name):
                    graph = decode(self.segment(delegate.processed.index))
                    check_graph(graph, arguments.get(index, 0), lambda key: sizes.get(key, 0))

    def _size_of(self, index: int) -> int:
        return self.program.segments[index].size if 0 <= index < len(self.program.segments) else 0

    def counts(self, method: str) -> dict[str, int]:
        """What an export is checked for: delegates, attention, and matmuls or gathers by weight type.

        Attention is counted by key-value heads, where a softmax is multiplied with what a cache holds. An
        integer matmul counts only if its input is quantised too: else XNNPACK drops the scales.
        """
        kernels = self.kernels(method)
        counts = Counter(delegates=len(self.plan(method).delegates))
        counts |= {f"int{bits}": kernels[kernel] for kernel, bits in GATHERS.items()}
        for graph in self._graphs(method):
            counts["attention"] += cached_attentions(graph)
            for matmul in matmuls(graph):
                grid = ("xnn_datatype_qdint8",) if matmul.bits else FLOATS
                kind = f"int{matmul.bits}" if matmul.bits else "float"
                counts[kind if matmul.input_type in grid else "wrong input"] += 1
        return {name: n for name, n in counts.items() if n}

    def named(self, key: str) -> bytes:
        """The bytes that delegates find under ``key``."""
        index = {data.key: data.segment_index for data in self.program.named_data or []}
        if key not in index:
            raise InputError(f"{self.path}: has no data named {shown(key)}")
        return self.segment(index[key])

    def segment(self, index: int) -> bytes:
        """The bytes of a segment: a delegate's payload, or named data."""
        if not 0 <= index < len(self.program.segments):
            raise InputError(f"{self.path}: has no segment {index}; {AGAIN}")
        segment = self.program.segments[index]
        return self._read(segment.offset, segment.size)

    def weights(self) -> StoredWeights:
        """Every quantised weight by module name, as the runtime finds it."""
        readers = dict(self._gathered())
        for method in ("vision_encoder", "text_decoder"):
            for matmul in self.matmuls(method):
                if matmul.bits:
                    readers[matmul.key.removesuffix(".weight")] = partial(self.quantized, matmul)
        return StoredWeights(readers)

    def quantized(self, matmul: Matmul) -> QuantizedTensor:
        """An integer matmul's weight [out, in]. Raises :class:`InputError` for data of another size."""
        rows, columns = matmul.shape
        stored = self.named(matmul.key), self.named(matmul.scales)
        packed, groups = matmul.bits == 4, columns // (matmul.group or columns or 1)
        item = 2 if packed else 4  # bytes of a scale: bfloat16 or float32
        sizes, expected = [*map(len, stored)], [rows * -(-columns * matmul.bits // 8), rows * groups * item]
        if not all(expected) or sizes != expected:
            raise InputError(f"{self.path}: {shown(matmul.key)} has {sizes} bytes, not {expected}")
        raw, scales = (torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in stored)
        values = unpack_nibbles(raw.view(rows, -1), columns, offset=8) if packed else raw.view(torch.int8)
        scales = scales.view(torch.bfloat16 if packed else torch.float32).float()
        return QuantizedTensor(values.view(rows, columns), scales.view(rows, -1), matmul.bits, matmul.group)

    def _gathered(self) -> Iterator[tuple[str, Callable[[], QuantizedTensor]]]:
        plan = self.plan("token_embedding")
        calls = (i.instr_args for c in plan.chains for i in c.instructions)
        for call in (c for c in calls if isinstance(c, schema.KernelCall)):
            bits = GATHERS.get(plan.operators[call.op_index].name)
            if bits:
                yield "token_embedding", partial(self._table, plan, call.args[:2], bits)

    def _table(self, plan: schema.ExecutionPlan, slots: list[int], bits: int) -> QuantizedTensor:
        with reading(self.path, AGAIN, "its token_embedding has no table of integers"):
            values, scales = (plan.values[slot].val for slot in slots)
            return self._unpacked(values, scales, bits)

    def _unpacked(self, values: schema.Tensor, scales: schema.Tensor, bits: int) -> QuantizedTensor:
        table, scales = self.buffer(values, torch.int8), self.buffer(scales, torch.float32)
        if bits == 4:
            table = unpack_nibbles(table.view(torch.uint8), 2 * table.shape[1], high_first=True, offset=8)
        scales = scales.view(len(table), -1)
        group = table.shape[1] // scales.shape[1]
        return QuantizedTensor(table, scales, bits, group if bits == 4 else None)

    def buffer(self, tensor: schema.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A constant that kernels read."""
        where = self.program.constant_segment
        start = self.program.segments[where.segment_index].offset + where.offsets[tensor.data_buffer_idx]
        size = math.prod(tensor.sizes) * dtype.itemsize
        if not 0 < size <= self.size:
            raise ValueError(f"a table of {size} bytes")
        raw = self._read(start, size)
        return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(tensor.sizes)

    def _read(self, offset: int, count: int) -> bytes:
        with opened(self.path, mend=AGAIN) as file:
            file.seek(self.base + offset)
            return file.read(count)

    def _check_segments(self) -> None:
        """XNNPACK reads what a delegate or a name refers to without asking how long it is."""
        segments = self.program.segments
        if any(s.offset < 0 or s.size < 0 for s in segments):
            raise InputError(f"{self.path}: a segment lies before the file; {AGAIN}")
        end = max((self.base + s.offset + s.size for s in segments), default=0)
        if end > self.size:
            raise InputError(f"{self.path}: ends at byte {self.size} of {end}; it is incomplete")
        for data in self.program.named_data or []:
            if not 0 <= data.segment_index < len(segments) or not segments[data.segment_index].size:
                raise InputError(f"{self.path}: {shown(data.key)} has no data; {AGAIN}")
        for plan in self.program.execution_plan:
            for delegate in plan.delegates:
                index = delegate.processed.index
                inside = 0 <= index < len(segments) and segments[index].size > 0
                if delegate.processed.location != schema.DataLocation.SEGMENT or not inside:
                    raise InputError(f"{self.path}: {plan.name} has a delegate without a payload")


def _name(value: Any) -> str:
    """The name of a tensor, by which the runtime gives access to it; empty for everything else."""
    info = value.extra_tensor_info if isinstance(value, schema.Tensor) else None
    return (info.fully_qualified_name or "") if info else ""


def _header(path: Path, head: bytes, size: int) -> _ExtendedHeader:
    if len(head) < HEAD or head[4:6] != b"ET":
        raise InputError(f"{path}: not an ExecuTorch program")
    header = _ExtendedHeader.from_bytes(head[8:])
    end = header.segment_base_offset + header.segment_data_size
    if not header.is_valid() or not HEAD < header.program_size <= MAX_PROGRAM_BYTES:
        raise InputError(f"{path}: not an ExecuTorch program with its data in segments")
    if max(header.program_size, end) > size:
        raise InputError(f"{path}: ends at byte {size} of {max(header.program_size, end)}; it is incomplete")
    return header


def decode(payload: bytes) -> dict[str, Any]:
    """A delegate's payload as ExecuTorch's own ``flatc`` and schema read it."""
    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    graph = payload[header.flatbuffer_offset : header.flatbuffer_offset + header.flatbuffer_size]
    text = resources.files("executorch.backends.xnnpack.serialization").joinpath("schema.fbs").read_bytes()
    with temporary_folder() as folder:
        definition, binary = folder / "schema.fbs", folder / "graph.bin"
        definition.write_bytes(text)
        binary.write_bytes(graph)
        words = ["--json", "--defaults-json", "--strict-json", "-o", *map(str, (folder, definition)), "--"]
        # Its own words would be more than the one line of an error.
        subprocess.run([_get_flatc_path(), *words, str(binary)], check=True, capture_output=True)
        return read_json(binary.with_suffix(".json"), MAX_PROGRAM_BYTES)


def cached_attentions(graph: dict[str, Any]) -> int:
    """Products of a softmax with what comes from outside the graph that :func:`decode` returns."""
    fields = [(node["xnode_union_type"], node["xnode_union"]) for node in graph["xnodes"]]
    weights = {node["output_id"] for kind, node in fields if kind == "XNNSoftmax"}
    products = (node for kind, node in fields if kind == "XNNBatchMatrixMultiply")
    outside = set(graph["input_ids"])
    return sum(node["input1_id"] in weights and node["input2_id"] in outside for node in products)


def matmuls(graph: dict[str, Any]) -> Iterator[Matmul]:
    """The matmuls with constant weights in what :func:`decode` returns, in the order they run."""
    values = [v["xvalue_union"] for v in graph["xvalues"]]
    tensors = {t["id_out"]: (t, v) for v in values for t in [v.get("tensor_value", v)]}
    for node in graph["xnodes"]:
        if node["xnode_union_type"] != "XNNFullyConnected":
            continue
        (x, _), (weight, value) = (tensors[node["xnode_union"][name]] for name in ("input1_id", "filter_id"))
        key = graph["constant_data"][weight["constant_buffer_idx"]]["named_key"]
        bits, params = INTEGERS.get(weight["datatype"], 0), value.get("quant_params", {})
        scales = graph["constant_data"][params["scale_buffer_idx"]]["named_key"] if bits else ""
        shape, group = tuple(weight["dims"]), params.get("group_size")
        yield Matmul(x["datatype"], key, weight["id_out"], shape, bits, group, scales)
