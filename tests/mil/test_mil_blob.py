"""The reader of weight.bin against coremltools' own writer, and against files that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageWriter

from phantom_edge.errors import InputError
from phantom_edge.mil.blob import BlobFile
from phantom_edge.mil.types import BY_NAME

RANDOM = np.random.default_rng(3)
COUNT = 21  # not a whole number of bytes for any sub-byte type
WRITTEN = {  # type -> (the writer's method, values)
    "fp32": ("write_float_data", RANDOM.normal(size=COUNT).astype(np.float32)),
    "fp16": ("write_fp16_data", RANDOM.normal(size=COUNT).astype(np.float16)),
    "int8": ("write_int8_data", RANDOM.integers(-128, 128, COUNT).astype(np.int8)),
    "uint8": ("write_uint8_data", RANDOM.integers(0, 256, COUNT).astype(np.uint8)),
    "int16": ("write_int16_data", RANDOM.integers(-(2**15), 2**15, COUNT).astype(np.int16)),
    "uint16": ("write_uint16_data", RANDOM.integers(0, 2**16, COUNT).astype(np.uint16)),
    "int32": ("write_int32_data", RANDOM.integers(-(2**31), 2**31, COUNT).astype(np.int32)),
    "uint32": ("write_uint32_data", RANDOM.integers(0, 2**32, COUNT).astype(np.uint32)),
    "int4": ("write_int4_data", RANDOM.integers(-8, 8, COUNT).astype(np.int8)),
    "uint4": ("write_uint4_data", RANDOM.integers(0, 16, COUNT).astype(np.uint8)),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    path = tmp_path_factory.mktemp("blob") / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    offsets = {
        name: getattr(writer, method)(values.view(np.uint16) if name == "fp16" else values)
        for name, (method, values) in WRITTEN.items()
    }
    del writer  # it writes the header when it goes
    return path, offsets


@pytest.mark.parametrize("name", WRITTEN)
def test_reads_what_coremltools_writes(written, name):
    path, offsets = written
    values = WRITTEN[name][1]
    got = BlobFile(path).read(offsets[name], BY_NAME[name], (7, 3))
    assert got.dtype == values.dtype
    assert np.array_equal(got, values.reshape(7, 3))


@pytest.mark.parametrize("rows", [(0, 7), (2, 5), (6, 7), (3, 3)])
@pytest.mark.parametrize("name", WRITTEN)
def test_reads_some_rows(written, name, rows):
    """Of 3 and of 1 element: most sub-byte types have rows that begin within a byte."""
    path, offsets = written
    for shape in ((7, 3), (COUNT, 1)):
        got = BlobFile(path).read_rows(offsets[name], BY_NAME[name], shape, *rows)
        want = WRITTEN[name][1].reshape(shape)[slice(*rows)]
        assert got.dtype == want.dtype
        assert np.array_equal(got, want)


def test_reads_rows_of_whole_bytes(tmp_path):
    values = RANDOM.integers(-8, 8, (6, 4)).astype(np.int8)
    writer = _BlobStorageWriter(str(tmp_path / "weight.bin"))
    offset = writer.write_int4_data(values.reshape(-1))
    del writer
    got = BlobFile(tmp_path / "weight.bin").read_rows(offset, BY_NAME["int4"], (6, 4), 2, 5)
    assert np.array_equal(got, values[2:5])


def test_counts_the_blobs(written):
    assert BlobFile(written[0]).count == len(WRITTEN)


def _file(
    path: Path,
    data: bytes,
    *,
    version: int = 2,
    sentinel: int = 0xDEADBEEF,
    code: int = 8,
    size: int | None = None,
    start: int = 128,
    padding: int = 4,
) -> Path:
    """A blob file written out by hand: header, one record, `data`."""
    header = struct.pack("<II", 1, version).ljust(64, b"\0")
    record = struct.pack("<IIQQQ", sentinel, code, len(data) if size is None else size, start, padding).ljust(
        64, b"\0"
    )
    path.write_bytes(header + record + data)
    return path


def test_int4_is_two_to_a_byte_low_half_first(tmp_path):
    blob = BlobFile(_file(tmp_path / "w.bin", bytes([0x78, 0x3F, 0x02])))
    assert blob.read(64, BY_NAME["int4"], (5,)).tolist() == [-8, 7, -1, 3, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentinel": 0xDEADBEE0}, "no blob record at byte 64"),
        ({"version": 1}, "version 1"),
        ({"code": 4}, "type code 4, not int4"),
        ({"size": 2**63}, "claims bytes"),
        ({"start": 2**63}, "claims bytes"),
        ({"start": 64}, "claims bytes"),
        ({"start": 130}, "claims bytes"),
        ({"padding": 2**40}, "has 3 bytes, not int4"),
        ({"padding": 0}, "has 3 bytes, not int4"),
    ],
)
def test_refuses_a_record_that_lies(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        BlobFile(_file(tmp_path / "w.bin", bytes(3), **change)).read(64, BY_NAME["int4"], (5,))


@pytest.mark.parametrize("offset", [0, 65, 128, 192, 2**63])
def test_refuses_an_offset_where_no_record_is(tmp_path, offset):
    blob = BlobFile(_file(tmp_path / "w.bin", bytes(3)))
    with pytest.raises(InputError, match="no blob"):
        blob.read(offset, BY_NAME["int4"], (5,))


def test_refuses_a_short_or_missing_file(tmp_path):
    (tmp_path / "short.bin").write_bytes(bytes(63))
    with pytest.raises(InputError, match="too short"):
        BlobFile(tmp_path / "short.bin")
    with pytest.raises(InputError, match="not found"):
        BlobFile(tmp_path / "missing.bin")
