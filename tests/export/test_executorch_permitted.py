"""What a `.pte` may call is what the exporter writes, with the arguments that it gives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from executorch.exir import schema

import phantom_edge
from phantom_edge.errors import InputError
from phantom_edge.export.executorch.permitted import KERNELS, check_program, shapes_fit
from phantom_edge.export.executorch.program import Buffers, Method, constant_method
from phantom_edge.export.executorch.xnnpack import NamedData

PTE = Path("model.pte")
ADD = "executorch_prim::add.Scalar"
TRUE, NULL = schema.Bool(True), schema.Null()


def program(operators=(), instructions=(), values=(), **parts) -> schema.Program:
    plan = constant_method("text_decoder", 1)
    chain = schema.Chain([], [], [schema.Instruction(i) for i in instructions], None)
    named = [schema.Operator(*name.split(".", 1)) for name in operators]
    entries = [*plan.values, *map(schema.EValue, values)]
    plan = replace(plan, operators=named, chains=[chain], values=entries, **parts)
    return schema.Program(0, [plan], [], [], [], schema.SubsegmentOffsets(0, []))


def window(sizes, declared=(1, 2, 3)) -> schema.Program:
    """A call of ``aten::empty`` with these sizes, None for what is no integer, for a tensor ``declared``."""
    method = Method("text_decoder", NamedData(), Buffers())
    method.tensor(declared)
    declared_tensor = method._values[0].val
    numbers = [NULL if size is None else schema.Int(size) for size in sizes]
    places = [1 + n for n in range(len(sizes))]  # behind the method's own value
    values = [*numbers, schema.IntList(places), NULL, declared_tensor]
    size, none, out = range(1 + len(sizes), 4 + len(sizes))
    return program(["aten::empty.out"], [schema.KernelCall(0, [size, none, out, out])], values)


def test_every_kernel_that_is_written_is_allowed_and_no_other():
    folder = Path(phantom_edge.__path__[0], "export", "executorch")
    text = "".join((folder / name).read_text(encoding="utf-8") for name in ("ops.py", "program.py"))
    written = set(re.findall(r'"(\w+::[\w.{}]+)"', text))
    (pattern,) = (name for name in written if "{" in name)
    written = written - {pattern} | {pattern.replace("{op}", op) for op in ("4bit", "byte")}
    assert written == set(KERNELS)


def test_what_the_exporter_writes_passes():
    add = schema.KernelCall(0, [0, 0, 0])
    check_program(PTE, program([ADD], [add]))
    check_program(PTE, window([1, 2, 3]))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (program(["aten::add.out"]), "uses 'aten::add.out', which this toolkit does not write"),
        (program(instructions=[schema.JumpFalseCall(0, 0)]), "an instruction JumpFalseCall"),
        (program([ADD], [schema.KernelCall(1, [0, 0, 0])]), "calls what is not there"),
        (program([ADD], [schema.KernelCall(0, [0, 0, 9])]), "calls what is not there"),
        (program([ADD], [schema.KernelCall(0, [0, 0])]), "with other arguments"),
        (program([ADD], [schema.KernelCall(0, [0, 0, 1])], [TRUE]), "other arguments"),
        (program(["aten::sym_size.int"], [schema.KernelCall(0, [1, 0, 0])], [NULL]), "other arguments"),
        (window([1, -1, 2]), "other arguments"),
        (window([1, 2]), "other arguments"),
        (window([1, 2, None]), "other arguments"),
        (window([1, 2, 3], [1, 2]), "other shapes"),
        (window([1, 2, 3], [4, 2, 3]), "other shapes"),
        (program(instructions=[schema.DelegateCall(0, [0])]), "calls what is not there"),
        (program(non_const_buffer_sizes=[0, 1 << 60]), "its cache takes"),
        (program(non_const_buffer_sizes=[-1]), "less than no memory"),
    ],
    ids=lambda v: v[:20] if isinstance(v, str) else "",
)
def test_what_it_does_not_write_is_refused(made, message):
    with pytest.raises(InputError, match=message):
        check_program(PTE, made)


def test_shapes_that_would_end_the_process_are_refused():
    heads, none = [2, 8, 1, 16], [2, 8, 0, 16]
    update = "llama::update_cache.out"
    assert shapes_fit(update, [[2, 4, 1, 16], heads, [1], [1]])
    for name, shapes in (
        (update, [heads, none]),
        (update, [[2, 9, 1, 16], heads]),
        (update, [[2, 4, 1, 17], heads]),
        (update, [[3, 4, 1, 16], heads]),
        (update, [[4, 2, 16], heads]),
        ("aten::arange.start_out", [[4, 2], [4, 2]]),
    ):
        assert not shapes_fit(name, [*shapes, [1], [1]])
