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
from phantom_edge.export.executorch.program import constant_method

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


def test_every_kernel_that_is_written_is_allowed_and_no_other():
    text = Path(phantom_edge.__path__[0], "export", "executorch", "ops.py").read_text(encoding="utf-8")
    written = set(re.findall(r'"(\w+::[\w.{}]+)"', text))
    (pattern,) = (name for name in written if "{" in name)
    written = written - {pattern} | {pattern.replace("{op}", op) for op in ("4bit", "byte")}
    assert written == set(KERNELS)


def test_what_the_exporter_writes_passes():
    add = schema.KernelCall(0, [0, 0, 0])
    check_program(PTE, program([ADD], [add]))


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
    heads, none = [1, 8, 2, 16], [1, 8, 0, 16]
    update, attend = "llama::update_cache.out", "llama::custom_sdpa.out"
    assert shapes_fit(update, [[1, 4, 2, 16], heads, [1], [1]])
    assert shapes_fit(attend, [[1, 4, 6, 16], heads, heads, [1, 4, 6, 16], [1, 4, 6, 16]])
    for name, shapes in (
        (update, [heads, none]),
        (update, [[1, 9, 2, 16], heads]),
        (update, [[1, 4, 2, 17], heads]),
        (update, [[4, 2, 16], heads]),
        (attend, [[1, 4, 5, 16], heads, heads]),
        (attend, [[1, 4, 6, 8], heads, heads]),
        (attend, [[1, 4, 6, 16], heads, [1, 8, 2, 8]]),
    ):
        assert not shapes_fit(name, [*shapes, [1], [1]])
