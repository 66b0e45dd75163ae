"""Messages between this process and one that emulates: a short description in JSON, then arrays as they are.

A message is the length of its head (4 bytes), the head with the arrays' types and shapes, and their bytes.
Everything is bounded before it is read, and nothing in it is a program. Of other packages this needs numpy
alone, because both sides run it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np

from phantom_edge.errors import InputError, NoRoomError, PhantomEdgeError

MAX_HEAD: Final = 1 << 20
"""Bytes of a message's description."""
MAX_ARRAY: Final = 1 << 33
"""Bytes of one array."""
MAX_ARRAYS: Final = 512
"""Of a message: keys and values of every layer, and a few more."""
TYPES: Final = ("<f4", "<f2", "<i8", "<i4", "|i1", "|u1")
Reply = tuple[dict[str, Any], list[np.ndarray]]
_LENGTH: Final = struct.Struct("<I")


def write(file: BinaryIO, head: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a message. Raises :class:`OSError` where nobody reads it, and :class:`ValueError` beyond a bound.

    >>> import io
    >>> pipe = io.BytesIO()
    >>> write(pipe, {"call": "embed"}, [np.array([[1, 2]])])
    >>> _ = pipe.seek(0)
    >>> read(pipe)
    ({'call': 'embed'}, [array([[1, 2]])])
    """
    described = [(array.dtype.str, array.shape) for array in arrays]
    data = json.dumps({"head": head, "arrays": described}).encode()
    if len(data) > MAX_HEAD:
        raise ValueError(f"a message's head has {len(data)} bytes")
    _sizes(described)
    file.write(_LENGTH.pack(len(data)) + data)
    for array in arrays:
        file.write(np.ascontiguousarray(array).data)
    file.flush()


def read(file: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Receive a message. Raises :class:`EOFError` where it ends early, :class:`ValueError` for no message."""
    (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
    if length > MAX_HEAD:
        raise ValueError(f"a message's head has {length} bytes")
    message = json.loads(bytes(_exactly(file, length)))
    arrays = []
    for (kind, shape), size in zip(message["arrays"], _sizes(message["arrays"]), strict=True):
        arrays.append(np.frombuffer(_exactly(file, size), kind).reshape(shape))
    return message["head"], arrays


def serve(answer: Callable[[dict[str, Any], list[np.ndarray]], Reply]) -> None:
    """Answer the messages of standard input on standard output until there are no more.

    A :class:`PhantomEdgeError` is sent back as such. What libraries print goes to standard error.
    """
    with replies() as file:
        while True:
            try:
                head, arrays = read(sys.stdin.buffer)
            except EOFError:
                return
            try:
                reply = answer(head, arrays)
            except PhantomEdgeError as error:
                reply = refusal(error), []
            write(file, *reply)


@contextmanager
def replies() -> Iterator[BinaryIO]:
    """Where this process writes its messages: its standard output, while what prints goes to its errors."""
    with os.fdopen(os.dup(1), "wb") as file:
        os.dup2(2, 1)
        yield file


def refusal(error: PhantomEdgeError) -> dict[str, Any]:
    """The head of a message that says an error."""
    kind = NoRoomError if isinstance(error, NoRoomError) else InputError
    return {"error": str(error), "kind": kind.__name__}


def _sizes(described: Sequence[tuple[str, Sequence[int]]]) -> list[int]:
    """Bytes of each array. Raises :class:`ValueError` for what no message holds."""
    if len(described) > MAX_ARRAYS or any(kind not in TYPES for kind, _ in described):
        raise ValueError("a message holds arrays of few types, and no great number of them")
    sizes = [int(kind[2:]) * prod(shape) for kind, shape in described]
    if not all(0 <= size <= MAX_ARRAY for size in sizes):
        raise ValueError("an array of a message is too large")
    return sizes


def _exactly(file: BinaryIO, count: int) -> bytearray:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError("the other side ended within a message")
        done += got
    return data
