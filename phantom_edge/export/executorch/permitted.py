"""What a ``.pte`` from outside may do: the kernels, instructions and delegates that the exporter writes.

A program is code. Its tables can name every kernel of the runtime and jump back for ever, and a vector that
lies there once can be part of a thousand tables: so all of it is compared with what the exporter writes, and
the tables with the bytes that they take, before anything works on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from executorch.exir import schema
from executorch.exir._serialize._flatbuffer_program import _patch_generated_flatbuffer_aliases
from executorch.exir._serialize.generated.executorch_flatbuffer.Program import Program

from phantom_edge.bundle.backend import check_cache
from phantom_edge.errors import InputError, shown

AGAIN: Final = "export it again"
TENSOR, INTEGER, WINDOW = "tensor", "integer", "sizes of a window"
KERNELS: Final[dict[str, tuple[object, ...]]] = {
    "aten::_local_scalar_dense": (TENSOR, INTEGER),
    "aten::arange.start_out": (INTEGER, INTEGER, 1, TENSOR, TENSOR),
    "aten::embedding.out": (TENSOR, TENSOR, -1, False, False, TENSOR, TENSOR),
    "aten::empty.out": (WINDOW, None, TENSOR, TENSOR),
    "aten::select_copy.int_out": (TENSOR, 0, 0, TENSOR, TENSOR),
    "aten::slice_copy.Tensor_out": (TENSOR, (0, 1), INTEGER, INTEGER, 1, TENSOR, TENSOR),
    "aten::sym_size.int": (TENSOR, 1, INTEGER),
    "dim_order_ops::_to_dim_order_copy.out": (TENSOR, False, None, TENSOR, TENSOR),
    "executorch_prim::add.Scalar": (INTEGER, INTEGER, INTEGER),
    "llama::update_cache.out": (TENSOR, TENSOR, INTEGER, TENSOR, TENSOR),
    "quantized_decomposed::embedding_4bit.out": (TENSOR, TENSOR, None, -8, 7, TENSOR, TENSOR, TENSOR),
    "quantized_decomposed::embedding_byte.out": (TENSOR, TENSOR, None, -127, 127, TENSOR, TENSOR, TENSOR),
}  # fmt: skip
"""Every kernel that the exporter calls with its arguments: of what kind, or of which value. The runtime ends
the process over a dimension that a tensor has not."""
_VALUES: Final = {schema.Bool: "bool_val", schema.Int: "int_val"}
DELEGATES: Final = frozenset({"XnnpackBackend", "CoreMLBackend"})


def check_size(data: bytes) -> None:
    """Raise ValueError for tables that take more entries than their bytes can hold, each once."""
    _patch_generated_flatbuffer_aliases()  # else the generated classes take their modules for classes
    program, entries = Program.GetRootAs(data, 0), 0
    for n in range(program.ExecutionPlanLength()):
        plan = program.ExecutionPlan(n)
        entries += 1 + plan.ValuesLength() + plan.OperatorsLength() + plan.DelegatesLength()
        entries += plan.InputsLength() + plan.OutputsLength() + plan.NonConstBufferSizesLength()
        for m in range(plan.ChainsLength()):
            chain = plan.Chains(m)
            entries += 1 + chain.InstructionsLength() + chain.InputsLength() + chain.OutputsLength()
            if 4 * entries > len(data):
                raise ValueError("its tables are larger than the file")
        if 4 * entries > len(data):
            raise ValueError("its tables are larger than the file")


def check_program(path: Path, program: schema.Program) -> None:
    """Raise :class:`InputError` for a program that does what the exporter does not write."""
    for plan in program.execution_plan:
        named = [_kernel(op) for op in plan.operators]
        named += [delegate.id for delegate in plan.delegates]
        if other := [name for name in named if name not in KERNELS and name not in DELEGATES]:
            what = f"{shown(plan.name)} uses {shown(other[0])}"
            raise InputError(f"{path}: {what}, which this toolkit does not write; {AGAIN}")
        if min(plan.non_const_buffer_sizes, default=0) < 0:
            raise InputError(f"{path}: {shown(plan.name)} takes less than no memory; {AGAIN}")
        check_cache(path, sum(plan.non_const_buffer_sizes))
        for chain in plan.chains:
            for instruction in chain.instructions:
                _check_call(path, plan, instruction.instr_args)


def _check_call(path: Path, plan: schema.ExecutionPlan, call: Any) -> None:
    """A call of a kernel or of a delegate, of values that are there."""
    count = {schema.KernelCall: len(plan.operators), schema.DelegateCall: len(plan.delegates)}.get(type(call))
    if count is None:
        what = f"{shown(plan.name)} has an instruction {type(call).__name__}"
        raise InputError(f"{path}: {what}, which this toolkit does not write; {AGAIN}")
    index = call.op_index if isinstance(call, schema.KernelCall) else call.delegate_index
    if not 0 <= index < count or not all(0 <= slot < len(plan.values) for slot in call.args):
        raise InputError(f"{path}: {shown(plan.name)} calls what is not there; {AGAIN}")
    if isinstance(call, schema.KernelCall):
        name = _kernel(plan.operators[index])
        expected, values = KERNELS.get(name, ()), [_value(plan, slot) for slot in call.args]
        if len(values) != len(expected) or not all(map(_fits, values, expected)):
            what = f"{shown(plan.name)} calls {shown(name)} with other arguments"
            raise InputError(f"{path}: {what} than this toolkit writes; {AGAIN}")
        if not shapes_fit(name, [list(v.sizes) for v in values if isinstance(v, schema.Tensor)]):
            raise InputError(f"{path}: {shown(plan.name)} calls {name} with other shapes; {AGAIN}")


def shapes_fit(name: str, shapes: list[list[int]]) -> bool:
    """Whether tensors of a kernel go together; the runtime ends the process where not."""
    if any(size < 1 for shape in shapes for size in shape):
        return False
    if name == "llama::update_cache.out":
        value, cache = shapes[:2]  # [heads, S, 1, width] into [heads, context, 1, width]
        fits = len(value) == len(cache) == 4 and value[0] == cache[0] and value[2:] == cache[2:]
        return fits and value[1] <= cache[1]
    if name == "aten::empty.out":
        return len(shapes[0]) == 3 and shapes[0][0] == 1  # [1, context, width]
    if name == "aten::arange.start_out":
        return len(shapes[0]) == 1
    if name.startswith("quantized_decomposed::embedding"):
        table, scales = shapes[:2]  # [rows, width] and [rows, groups]
        return len(table) == 2 and 1 <= len(scales) <= 2 and table[0] == scales[0]
    return True


def _kernel(operator: schema.Operator) -> str:
    return f"{operator.name}.{operator.overload}".rstrip(".")


def _value(plan: schema.ExecutionPlan, slot: int) -> Any:
    """A value; of a list of integers, what it refers to."""
    value = plan.values[slot].val
    if not isinstance(value, schema.IntList):
        return value
    return [plan.values[item].val if 0 <= item < len(plan.values) else None for item in value.items]


def _fits(value: Any, expected: object) -> bool:
    if expected == TENSOR:
        return isinstance(value, schema.Tensor)
    if expected == INTEGER:
        return isinstance(value, schema.Int)
    if expected == WINDOW:
        sizes = value if isinstance(value, list) else []
        return len(sizes) == 3 and all(isinstance(n, schema.Int) and n.int_val >= 0 for n in sizes)
    if expected is None:
        return isinstance(value, schema.Null)
    number = getattr(value, _VALUES.get(type(value), ""), None) if type(value) in _VALUES else None
    return number is not None and number in (expected if isinstance(expected, tuple) else (expected,))
