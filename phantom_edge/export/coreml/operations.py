"""Two functions of MIL programs, operation by operation.

Names of values may differ, since they mean nothing to who runs a program. All else may not: operations and
their order, what each reads, attributes, types and constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from phantom_edge.export.half_constants import alike

NAME_LENGTH: Final = 60  # of what a file calls its parts, so that a message stays a line
FP16, FP32 = 10, 11  # MIL's codes of types


def short(name: str) -> str:
    """A name out of a file for a message."""
    return repr(name[:NAME_LENGTH])


def rest(message: Any, *but: str) -> bytes:
    """A message without some of its fields, in a form that is equal for equal messages."""
    if but:
        part = type(message)()
        part.CopyFrom(message)
        for field in but:
            part.ClearField(field)
        message = part
    content: bytes = message.SerializeToString(deterministic=True)
    return content


def function_differences(stored: Any, expected: Any) -> Iterator[str]:
    """What of a function is not the other's, in a few words each."""
    if rest(stored, "block_specializations") != rest(expected, "block_specializations"):
        yield "other inputs or states"
        return
    blocks = [function.block_specializations for function in (stored, expected)]
    if blocks[0].keys() != blocks[1].keys():
        yield f"code for {', '.join(sorted(map(short, blocks[0])))}"
        return
    names = [value.name for value in expected.inputs]
    yield from _block(blocks[0][expected.opset], blocks[1][expected.opset], names)


def _block(stored: Any, expected: Any, inputs: list[str]) -> Iterator[str]:
    if len(stored.operations) != len(expected.operations):
        yield from _counts(stored, expected)
        return
    names = {name: name for name in inputs}  # of values: what is called so here is called so in the file
    for one, other in zip(stored.operations, expected.operations, strict=True):
        what = _operation(one, other, names)
        if what:
            yield f"{other.type} {_name(other)}: {what}"
        names |= {b.name: a.name for a, b in zip(one.outputs, other.outputs, strict=False)}
    outputs = [names.get(name) for name in expected.outputs]
    if not list(stored.outputs) == list(expected.outputs) == outputs:
        yield "other outputs"
    if rest(stored, "operations", "outputs") != rest(expected, "operations", "outputs"):
        yield "other fields"


def _counts(stored: Any, expected: Any) -> Iterator[str]:
    """Operations of which there are more or fewer than there should be."""
    counts, right = (Counter(op.type for op in block.operations) for block in (stored, expected))
    yield from (
        f"{short(kind)} {counts[kind]} times, not {right[kind]}"
        for kind in sorted(counts.keys() | right.keys())
        if counts[kind] != right[kind]
    )


def _operation(stored: Any, expected: Any, names: dict[str, str]) -> str:
    """How one operation differs, if it does."""
    if stored.type != expected.type:
        return f"is a {short(stored.type)}"
    if [rest(o, "name") for o in stored.outputs] != [rest(o, "name") for o in expected.outputs]:
        return "type of its result"
    if stored.inputs.keys() != expected.inputs.keys():
        return "parameters"
    for key, argument in expected.inputs.items():
        if not _same_argument(stored.inputs[key], argument, names):
            return str(key)
    if stored.attributes.keys() != expected.attributes.keys():
        return "attributes"
    for key, value in expected.attributes.items():
        if key != "name" and not same_value(stored.attributes[key], value):
            return str(key)
    parts = ("type", "outputs", "inputs", "attributes")
    return "" if rest(stored, *parts) == rest(expected, *parts) else "fields"


def _same_argument(stored: Any, expected: Any, names: dict[str, str]) -> bool:
    if len(stored.arguments) != len(expected.arguments):
        return False
    for one, other in zip(stored.arguments, expected.arguments, strict=True):
        kind = other.WhichOneof("binding")
        if one.WhichOneof("binding") != kind:
            return False
        if not (same_value(one.value, other.value) if kind == "value" else one.name == names.get(other.name)):
            return False
    return True


def same_value(stored: Any, expected: Any) -> bool:
    """Whether two constants are of one type, and of one value but for the last bits of floats."""
    if rest(stored) == rest(expected):
        return True
    if rest(stored, "immediateValue") != rest(expected, "immediateValue"):
        return False
    arrays = [_floats(value) for value in (stored, expected)]
    return arrays[0] is not None and arrays[1] is not None and alike(arrays[0], arrays[1])


def _floats(value: Any) -> NDArray[np.generic] | None:
    """Floats that are written into the program."""
    tensor, dtype = value.immediateValue.tensor, value.type.tensorType.dataType
    if dtype == FP32 and tensor.WhichOneof("value") == "floats":
        return np.array(tensor.floats.values, np.float32)
    if dtype == FP16 and tensor.WhichOneof("value") == "bytes" and len(tensor.bytes.values) % 2 == 0:
        return np.frombuffer(tensor.bytes.values, "<f2")
    return None


def _name(operation: Any) -> str:
    return short(operation.outputs[0].name) if operation.outputs else ""
