"""A ``.pte`` file from its parts, laid out as ``serialize_pte_binary`` does, but equal bytes lie there once.

ExecuTorch keeps what kernels read and what delegates read apart, so that a tied head would be stored twice:
as the table that the embedding gathers from, and as the matrix that XNNPACK multiplies with. Both are int8
rows of the vocabulary. Segments are ranges, and two may overlap: the head's is part of the kernels'.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, Final

from executorch.exir import schema
from executorch.exir._serialize._flatbuffer_program import _program_to_flatbuffer
from executorch.exir._serialize._program import _ExtendedHeader, _insert_flatbuffer_header

from phantom_edge.export.executorch.program import ALIGNMENT as CONSTANT_ALIGNMENT
from phantom_edge.export.executorch.program import Buffers
from phantom_edge.export.executorch.xnnpack import NamedData

ALIGNMENT: Final = 128  # of segments, as in the files that ExecuTorch writes
MAGIC: Final = "ET[0-9]{2}"  # of a program's tables


def write_file(
    path: Path,
    plans: list[schema.ExecutionPlan],
    buffers: Buffers,
    payloads: list[schema.BackendDelegateInlineData],
    constants: NamedData,
) -> None:
    """Write the methods ``plans`` with the data that their kernels, delegates and delegates' graphs refer to.

    What a kernel reads begins at a multiple of 64 bytes, a delegate's own data at one of 128.
    """
    data = _Data()
    constant_segment = data.constants([buffer.storage for buffer in buffers.list])
    indices = [data.segment(payload.data) for payload in payloads]
    for delegate in (delegate for plan in plans for delegate in plan.delegates):
        index = indices[delegate.processed.index]
        delegate.processed = schema.BackendDelegateDataReference(schema.DataLocation.SEGMENT, index)
    stored = constants.store.get_named_data_store_output()
    indices = [data.segment(buffer) for buffer in stored.buffers]
    named = [schema.NamedData(key, indices[entry.buffer_index]) for key, entry in stored.pte_data.items()]
    program = schema.Program(0, plans, [], [], data.segments, constant_segment, named_data=named)
    with open(path, "wb") as file:
        file.write(tables(program, data.end))
        pad(file)
        base = file.tell()
        for start, piece in data.pieces:
            file.write(bytes(start - (file.tell() - base)))
            file.write(piece)


class _Data:
    """What lies behind the tables: ``pieces`` with their offsets, and ``segments`` that name ranges."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.segments: list[schema.DataSegment] = []
        self.end = 0
        self._places: dict[bytes, int] = {}

    def constants(self, buffers: list[bytes]) -> schema.SubsegmentOffsets:
        """One segment of all that kernels read."""
        start = self.end = aligned(self.end)
        offsets = [self._place(data, CONSTANT_ALIGNMENT) - start for data in buffers]
        self.segments.append(schema.DataSegment(start, self.end - start))
        return schema.SubsegmentOffsets(len(self.segments) - 1, offsets)

    def segment(self, data: bytes) -> int:
        """The index of a segment with this content."""
        self.segments.append(schema.DataSegment(self._place(data, ALIGNMENT), len(data)))
        return len(self.segments) - 1

    def _place(self, data: bytes, alignment: int) -> int:
        digest = hashlib.sha256(data).digest()
        if digest not in self._places:
            self._places[digest] = aligned(self.end, alignment)
            self.pieces.append((self._places[digest], data))
            self.end = self._places[digest] + len(data)
        return self._places[digest]


def tables(program: schema.Program, size: int) -> bytes:
    """The program's tables behind the header, for ``size`` bytes of segments (``serialize_pte_binary``)."""
    serialized = _program_to_flatbuffer(program)
    length = aligned(_ExtendedHeader.EXPECTED_LENGTH, serialized.max_alignment)
    total = length + len(serialized.data)
    header = _ExtendedHeader(total, aligned(total), size).to_bytes().ljust(length, b"\0")
    return bytes(_insert_flatbuffer_header(serialized.data, MAGIC, header))


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """``size`` rounded up."""
    return -(-size // alignment) * alignment


def pad(file: BinaryIO) -> int:
    """Fill up to where a segment may begin."""
    file.write(bytes(-file.tell() % ALIGNMENT))
    return file.tell()
