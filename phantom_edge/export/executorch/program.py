"""One method of a ``.pte``: values, instructions and memory plan in ExecuTorch's ``program.fbs``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from executorch.exir import schema
from executorch.exir.scalar_type import ScalarType

from phantom_edge.export.executorch.xnnpack import NamedData, Steps, Subgraph, Value

SCALAR_TYPES = {
    torch.uint8: ScalarType.BYTE,
    torch.int8: ScalarType.CHAR,
    torch.int64: ScalarType.LONG,
    torch.float16: ScalarType.HALF,
    torch.float32: ScalarType.FLOAT,
}
WORK_ARENA, STATE_ARENA = 1, 2  # of a method's planned memory; number 0 is ExecuTorch's own
ALIGNMENT = 64  # bytes, of every tensor within the arena: a cache line, above the 16 that ExecuTorch keeps
ARENA_TAIL = 128  # XNNPACK's kernels may read this far past an operand (XNN_EXTRA_BYTES, at its largest)


@dataclass(frozen=True)
class Kernel:
    """A call of a registered kernel with indices of values."""

    op: int
    args: list[int]


class Buffers:
    """Constants that kernels read, in the program's constant segment; buffer 0 is reserved for "none"."""

    def __init__(self) -> None:
        self.list = [schema.Buffer(b"")]

    def add(self, tensor: torch.Tensor) -> int:
        self.list.append(schema.Buffer(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()))
        return len(self.list) - 1


class Method:
    """A method under construction. Values that only live inside a subgraph never appear here."""

    def __init__(self, name: str, constants: NamedData, buffers: Buffers):
        self.name, self.constants, self.buffers = name, constants, buffers
        self.inputs: list[Value] = []
        self.kernels: list[tuple[str, str]] = []
        self.steps: list[Kernel | Subgraph] = []
        self._values: list[schema.EValue] = []
        self._states: set[int] = set()
        self._windows: dict[int, tuple[int, int]] = {}  # slot to the state's slot and the offset in bytes
        self._literals: dict[tuple[type, object], int] = {}

    # --- values
    def input(self, shape: Sequence[int], dtype: torch.dtype) -> Value:
        """The next argument of the method."""
        value = self.tensor(shape, dtype)
        self.inputs.append(value)
        return value

    def tensor(self, shape: Sequence[int], dtype: torch.dtype = torch.float32, buffer: int = 0) -> Value:
        """A tensor of the method: planned in the arena, or the constant ``buffer``."""
        return Value(tuple(shape), slot=self._append(_tensor(shape, dtype, buffer)))

    def constant(self, tensor: torch.Tensor) -> Value:
        """A constant that kernels read."""
        return self.tensor(tuple(tensor.shape), tensor.dtype, self.buffers.add(tensor))

    def state(self, shape: Sequence[int], name: str) -> Value:
        """A tensor that lives as long as the loaded method, such as a KV cache; it starts undefined.

        By its name the runtime gives access to it, so that a cache's content can be kept and put back.
        """
        tensor = _tensor(shape, torch.float32, 0)
        tensor.extra_tensor_info = schema.ExtraTensorInfo(fully_qualified_name=name)
        value = Value(tuple(shape), slot=self._append(tensor))
        self._states.add(self.slot(value))
        return value

    def window(self, state: Value, index: int, length: Value) -> Value:
        """The first ``length`` rows of ``state[index]``, in place: [1, length, C] of a state [N, rows, 1, C].

        A tensor of its own over the same memory. ``aten::empty`` gives it the length and writes nothing.
        """
        _, rows, _, width = state.shape
        window = self.tensor((1, Steps(rows), width))
        offset = index * rows * width * torch.float32.itemsize
        self._windows[self.slot(window)] = (self.slot(state), offset)
        return self.call("aten::empty.out", self._integers(1, length, width), None, out=window)

    def integer(self) -> Value:
        """An integer that a kernel computes."""
        return Value((), slot=self._append(schema.Int(0)))

    def _integers(self, *items: Value | int) -> Value:
        slots = [self.slot(item) if isinstance(item, Value) else self._literal(item) for item in items]
        return Value((), slot=self._append(schema.IntList(slots)))

    # --- instructions
    def call(self, op: str, *args: Value | bool | int | float | None, out: Value) -> Value:
        """Call kernel ``op`` (``namespace::name.overload``); returns ``out``."""
        name, _, overload = op.partition(".")
        if (name, overload) not in self.kernels:
            self.kernels.append((name, overload))
        slots = [self.slot(arg) if isinstance(arg, Value) else self._literal(arg) for arg in args]
        # An out-variant names its output twice, as the argument and as what is returned.
        slots += [self.slot(out)] * (2 if overload.endswith("out") else 1)
        self.steps.append(Kernel(self.kernels.index((name, overload)), slots))
        return out

    def delegate(self, subgraph: Subgraph) -> None:
        """Run ``subgraph`` next."""
        self.steps.append(subgraph)

    def slot(self, value: Value) -> int:
        """The index of ``value``, which a subgraph may have computed."""
        if value.slot is None:
            value.slot = self._append(_tensor(value.shape, torch.float32, 0))
            if value.home is None:
                raise ValueError("a value without a slot has no subgraph that computes it")
            value.home.give(value)
        return value.slot

    def finish(self, output: Value, payloads: list[schema.BackendDelegateInlineData]) -> schema.ExecutionPlan:
        """The method as ExecuTorch stores it; adds the payload of every subgraph to ``payloads``."""
        out = self.slot(output)
        delegates: list[schema.BackendDelegate] = []
        instructions: list[schema.Instruction] = []
        for subgraph in (s for s in self.steps if isinstance(s, Subgraph)):
            for value in (*subgraph.inputs, *subgraph.outputs):
                self.slot(value)
        for step in self.steps:
            args = self._args(step)
            if isinstance(step, Kernel):
                instructions.append(schema.Instruction(schema.KernelCall(step.op, args)))
                continue
            reference = schema.BackendDelegateDataReference(schema.DataLocation.INLINE, len(payloads))
            payloads.append(schema.BackendDelegateInlineData(step.serialize()))
            instructions.append(schema.Instruction(schema.DelegateCall(len(delegates), args)))
            delegates.append(schema.BackendDelegate("XnnpackBackend", reference, []))
        inputs = [self.slot(value) for value in self.inputs]
        arenas = [self._plan(inputs, out), *([self._plan_states()] if self._states else [])]
        return schema.ExecutionPlan(
            name=self.name,
            container_meta_type=schema.ContainerMetadata(_tree("tuple", len(inputs)), _tree("tuple", 1)),
            values=self._values,
            inputs=inputs,
            outputs=[out],
            chains=[schema.Chain([], [], instructions, None)],
            operators=[schema.Operator(*kernel) for kernel in self.kernels],
            delegates=delegates,
            non_const_buffer_sizes=[0, *arenas],
        )

    def _args(self, step: Kernel | Subgraph) -> list[int]:
        return step.args if isinstance(step, Kernel) else list(map(self.slot, (*step.inputs, *step.outputs)))

    def _append(self, value: schema.KernelTypes) -> int:
        self._values.append(schema.EValue(value))
        return len(self._values) - 1

    def _literal(self, value: bool | int | float | None) -> int:
        key = (type(value), value)
        if key not in self._literals:
            kinds = {bool: schema.Bool, int: schema.Int, float: schema.Double}
            self._literals[key] = self._append(schema.Null() if value is None else kinds[type(value)](value))
        return self._literals[key]

    # --- memory
    def _plan(self, inputs: list[int], output: int) -> int:
        """Give every tensor the lowest gap free while it lives, largest first; returns the size."""
        lives: dict[int, tuple[int, int]] = dict.fromkeys(inputs, (-1, -1))
        for time, step in enumerate(self.steps):
            for slot in self._args(step):
                lives[slot] = (lives.get(slot, (time, time))[0], time)
        lives[output] = (lives[output][0], len(self.steps))
        placed: list[tuple[int, int, tuple[int, int]]] = []  # start, end, life
        planned = {slot: life for slot, life in lives.items() if self._is_planned(slot)}
        for slot in sorted(planned, key=lambda s: -_nbytes(self._values[s].val)):
            tensor, (first, last) = self._values[slot].val, planned[slot]
            size, start = _nbytes(tensor), 0
            for begin, end in sorted((a, b) for a, b, life in placed if life[0] <= last and first <= life[1]):
                if start + size <= begin:
                    break
                start = max(start, end)
            tensor.allocation_info = _place(WORK_ARENA, start)
            placed.append((start, start + size, (first, last)))
        return max((end for _, end, _ in placed), default=0) + ARENA_TAIL

    def _plan_states(self) -> int:
        """Give every state its place in an arena of their own, and its windows theirs. Returns the size.

        In the arena of values, which Python's ``Program`` shares, other methods would overwrite it.
        """
        start = 0
        for slot in sorted(self._states):
            self._values[slot].val.allocation_info = _place(STATE_ARENA, start)
            start += _nbytes(self._values[slot].val)
        for window, (state, offset) in self._windows.items():
            where = self._values[state].val.allocation_info
            self._values[window].val.allocation_info = _place(STATE_ARENA, where.memory_offset + offset)
        return start + ARENA_TAIL

    def _is_planned(self, slot: int) -> bool:
        value = self._values[slot].val
        if slot in self._states or slot in self._windows:
            return False
        return isinstance(value, schema.Tensor) and not value.data_buffer_idx


def constant_method(name: str, value: bool | int | Sequence[int]) -> schema.ExecutionPlan:
    """A method without arguments that returns ``value``, as ExecuTorch's runners read metadata."""
    items = list(value) if isinstance(value, Sequence) else [value]
    values = [schema.EValue(schema.Bool(v) if isinstance(v, bool) else schema.Int(v)) for v in items]
    return schema.ExecutionPlan(
        name=name,
        container_meta_type=schema.ContainerMetadata("", _tree("list", len(items))),
        values=values,
        inputs=[],
        outputs=list(range(len(items))),
        chains=[schema.Chain([], [], [], None)],
        operators=[],
        delegates=[],
        non_const_buffer_sizes=[0],
    )


def _tensor(shape: Sequence[int], dtype: torch.dtype, buffer: int) -> schema.Tensor:
    bound, kinds = any(isinstance(n, Steps) for n in shape), schema.TensorShapeDynamism
    return schema.Tensor(
        scalar_type=SCALAR_TYPES[dtype],
        storage_offset=0,
        sizes=[int(n) for n in shape],
        dim_order=list(range(len(shape))),
        requires_grad=False,
        layout=0,
        data_buffer_idx=buffer,
        allocation_info=None,
        shape_dynamism=kinds.DYNAMIC_BOUND if bound else kinds.STATIC,
    )


def _place(arena: int, start: int) -> schema.AllocationDetails:
    return schema.AllocationDetails(arena, start & 0xFFFFFFFF, start >> 32)


def _nbytes(tensor: schema.Tensor) -> int:
    """Bytes of a tensor at its bound, rounded up to the alignment."""
    item = next(dtype.itemsize for dtype, kind in SCALAR_TYPES.items() if kind == tensor.scalar_type)
    return int(-(-item * math.prod(tensor.sizes) // ALIGNMENT) * ALIGNMENT)


def _tree(kind: str, leaves: int) -> str:
    """torch's pytree description of ``leaves`` values; Python's loader reads it, the C++ runtime does not."""
    leaf = '{"type": null, "context": null, "children_spec": []}'
    leaves_spec = ", ".join([leaf] * leaves)
    return f'[1, {{"type": "builtins.{kind}", "context": "null", "children_spec": [{leaves_spec}]}}]'
