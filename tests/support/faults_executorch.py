"""Faults in ExecuTorch bundles: in methods, in the graphs of delegates, in constants and metadata."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from executorch.exir import schema
from faults import Fault

from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.file import aligned, pad, tables
from phantom_edge.export.executorch.program import constant_method
from phantom_edge.export.executorch.readback import StoredProgram, decode
from phantom_edge.runtime.executorch_lift import encode

DECODER, EMBEDDING, VISION = "text_decoder", "token_embedding", "vision_encoder"
DECLARED, FLOATS, INTEGERS = "declarations that differ", "floats that differ", "integers that differ"
STRAY: Final = "files that no check reads"
NO_ID: Final = 2**32 - 1
LAYER: Final = "text_decoder.layers.1"


# --- the program's tables
def edited(change: Callable[[schema.Program], None]) -> Callable[[Path], None]:
    """The file with its tables changed; all segments stay."""

    def inject(folder: Path) -> None:
        stored = StoredProgram.open(folder / FILE)
        program = copy.deepcopy(stored.program)
        change(program)
        rewrite(stored, program)

    return inject


def rewrite(stored: StoredProgram, program: schema.Program, appended: bytes = b"") -> None:
    """Write the file again with these tables, and ``appended`` behind its segments."""
    data = stored.path.read_bytes()[stored.base :]
    data = data.ljust(aligned(len(data)), b"\0") + appended if appended else data
    with open(stored.path, "wb") as file:
        file.write(tables(program, len(data)))
        pad(file)
        file.write(data)


def plan_of(program: schema.Program, name: str) -> schema.ExecutionPlan:
    return next(plan for plan in program.execution_plan if plan.name == name)


def calls(plan: schema.ExecutionPlan, kernel: str) -> list[schema.KernelCall]:
    """Calls of one kernel, in their order."""
    kernels = [
        i.instr_args for i in plan.chains[0].instructions if isinstance(i.instr_args, schema.KernelCall)
    ]
    return [call for call in kernels if plan.operators[call.op_index].name == kernel]


def further_end(program: schema.Program) -> None:
    plans = program.execution_plan
    plan = plan_of(program, "get_eos_ids")
    ids = [value.val.int_val for value in plan.values]
    plans[plans.index(plan)] = constant_method("get_eos_ids", [*ids, 1])


def metadata(name: str, *values: int | bool) -> Callable[[Path], None]:
    """A metadata method that returns something else."""

    def change(program: schema.Program) -> None:
        plans = program.execution_plan
        plans[plans.index(plan_of(program, name))] = constant_method(name, list(values))

    return edited(change)


def without_method(program: schema.Program) -> None:
    program.execution_plan.remove(plan_of(program, "enable_dynamic_shape"))


def further_method(program: schema.Program) -> None:
    program.execution_plan.append(constant_method("get_bos_id", 1))


def swapped_windows(program: schema.Program) -> None:
    """The last attention reads the values of its last head where its keys lie, and the other way round."""
    args = plan_of(program, DECODER).chains[0].instructions[-3].instr_args.args
    windows = {call.args[2] for call in calls(plan_of(program, DECODER), "aten::empty")}
    first, second = [place for place, slot in enumerate(args) if slot in windows][-2:]
    args[first], args[second] = args[second], args[first]


def shorter_window(program: schema.Program) -> None:
    """Every attention sees what was cached before the call, and nothing of the call itself."""
    plan = plan_of(program, DECODER)
    start = calls(plan, "aten::arange")[0].args[0]
    for call in calls(plan, "aten::empty"):
        plan.values[call.args[0]].val.items[1] = start


def window_of_another_head(program: schema.Program) -> None:
    plan = plan_of(program, DECODER)
    first, second = (plan.values[call.args[2]].val for call in calls(plan, "aten::empty")[:2])
    first.allocation_info = second.allocation_info


def swapped_tables(program: schema.Program) -> None:
    first, second = calls(plan_of(program, DECODER), "aten::slice_copy")[:2]
    first.args[0], second.args[0] = second.args[0], first.args[0]


def first_position(program: schema.Program) -> None:
    """The head reads a call's first position: right wherever a call has one."""
    plan = plan_of(program, DECODER)
    slot = calls(plan, "aten::slice_copy")[-1].args[2]
    plan.values[slot].val = schema.Int(0)


def shared_memory(program: schema.Program) -> None:
    """Two caches lie in the same place."""
    plan = plan_of(program, DECODER)
    slots = [call.args[1] for call in calls(plan, "llama::update_cache")]
    plan.values[slots[2]].val.allocation_info = plan.values[slots[0]].val.allocation_info


def swapped_layers(program: schema.Program) -> None:
    """Two middle delegates in each other's place."""
    first, second = plan_of(program, DECODER).delegates[1:3]
    first.processed, second.processed = second.processed, first.processed


def smaller_input(program: schema.Program) -> None:
    plan = plan_of(program, EMBEDDING)
    plan.values[plan.inputs[0]].val.sizes[1] -= 1


def swapped_norms(program: schema.Program) -> None:
    """Two layers' norms under each other's names."""
    data = {named.key: named for named in program.named_data}
    first, second = (data[f"text_decoder.layers.{n}.norm1.weight"] for n in (0, 1))
    first.segment_index, second.segment_index = second.segment_index, first.segment_index


# --- delegates
def graph(method: str, index: int, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """A delegate's graph changed: its new payload lies behind the file's segments."""

    def inject(folder: Path) -> None:
        stored = StoredProgram.open(folder / FILE)
        program = copy.deepcopy(stored.program)
        delegate = plan_of(program, method).delegates[index]
        nodes = decode(stored.segment(delegate.processed.index))
        change(nodes)
        payload = encode(nodes)
        delegate.processed.index = len(program.segments)
        program.segments.append(schema.DataSegment(aligned(stored.size - stored.base), len(payload)))
        rewrite(stored, program, payload)

    return inject


def kind(nodes: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [node for node in nodes["xnodes"] if node["xnode_union_type"] == name]


def other_kind(old: str, new: str, place: int = -1) -> Callable[[dict[str, Any]], None]:
    def change(nodes: dict[str, Any]) -> None:
        kind(nodes, old)[place]["xnode_union_type"] = new

    return change


def silu_becomes_sigmoid(nodes: dict[str, Any]) -> None:
    """In the gated MLP: its gate without the factor x."""
    sigmoid = kind(nodes, "XNNSigmoid")[-1]["xnode_union"]
    silu = next(
        n for n in kind(nodes, "XNNMultiply") if n["xnode_union"]["input2_id"] == sigmoid["output_id"]
    )
    silu["xnode_union"]["input1_id"] = sigmoid["output_id"]


def dropped_bias(nodes: dict[str, Any]) -> None:
    linear = [n["xnode_union"] for n in kind(nodes, "XNNFullyConnected")]
    next(fields for fields in reversed(linear) if fields["bias_id"] != NO_ID)["bias_id"] = NO_ID


def swapped_projections(nodes: dict[str, Any]) -> None:
    """Keys and values cut out of each other's place."""
    first, second = [
        n["xnode_union"] for n in kind(nodes, "XNNStaticSlice") if n["xnode_union"]["num_dims"] == 3
    ][-2:]
    first["offsets"], second["offsets"] = second["offsets"], first["offsets"]


def one_range_for_all(nodes: dict[str, Any]) -> None:
    """Activations rounded with one range over all tokens, which the lifted copy does not round at all."""
    tensors = [v["xvalue_union"] for v in nodes["xvalues"] if v["xvalue_union_type"] != "XNNTensorValue"]
    rounded = next(t for t in tensors if t["tensor_value"]["datatype"] == "xnn_datatype_qdint8")
    rounded["quant_params"]["num_nonbatch_dims"] = 2


def other_epsilon(nodes: dict[str, Any]) -> None:
    """A norm adds its own scale instead of epsilon."""
    root = kind(nodes, "XNNReciprocalSquareRoot")[0]["xnode_union"]
    add = next(n for n in kind(nodes, "XNNAdd") if n["xnode_union"]["output_id"] == root["input_id"])
    add["xnode_union"]["input2_id"] = add["xnode_union"]["input1_id"]


# --- constants
def named(key: str, change: Callable[[np.ndarray], None], dtype: str = "f4") -> Callable[[Path], None]:
    """A delegate's constant, the first whose name begins with ``key``, altered in place."""

    def inject(folder: Path) -> None:
        stored = StoredProgram.open(folder / FILE)
        data = next(data for data in stored.program.named_data if data.key.startswith(key))
        segment = stored.program.segments[data.segment_index]
        overwrite(stored, segment.offset, segment.size, change, dtype)

    return inject


def constant(method: str, place: int, change: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    """The ``place``-th constant that a method's kernels read, altered in place."""

    def inject(folder: Path) -> None:
        stored = StoredProgram.open(folder / FILE)
        values = (value.val for value in stored.plan(method).values)
        tensors = [v for v in values if isinstance(v, schema.Tensor) and v.data_buffer_idx]
        tensor, where = tensors[place], stored.program.constant_segment
        start = stored.program.segments[where.segment_index].offset + where.offsets[tensor.data_buffer_idx]
        dtype = np.dtype("i1" if tensor.scalar_type.name == "CHAR" else "f4")
        size = int(np.prod(tensor.sizes)) * dtype.itemsize
        overwrite(stored, start, size, lambda flat: change(flat.reshape(tensor.sizes)), dtype)

    return inject


def overwrite(
    stored: StoredProgram, start: int, size: int, change: Callable[[np.ndarray], None], dtype: Any
) -> None:
    with open(stored.path, "r+b") as file:
        file.seek(stored.base + start)
        array = np.frombuffer(file.read(size), dtype).copy()
        change(array)
        file.seek(stored.base + start)
        file.write(array.tobytes())


def scaled(array: np.ndarray) -> None:
    array *= array.dtype.type(1.01)


def flip_one(array: np.ndarray) -> None:
    """The lowest bit of the last value."""
    array.view(np.uint8)[-array.itemsize] ^= 1


def last_sin(array: np.ndarray) -> None:
    array[-1, -1] += 0.01


def from_row(row: int, array: np.ndarray) -> None:
    array[row:] = 0


def other_row(array: np.ndarray) -> None:
    array[-1] = array[-2]


def cut(folder: Path) -> None:
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[: len(data) // 2])


def spoiled_tables(folder: Path) -> None:
    data = bytearray((folder / FILE).read_bytes())
    data[200:400] = bytes(200)
    (folder / FILE).write_bytes(data)


FAULTS: Final = (
    # Metadata.
    Fault("an end token more", "android", edited(further_end), DECLARED),
    Fault("a shorter chunk", "android", metadata("get_max_seq_len", 256), DECLARED),
    Fault("a longer context", "android", metadata("get_max_context_len", 4096), DECLARED),
    Fault("no KV cache", "android", metadata("use_kv_cache", False), DECLARED),
    Fault("no dynamic shapes", "android", edited(without_method), DECLARED),
    Fault("a method more", "android", edited(further_method), DECLARED),
    # Methods.
    Fault("no causal mask", "android", graph(DECODER, 0, other_kind("XNNMinimum", "XNNMaximum")), DECLARED),
    Fault("another attention scale", "android", named("scale.0.", scaled), DECLARED),
    Fault("keys for values", "android", edited(swapped_windows), DECLARED),
    Fault("no key of the call itself", "android", edited(shorter_window), DECLARED),
    Fault("keys of another head", "android", edited(window_of_another_head), DECLARED),
    Fault("cos and sin swapped", "android", edited(swapped_tables), DECLARED),
    Fault("a call's first position", "android", edited(first_position), DECLARED),
    Fault("two caches in one place", "android", edited(shared_memory), DECLARED),
    Fault("two layers swapped", "android", edited(swapped_layers), DECLARED),
    Fault("an id less per call", "android", edited(smaller_input), DECLARED),
    # Delegates.
    Fault("a silu is a sigmoid", "android", graph(DECODER, 1, silu_becomes_sigmoid), DECLARED),
    Fault("a GELU is a square", "android", graph(VISION, 0, other_kind("XNNGelu", "XNNSquare")), DECLARED),
    Fault("a dropped bias", "android", graph(DECODER, 1, dropped_bias), DECLARED),
    Fault("keys and values swapped", "android", graph(DECODER, 1, swapped_projections), DECLARED),
    Fault("one range for all tokens", "android", graph(DECODER, 2, one_range_for_all), DECLARED),
    Fault("a norm of another form", "android:fp32", graph(DECODER, 1, other_epsilon), DECLARED),
    # Constants.
    Fault("no RoPE from position 400", "android", constant(DECODER, 0, partial(from_row, 400)), FLOATS),
    Fault("the last sin", "android", constant(DECODER, 1, last_sin), FLOATS),
    Fault("an embedding row", "android", constant(EMBEDDING, 0, other_row), INTEGERS),
    Fault("a float embedding row", "android:fp32", constant(EMBEDDING, 0, other_row), FLOATS),
    Fault("a norm", "android", named(f"{LAYER}.norm1.weight", scaled), FLOATS),
    Fault("two norms swapped", "android", edited(swapped_norms), FLOATS),
    Fault("a bit of a bias", "android", named(f"{LAYER}.qkv.bias", flip_one), FLOATS),
    Fault("a phantom constant", "android", named(f"{LAYER}.phantom.key.scale", scaled), FLOATS),
    Fault("a bit of a float matrix", "android:fp32", named(f"{LAYER}.down.weight", flip_one), FLOATS),
    Fault("a row of means", "android", named("mean.", scaled), DECLARED),
    Fault("an epsilon", "android", named("eps.", scaled), DECLARED),
    Fault("a position", "android", named("vision_encoder.position_embedding", flip_one), DECLARED),
    Fault("an int4 weight", "android", named(f"{LAYER}.down.weight", flip_one, "u1"), INTEGERS),
    Fault("a scale of int4", "android", named(f"{LAYER}.down.weight.scales", flip_one, "u2"), INTEGERS),
    # The file.
    Fault("a file cut short", "android", cut, INTEGERS),
    Fault("damaged tables", "android", spoiled_tables, INTEGERS),
    Fault("a second program", "android", lambda folder: (folder / "other.pte").write_bytes(b"ET12"), STRAY),
)
