"""The way in for files from outside: bounded before they are read, and every failure is one line.

Whoever reads a file that a user or a download brought does it through here, or inside :func:`reading`. Then
size, depth and numbers have bounds before any work, and whatever a library raises on damage ends as an
:class:`InputError` that names the file.
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import re
import stat
import struct
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NoReturn

from phantom_edge.errors import InputError, NoRoomError, PhantomEdgeError, first_line, shown
from phantom_edge.system.packages import missing, needed

MAX_JSON_BYTES: Final = 8 << 20
MAX_TOML_BYTES: Final = 1 << 20
MAX_LINE_BYTES: Final = 1 << 20
MAX_LINES: Final = 5_000_000
MAX_HEADER_BYTES: Final = 64 << 20
"""Of a safetensors file's description of its tensors: a million of them."""
MAX_DEPTH: Final = 64
"""Of lists and objects in each other; what people and tools write has less than ten."""
MAX_DIGITS: Final = 40
"""Of an integer: tokenizers' files hold one of 31 digits for "no limit"."""
MAX_NUMBER: Final = 400
"""Characters of any other number."""
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@contextmanager
def reading(path: object, mend: str = "", what: str = "") -> Iterator[None]:
    """Whatever goes wrong in the block is the fault of what is read: an :class:`InputError` about ``path``.

    ``mend`` says what to do about it, ``what`` in other words than the library's what is wrong. The toolkit's
    own errors pass as they are.

    >>> with reading("weights.bin", "download it again"):
    ...     struct.unpack("<Q", b"short")
    Traceback (most recent call last):
    phantom_edge.errors.InputError: weights.bin: unpack requires a buffer of 8 bytes; download it again
    """
    try:
        yield
    except PhantomEdgeError:
        raise
    except BaseException as error:
        # A panic of a Rust library is no Exception, and its class cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if lacking := missing(error):
            raise lacking from error
        kind = NoRoomError if isinstance(error, MemoryError) else InputError
        fault = f"{what} ({reason(error)})" if what else reason(error)
        # What the system refuses is not mended by another copy of the file.
        advice = "" if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) else mend
        raise kind(f"{path}: {fault}{f'; {advice}' if advice else ''}") from error


def reason(error: BaseException) -> str:
    """What went wrong, in the words of the system or of the library that failed."""
    match error:
        case FileNotFoundError():
            return "not found"
        case OSError(errno=errno.ELOOP):
            return "cannot be read (its links lead in a circle)"
        case PermissionError():
            return f"you may not read it ({error.strerror}); change its permissions"
        case OSError() if error.strerror:
            return f"cannot be read ({error.strerror})"
        case MemoryError():
            return "takes more memory than this machine has"
        case RecursionError():
            return "nested too deeply"
        case UnicodeEncodeError():
            return "its name is no text"
        case UnicodeDecodeError():
            return f"not UTF-8 text at byte {error.start}"
        case KeyError():
            return f"holds no {shown(error.args[0]) if error.args else 'such entry'}"
        case _:
            return first_line(error)


def is_file(path: Path) -> bool:
    """Whether a file is there; False for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False for a name that no folder can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextmanager
def opened(path: Path, limit: int | None = None, mend: str = "") -> Iterator[BufferedReader]:
    """An ordinary file of at most ``limit`` bytes, open for reading.

    Raises :class:`InputError` for any other, also for a pipe or a device, which never end, and for whatever
    goes wrong in the block.
    """
    with reading(path, mend):
        check_size(path, limit, mend)
        with open(path, "rb") as file:
            yield file


def check_size(path: Path, limit: int | None, mend: str = "") -> int:
    """The size of an ordinary file. Raises :class:`InputError` for none, and above ``limit`` bytes."""
    with reading(path, mend):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
        raise InputError(f"{path}: is {kind}; give a file")
    if limit is not None and status.st_size > limit:
        size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
        raise InputError(f"{path}: larger than {size}, which no such file is{f'; {mend}' if mend else ''}")
    return status.st_size


def read_bytes(path: Path, limit: int, mend: str = "") -> bytes:
    """A whole file of at most ``limit`` bytes. Raises :class:`InputError`."""
    with opened(path, limit, mend) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{path}: grows while it is read; wait until it is whole")
    return data


def has_bytes(path: Path, data: bytes) -> bool:
    """Whether there is a file that holds exactly ``data``."""
    return is_file(path) and path.stat().st_size == len(data) and read_bytes(path, len(data)) == data


def read_json(path: Path, limit: int = MAX_JSON_BYTES, mend: str = "") -> dict[str, Any]:
    """Read a JSON object of at most ``limit`` bytes. Raises :class:`InputError` for anything else."""
    return object_of(read_json_value(path, limit, mend), path)


def read_json_value(path: Path, limit: int, mend: str = "") -> Any:
    """Read any JSON of at most ``limit`` bytes. Raises :class:`InputError`."""
    return parse_json(read_bytes(path, limit, mend), path, mend)


def object_of(value: Any, where: object) -> dict[str, Any]:
    """``value`` if it is a JSON object. Raises :class:`InputError` that says ``where`` it is not."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: holds {type(value).__name__}, expected an object")
    return value


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number (from 1) and object of each line that is not blank. Raises :class:`InputError` naming a line."""
    with opened(path) as file:
        for number in itertools.count(1):
            where, line = f"{path}, line {number}", file.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise InputError(f"{where}: longer than {MAX_LINE_BYTES >> 20} MiB; shorten it")
            if number > MAX_LINES:
                raise InputError(f"{path}: more than {MAX_LINES} lines; split it")
            if line.strip():
                yield number, object_of(parse_json(line, where, "each line must be one object"), where)


def parse_json(data: bytes | str, where: object, mend: str = "") -> Any:
    """The value of a JSON text, at most :data:`MAX_DEPTH` deep, every number finite.

    Raises :class:`InputError` that says ``where``.

    >>> parse_json('{"layers": [1, 2.5]}', "config.json")
    {'layers': [1, 2.5]}
    """
    with reading(where, mend):
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        try:
            value = json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=_not_finite)
        except json.JSONDecodeError as error:
            raise ValueError(f"not readable as JSON ({error})") from error
        _check_depth(value)
        if _SURROGATE.search(text):
            _check_text(value)
        return value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises :class:`InputError`."""
    text = read_bytes(path, MAX_TOML_BYTES)
    with reading(path):
        values = tomllib.loads(text.decode("utf-8"), parse_float=_real)
        _check_depth(values)
        return values


@contextmanager
def open_safetensors(path: Path, framework: str = "pt", mend: str = "") -> Iterator[Any]:
    """A safetensors file of ``safe_open``: its description is bounded and fits the file's length.

    Raises :class:`InputError` for damage, also for what goes wrong in the block.
    """
    with needed():
        from safetensors import SafetensorError, safe_open

    end = f"; {mend}" if mend else ""
    with reading(path, mend):
        with opened(path, mend=mend) as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
        if length > min(MAX_HEADER_BYTES, os.path.getsize(path)):
            raise InputError(f"{path}: truncated, or no safetensors file{end}")
        try:
            tensors = safe_open(path, framework=framework)
        except SafetensorError as error:
            what = f"truncated, or no safetensors file ({first_line(error)})"
            raise InputError(f"{path}: {what}{end}") from error
        with tensors:
            yield tensors


def _check_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("holds one half of a surrogate pair, which is no character") from None


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"holds a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER else math.inf
    if not math.isfinite(value):
        raise ValueError(f"holds {shown(text)}, which is no number that can be computed with")
    return value


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"holds {text}, which is no number that can be computed with")


def _check_depth(value: Any) -> None:
    """Raise RecursionError for lists and objects that are nested too deeply to be worked on by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = [item for item in below if isinstance(item, (dict, list))]
    if level:
        raise RecursionError
