"""Ways to damage a file: bytes anywhere, and values at any place of what is structured.

Everything is drawn from one seeded generator, so that a seed names an input for good.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any, Final

Rng = random.Random

ODD_NUMBERS: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD_LONGS: Final = (2**63 - 1, 2**63, 2**64 - 1, 2**40, 2**33)
ODD_TEXTS: Final = (
    "", " ", "a", "x" * 5000, "\0", "../../etc/passwd", "/etc/passwd", ".", "..", "a/b", "\n", "\x1b[2J",
    "\ud800", "\u202e", "\U0001f600", "[bold]", "{}", "%s%n", "1e999", "NaN", "0", "-1", "fp32", "int4",
    "rank:99999999999", "rank:-1", "auto", "mixed", "onnx", "coreml", "executorch", "someone/model",
)  # fmt: skip
ODD_VALUES: Final[tuple[Any, ...]] = (
    *ODD_TEXTS, *ODD_NUMBERS, *ODD_LONGS, None, True, False, 2, 3.5, -0.0, 131_072, 2**20, -1, -(2**63),
    10**30, 10**60, 10**400, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), [], {}, [[]], [{}],
    [None], [1, 2], ["a", "b"], {"a": 1}, {"": {}}, {"\ud800": 1}, [0] * 1000,
)  # fmt: skip
"""What hand-made damage and other programs put where a value belongs."""
DEPTH: Final = (70, 2000, 200_000)
DIGITS: Final = (50, 400, 5000, 100_000)


def damaged_bytes(data: bytes, rng: Rng) -> bytes:
    """Bits turned, numbers made extreme, pieces cut, doubled or moved."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = len(result)
        place = rng.randrange(size) if size else 0
        match rng.randrange(9) if size > 8 else 8:
            case 0 | 1:
                result[place] ^= 1 << rng.randrange(8)
            case 2:
                result[place] = rng.randrange(256)
            case 3:
                place -= place % 4
                result[place : place + 4] = struct.pack("<I", rng.choice(ODD_NUMBERS))
            case 4:
                place -= place % 8
                result[place : place + 8] = struct.pack("<Q", rng.choice(ODD_LONGS))
            case 5:
                del result[place:]
            case 6:
                del result[place : place + rng.randrange(1, 1 + min(64, size))]
            case 7:
                start = rng.randrange(size)
                piece = result[start : start + rng.randrange(1, 1 + min(4096, size))]
                result[place : place + rng.choice((0, len(piece)))] = piece
            case _:
                result[place:place] = rng.randbytes(rng.randrange(1, 64))
    return bytes(result)


def near_the_start(data: bytes, rng: Rng, length: int) -> bytes:
    """Damage within the first ``length`` bytes, where the tables of most formats are."""
    return damaged_bytes(data[:length], rng) + data[length:]


def damaged_json(data: bytes, rng: Rng) -> bytes:
    """Another value, type, name or depth at a place of a JSON document, or damaged bytes."""
    if rng.random() < 0.15:
        return damaged_bytes(data, rng)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        value = _changed(value, rng)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.9)
    match rng.randrange(40):
        case 0:
            depth, pair = rng.choice(DEPTH), rng.choice(("[]", "{}"))
            deep = pair[0] * depth + pair[1] * depth if pair == "[]" else '{"a":' * depth + "1" + "}" * depth
            text = _replaced(text, deep, rng)
        case 1:
            text = _replaced(text, "1" * rng.choice(DIGITS), rng)
        case 2:
            text = _replaced(text, rng.choice(("NaN", "-Infinity", "1e999", "0.1" + "0" * 5000, "tru")), rng)
        case 3:
            text = text[: rng.randrange(len(text) + 1)]
        case 4:
            text = "\ufeff" + text
    return text.encode("utf-8", "surrogatepass")


def damaged_lines(data: bytes, rng: Rng) -> bytes:
    """One line of JSON lines, or of a table, changed."""
    lines = data.splitlines()
    number = rng.randrange(len(lines))
    try:
        lines[number] = damaged_json(lines[number], rng).replace(b"\n", b" ")
    except ValueError:
        lines[number] = damaged_bytes(lines[number], rng)
    return b"\n".join(lines) if rng.random() < 0.95 else b"".join(lines)


def damaged_text(data: bytes, rng: Rng) -> bytes:
    """A text file such as TOML: words exchanged for odd ones, brackets doubled, bytes damaged."""
    if rng.random() < 0.3:
        return damaged_bytes(data, rng)
    words = data.decode("utf-8", "replace").split(" ")
    odd = rng.choice(ODD_VALUES)
    text = "9" * 400 if isinstance(odd, int) else str(odd)[:5000]
    choices = (text, "[" * 3000, "1" * rng.choice(DIGITS), '"' * 3, "[[", "nan", "1979-05-27T07:32:00Z")
    words[rng.randrange(len(words))] = rng.choice(choices)
    return " ".join(words).encode("utf-8", "surrogatepass")


def damaged_safetensors(data: bytes, rng: Rng) -> bytes:
    """The description of the tensors changed like any JSON, its length, or bytes anywhere."""
    (length,) = struct.unpack("<Q", data[:8])
    match rng.randrange(10):
        case 0:
            return struct.pack("<Q", rng.choice((*ODD_NUMBERS, *ODD_LONGS))) + data[8:]
        case 1:
            return damaged_bytes(data, rng)
        case 2:
            return near_the_start(data, rng, 8 + length)
    header = damaged_json(data[8 : 8 + length], rng)
    for old, new in ((b"F32", b"F8_E4M3"), (b"F32", b"BF16"), (b"F32", b"U16"), (b"I64", b"F8_E5M2")):
        if rng.random() < 0.05:
            header = header.replace(old, new, 1)
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def damaged_message(message: Any, rng: Rng) -> bytes:
    """A protobuf message with fields set, cleared, doubled or removed at any depth."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change_message(message, rng)
    return bytes(message.SerializePartialToString())


def _change_message(message: Any, rng: Rng) -> None:
    while True:
        fields = message.ListFields()
        if not fields:
            return
        field, value = rng.choice(fields)
        if field.message_type is None or not hasattr(value, "ListFields"):
            items = field.message_type is not None and hasattr(value, "__len__") and len(value)
            if items and not hasattr(value, "keys") and rng.random() < 0.8:
                message = value[rng.randrange(len(value))]
                continue
            if items and hasattr(value, "keys") and hasattr(value[next(iter(value))], "ListFields"):
                message = value[rng.choice(sorted(value))]
                continue
            _change_field(message, field, value, rng)
            return
        if rng.random() < 0.05:
            message.ClearField(field.name)
            return
        message = value


def _change_field(message: Any, field: Any, value: Any, rng: Rng) -> None:
    if hasattr(value, "keys") or rng.random() < 0.1:
        message.ClearField(field.name)
        return
    if hasattr(value, "append") or hasattr(value, "add"):
        match rng.randrange(3):
            case 0:
                del value[rng.randrange(len(value))]
            case 1:
                value.extend([value[rng.randrange(len(value))]] * rng.choice((1, 1, 100)))
            case _ if field.message_type is None:
                _set_item(value, rng)
        return
    for _ in range(20):
        try:
            setattr(message, field.name, _odd_scalar(value, rng))
            return
        except (TypeError, ValueError, OverflowError):
            continue


def _set_item(values: Any, rng: Rng) -> None:
    for _ in range(20):
        try:
            values[rng.randrange(len(values))] = _odd_scalar(values[0], rng)
            return
        except (TypeError, ValueError, OverflowError):
            continue


def _odd_scalar(value: Any, rng: Rng) -> Any:
    if isinstance(value, bytes):
        return damaged_bytes(value, rng) if value else b"\xff" * rng.choice((1, 8, 5000))
    if isinstance(value, str):
        return rng.choice([*(text for text in ODD_TEXTS if text != "\ud800"), value + "x", value[:-1]])
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38, 1e-40))
    return rng.choice((0, 1, 2, 3, -1, value + 1, value - 1, value * 2, *ODD_NUMBERS, *ODD_LONGS))


def _changed(value: Any, rng: Rng) -> Any:
    """``value`` with one place changed; places are found by walking down at random."""
    value = copy.deepcopy(value)
    parent, key = None, None
    node = value
    while isinstance(node, (dict, list)) and node and rng.random() < 0.85:
        parent, key = node, rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = node[key]
    if parent is None:
        return rng.choice(ODD_VALUES) if rng.random() < 0.1 else value
    match rng.randrange(10):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(ODD_TEXTS)] = parent.pop(key)
        case 2 if isinstance(parent, list):
            parent.extend([copy.deepcopy(node)] * rng.choice((1, 3, 300)))
        case 3 if isinstance(node, (int, float)) and not isinstance(node, bool):
            parent[key] = rng.choice((-node, node + 1, node * 2, node // 3, node * 10**6, str(node), [node]))
        case 4:
            parent[key] = rng.choice(([node], {"a": node}, str(node)[:5000]))
        case _:
            parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return value


def _replaced(text: str, new: str, rng: Rng) -> str:
    """One number or text of a JSON document exchanged for ``new``."""
    places = [n for n, c in enumerate(text) if c == ":"]
    if not places:
        return new
    start = rng.choice(places) + 1
    ends = [n for n in (text.find(c, start) for c in ",}]") if n > 0]
    return text[:start] + new + text[min(ends, default=len(text)) :]
