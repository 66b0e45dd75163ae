"""What in a ``.pte`` is not as the exporter writes it: the program is made again, without its weights.

Running it cannot show everything: a probe meets few inputs, no run reads the metadata, and the unrounded run
replaces every integer matmul. So instructions, values, shapes, memory plan and the delegates' graphs are
compared one by one, and the constants that are no weights. Weights are compared by those who read them back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import torch
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import ConstantDataOffset
from executorch.backends.xnnpack.utils.xnnpack_constants import UINT64_MAX
from executorch.exir import schema
from executorch.exir._serialize._flatbuffer_program import _flatbuffer_to_program, _program_to_flatbuffer

from phantom_edge.export.base import ExportOptions
from phantom_edge.export.executorch import is_stored
from phantom_edge.export.executorch.lower import write_methods
from phantom_edge.export.executorch.permitted import AGAIN
from phantom_edge.export.executorch.program import Buffers
from phantom_edge.export.executorch.readback import StoredProgram, decode
from phantom_edge.export.executorch.xnnpack import NamedData
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import Weights
from phantom_edge.system.reading import reading

SHOWN: Final = 3  # differences of one method or delegate
LENGTH: Final = 60  # of a value or a name in a message


class Declared(NamedData):
    """Named data that are not kept: the size of each, and the bytes of those that are no weights."""

    def __init__(self, weights: Weights):
        self.sizes: dict[str, int] = {}
        self.own: dict[str, bytes] = {}
        self._weights = weights

    def add(self, key: str, tensor: torch.Tensor) -> ConstantDataOffset:
        """Note ``tensor`` and return the reference that a subgraph holds."""
        self.sizes[key] = tensor.numel() * tensor.element_size()
        if not is_stored(key) or key.removesuffix(".scales") not in self._weights:
            flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            self.own[key] = flat.numpy().tobytes()
        return ConstantDataOffset(UINT64_MAX, self.sizes[key], key)


class Counted(Buffers):
    """Constants of the kernels that are not kept; those that are no weights are RoPE's tables, read back."""

    def add(self, tensor: torch.Tensor) -> int:
        """The index of the next constant."""
        self.list.append(schema.Buffer(b""))
        return len(self.list) - 1


@dataclass(frozen=True)
class Expected:
    """A program without weights: its methods, what their delegates hold, and its constants."""

    plans: Sequence[schema.ExecutionPlan]
    payloads: Sequence[bytes]
    constants: Declared
    buffers: int

    @classmethod
    def of(cls, model: FoldedModel, options: ExportOptions) -> Expected:
        """What an export of ``model`` writes."""
        constants, buffers = Declared(model.weights), Counted()
        plans, payloads = write_methods(model, options, constants, buffers, lambda _: None)
        return cls(plans, [payload.data for payload in payloads], constants, len(buffers.list))


def program_differences(stored: StoredProgram, expected: Expected) -> list[str]:
    """Differences of a program, in a few words each. Raises :class:`InputError` for a damaged one."""
    with reading(stored.path, AGAIN):
        return [
            *_tables(stored, expected),
            *_methods(stored, expected),
            *_delegates(stored, expected),
            *_constants(stored, expected.constants),
        ]


def _tables(stored: StoredProgram, expected: Expected) -> Iterator[str]:
    """Differences of the program's own fields, methods and constants aside."""
    own, other = (_without_content(program) for program in (stored.program, _as_read([])))
    yield from islice(_unequal(own, other, "program"), SHOWN)
    count = len(stored.program.constant_segment.offsets)
    if count != expected.buffers:
        yield f"{count} constants of kernels, not {expected.buffers}"


def _methods(stored: StoredProgram, expected: Expected) -> Iterator[str]:
    names, expected_names = (
        [p.name for p in plans] for plans in (stored.program.execution_plan, expected.plans)
    )
    for name in sorted({*names, *expected_names}):
        if (count := names.count(name)) != expected_names.count(name):
            yield f"method {name[:LENGTH]} is there {count} times, not {expected_names.count(name)}"
    for plan in _as_read(expected.plans).execution_plan:
        if plan.name in names:
            own, other = (_without_places(one) for one in (stored.plan(plan.name), plan))
            yield from islice(_unequal(own, other, plan.name), SHOWN)


def _delegates(stored: StoredProgram, expected: Expected) -> Iterator[str]:
    """Differences of what the delegates hold. XNNPACK's is the same, byte for byte, or its graph differs."""
    names = {plan.name for plan in stored.program.execution_plan}
    payloads = iter(expected.payloads)
    for plan in expected.plans:
        contents = list(islice(payloads, len(plan.delegates)))
        delegates = stored.plan(plan.name).delegates if plan.name in names else []
        for index, (delegate, payload) in enumerate(zip(delegates, contents, strict=False)):
            content = stored.segment(delegate.processed.index)
            if content != payload:
                where = f"{plan.name}: delegate {index}"
                lines = islice(_unequal(decode(content), decode(payload), where), SHOWN)
                yield from list(lines) or [f"{where} holds other bytes"]


def _constants(stored: StoredProgram, expected: Declared) -> Iterator[str]:
    named = stored.program.named_data or []
    sizes = {data.key: stored.program.segments[data.segment_index].size for data in named}
    for key in sorted({*sizes, *expected.sizes}):
        if (size := sizes.get(key)) != expected.sizes.get(key):
            yield f"constant {key[:LENGTH]}: {size} bytes, not {expected.sizes.get(key)}"
    if len(named) != len(sizes):
        yield "two constants of one name"
    own = (key for key in expected.own if key in sizes)
    yield from (f"constant {key}: other values" for key in own if stored.named(key) != expected.own[key])


def _as_read(plans: Sequence[schema.ExecutionPlan]) -> schema.Program:
    """Methods as they come back from a file."""
    program = schema.Program(0, list(plans), [], [], [], schema.SubsegmentOffsets(0, []))
    return _flatbuffer_to_program(_program_to_flatbuffer(program).data)


def _without_content(program: schema.Program) -> schema.Program:
    none = schema.SubsegmentOffsets(0, [])
    return dataclasses.replace(
        program, execution_plan=[], segments=[], constant_segment=none, named_data=None
    )


def _without_places(plan: schema.ExecutionPlan) -> schema.ExecutionPlan:
    """A method whose delegates say nothing of where their content lies."""
    here = schema.BackendDelegateDataReference(schema.DataLocation.SEGMENT, 0)
    delegates = [dataclasses.replace(delegate, processed=here) for delegate in plan.delegates]
    return dataclasses.replace(plan, delegates=delegates)


def _unequal(stored: Any, expected: Any, where: str) -> Iterator[str]:
    """The innermost parts in which two trees of dataclasses, lists and dictionaries differ."""
    if type(stored) is not type(expected):
        yield f"{where} is {_short(stored)}, not {_short(expected)}"
    elif dataclasses.is_dataclass(stored):
        for field in dataclasses.fields(stored):
            own, other = (getattr(one, field.name) for one in (stored, expected))
            yield from _unequal(own, other, f"{where}.{field.name}")
    elif isinstance(stored, Mapping):
        for key in sorted({*stored, *expected}):
            yield from _unequal(stored.get(key), expected.get(key), f"{where}.{key}")
    elif isinstance(stored, list):
        if len(stored) != len(expected):
            yield f"{where} has {len(stored)} items, not {len(expected)}"
        for index, (own, other) in enumerate(zip(stored, expected, strict=False)):
            yield from _unequal(own, other, f"{where}[{index}]")
    elif stored != expected:
        yield f"{where} is {_short(stored)}, not {_short(expected)}"


def _short(value: Any) -> str:
    name = type(value).__name__
    return name if dataclasses.is_dataclass(value) else repr(value)[:LENGTH]
