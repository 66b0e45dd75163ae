"""Our own reader of Core ML's ``weight.bin`` (MIL blob storage, version 2).

Layout, little endian: a 64-byte header (u32 number of blobs, u32 version), then for each blob a 64-byte
record (u32 sentinel 0xDEADBEEF, u32 type, u64 bytes, u64 offset of the data, u64 padding bits) and its data.
Records and data begin at multiples of 64 bytes, so that the last blob may end the file anywhere. Elements of
less than a byte form one stream of bits, least significant first; the padding counts the bits left over.
Checked against the writer in coremltools 9 (``libmilstoragepython``).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.mil.types import DType, count_elements
from phantom_edge.system.reading import check_size, reading

HEADER = struct.Struct("<II")
RECORD = struct.Struct("<IIQQQ")
ALIGNMENT = 64
SENTINEL = 0xDEADBEEF
VERSION = 2


@dataclass(frozen=True)
class BlobRecord:
    """Where one blob's data lies: type code, size in bytes, offset in the file, unused bits at its end."""

    type_code: int
    size: int
    offset: int
    padding_bits: int


class BlobFile:
    """A memory-mapped blob file, checked before it is trusted. Raises :class:`InputError` for another."""

    def __init__(self, path: Path):
        self.path = path
        with reading(path, "copy the package again"):
            size = check_size(path, None)
            if size < ALIGNMENT:
                raise InputError(f"{path}: {size} bytes is too short for a weight file; export it again")
            # Copy-on-write: torch wants writable memory, and the file must never change.
            self._bytes = np.memmap(path, dtype=np.uint8, mode="c")
        self.count, version = HEADER.unpack_from(self._bytes.data, 0)
        if version != VERSION:
            raise InputError(f"{path}: weight file version {version}, not {VERSION}; use coremltools 9")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._bytes)

    def record(self, offset: int) -> BlobRecord:
        """The record at `offset`, its sentinel and bounds checked."""
        if offset % ALIGNMENT or not ALIGNMENT <= offset <= len(self._bytes) - ALIGNMENT:
            raise self._damaged(f"no blob can start at byte {offset} of {len(self._bytes)}")
        sentinel, code, size, start, padding = RECORD.unpack_from(self._bytes.data, offset)
        if sentinel != SENTINEL:
            raise self._damaged(f"no blob record at byte {offset}")
        total = len(self._bytes)
        if start % ALIGNMENT or start < offset + ALIGNMENT or start > total or size > total - start:
            raise self._damaged(f"the blob at byte {offset} claims bytes {start}..{start + size} of {total}")
        return BlobRecord(code, size, start, padding)

    def check(self, offset: int, dtype: DType, shape: tuple[int, ...]) -> BlobRecord:
        """The record at `offset`, if it holds exactly a tensor of `dtype` and `shape`."""
        record, where = self.record(offset), f"the blob at byte {offset}"
        if record.type_code != dtype.blob_code:
            raise self._damaged(f"{where} has type code {record.type_code}, not {dtype.name}")
        bits = count_elements(shape, f"{self.path}: {where}") * dtype.bits
        padding = record.padding_bits if dtype.bits < 8 else 0
        if padding >= 8 or record.size * 8 - padding != bits:
            raise self._damaged(f"{where} has {record.size} bytes, not {dtype.name} {list(shape)}")
        return record

    def read(self, offset: int, dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
        """The tensor at `offset`: a view of the mapped file, or a byte for each smaller element."""
        record = self.check(offset, dtype, shape)
        return self._tensor(record.offset, record.size, dtype, shape)

    def read_rows(
        self, offset: int, dtype: DType, shape: tuple[int, ...], start: int, end: int
    ) -> NDArray[Any]:
        """`read`'s ``[start:end]``, of a tensor with at least one dimension, without reading the rest."""
        size, odd = divmod(math.prod(shape[1:]) * dtype.bits, 8)  # bytes of a row
        if odd:
            return self.read(offset, dtype, shape)[start:end]
        record = self.check(offset, dtype, shape)
        rows = end - start
        return self._tensor(record.offset + start * size, rows * size, dtype, (rows, *shape[1:]))

    def _tensor(self, start: int, size: int, dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
        data = np.asarray(self._bytes[start : start + size])
        if dtype.bits < 8:
            return unpack_nibbles(data, dtype, shape)
        return data.view(dtype.numpy).reshape(shape)

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}; the file is damaged, export or copy it again")


def unpack_nibbles(data: NDArray[np.uint8], dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
    """Elements of four bits out of a stream of bytes, low half first; one byte each, of `shape`."""
    pairs = data.astype("<u2")  # the second nibble of a byte becomes the low one of the byte that follows
    nibbles = ((pairs | pairs << 4) & 0x0F0F).view(np.uint8)
    values = nibbles[: math.prod(shape)].reshape(shape)
    if dtype.is_signed:  # two's complement of four bits
        return np.asarray((values ^ 8).view(np.int8) - np.int8(8))
    return np.asarray(values)
