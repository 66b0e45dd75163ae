"""Faults in Core ML bundles: in each function, in constants, in what a package declares."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from coreml_models import change_model
from faults import Fault, edit_json
from numpy.typing import NDArray

from phantom_edge.export.coreml.package import MANIFEST, MODEL, WEIGHTS
from phantom_edge.export.coreml.toolkit import coremltools

DECODER, EMBEDDING, VISION = "text_decoder", "token_embedding", "vision_encoder"
DECLARED, FLOATS, INTEGERS = "declarations that differ", "floats that differ", "integers that differ"
STRAY: Final = "files that no check reads"
HALVES: Final = 2
LAYER: Final = "text_decoder__layers__1"
RUN: Final = {
    "main": "prefill logits",
    "prefill": "prefill of the whole context",
    "decode": "decode at the end of the context",
}
"""Each of the decoder's functions, and a check that fails where the function computes something else."""
Inject = Callable[[Path], None]


def package(folder: Path, graph: str) -> Path:
    return folder / f"{graph}.mlpackage"


# --- the model file
def edited(graph: str, change: Callable[[Any], object]) -> Inject:
    """The graph's ``Model`` message, changed."""
    return lambda folder: change_model(package(folder, graph), change)


def in_function(name: str, change: Callable[[Any], object], graph: str = DECODER) -> Inject:
    """One function's block, changed."""
    return edited(graph, lambda model: change(block_of(model, name)))


def block_of(model: Any, name: str) -> Any:
    function = model.mlProgram.functions[name]
    return function.block_specializations[function.opset]


def operations(block: Any, kind: str) -> list[Any]:
    return [operation for operation in block.operations if operation.type == kind]


def const(block: Any, name: str) -> Any:
    """The value of the constant ``name``."""
    (operation,) = (op for op in operations(block, "const") if op.outputs[0].name == name)
    return operation.attributes["val"]


def operand(block: Any, operation: Any, key: str) -> Any:
    """The value of a constant that an operation reads."""
    return const(block, operation.inputs[key].arguments[0].name)


def other_type(kind: str, becomes: str, index: int = 0) -> Callable[[Any], None]:
    def change(block: Any) -> None:
        operations(block, kind)[index].type = becomes

    return change


def other_text(kind: str, key: str, text: str, index: int = 0) -> Callable[[Any], None]:
    """A word that an operation reads, such as a mode."""

    def change(block: Any) -> None:
        operand(block, operations(block, kind)[index], key).immediateValue.tensor.strings.values[0] = text

    return change


def other_ints(kind: str, key: str, at: int, value: int, index: int = 0) -> Callable[[Any], None]:
    """One of the integers that an operation reads."""

    def change(block: Any) -> None:
        operand(block, operations(block, kind)[index], key).immediateValue.tensor.ints.values[at] = value

    return change


def scaled(kind: str, key: str, factor: float, index: int = 0) -> Callable[[Any], None]:
    """A float16 that an operation reads, times ``factor``."""

    def change(block: Any) -> None:
        times(operand(block, operations(block, kind)[index], key), factor)

    return change


def times(value: Any, factor: float) -> None:
    numbers = np.frombuffer(value.immediateValue.tensor.bytes.values, np.float16)
    value.immediateValue.tensor.bytes.values = (numbers * np.float16(factor)).tobytes()


def swapped(kind: str, one: str, other: str, index: int = 0) -> Callable[[Any], None]:
    """Two operands of an operation in each other's place."""

    def change(block: Any) -> None:
        inputs = operations(block, kind)[index].inputs
        first, second = (inputs[name].arguments[0].name for name in (one, other))
        inputs[one].arguments[0].name, inputs[other].arguments[0].name = second, first

    return change


ONE_FEWER = """
operations {{
  type: "const" outputs {{ name: "one" type {{ tensorType {{ dataType: INT32 }} }} }}
  attributes {{
    key: "val"
    value {{
      type {{ tensorType {{ dataType: INT32 }} }} immediateValue {{ tensor {{ ints {{ values: 1 }} }} }}
    }}
  }}
}}
operations {{
  type: "sub" outputs {{ name: "fewer" }}
  inputs {{ key: "x" value {{ arguments {{ name: "{rows}" }} }} }}
  inputs {{ key: "y" value {{ arguments {{ name: "one" }} }} }}
}}
"""


def short_mask(block: Any) -> None:
    """No row sees its own position."""
    from google.protobuf import text_format

    (compare,) = operations(block, "less_equal")
    limit = compare.inputs["y"].arguments[0]
    (rows,) = (op for op in block.operations if op.outputs and op.outputs[0].name == limit.name)
    made = text_format.Parse(ONE_FEWER.format(rows=limit.name), type(block)())
    made.operations[1].outputs[0].type.CopyFrom(rows.outputs[0].type)
    limit.name = "fewer"
    put_before(block, compare, made.operations)


def put_before(block: Any, place: Any, added: Any) -> None:
    index = list(block.operations).index(place)
    copies = [type(place).FromString(op.SerializeToString()) for op in block.operations]
    copies[index:index] = added
    del block.operations[:]
    block.operations.extend(copies)


def other_state(block: Any) -> None:
    """Layer 1 writes its keys where layer 0 has its own."""
    operations(block, "write_state")[2].inputs["input"].arguments[0].name = "key_cache_0"


def without_attention_mask(block: Any) -> None:
    del operations(block, "scaled_dot_product_attention")[1].inputs["attn_mask"]


def crossed_halves(block: Any) -> None:
    """The halves of the first queries are not swapped when they are rotated."""
    joined = [op for op in operations(block, "concat") if len(op.inputs["values"].arguments) == HALVES]
    first, second = joined[1].inputs["values"].arguments  # the first is RMSNorm's
    first.name, second.name = second.name, first.name


def swapped_constants(one: str, other: str) -> Callable[[Any], None]:
    """Two constants of one shape in each other's place of the weight file."""

    def change(block: Any) -> None:
        first, second = (const(block, name).blobFileValue for name in (one, other))
        first.offset, second.offset = second.offset, first.offset

    return change


def without_function(model: Any) -> None:
    del model.mlProgram.functions["prefill"]
    del model.description.functions[[f.name for f in model.description.functions].index("prefill")]


def further_function(model: Any) -> None:
    model.mlProgram.functions["draft"].CopyFrom(model.mlProgram.functions["decode"])
    (decode,) = (f for f in model.description.functions if f.name == "decode")
    added = model.description.functions.add()
    added.CopyFrom(decode)
    added.name = "draft"


def further_opset(model: Any) -> None:
    """Code that a later system would prefer."""
    function = model.mlProgram.functions["decode"]
    block = function.block_specializations["CoreML9"]
    block.CopyFrom(function.block_specializations[function.opset])
    operations(block, "silu")[0].type = "sigmoid"


def described(function: str, change: Callable[[Any], object]) -> Inject:
    """What the description says of one of the decoder's functions, changed."""

    def change_description(model: Any) -> None:
        (item,) = (f for f in model.description.functions if f.name == function)
        change(item)

    return edited(DECODER, change_description)


def shorter_range(item: Any) -> None:
    item.input[1].type.multiArrayType.shapeRange.sizeRanges[0].upperBound -= 1


def shorter_state(item: Any) -> None:
    item.state[0].type.stateType.arrayType.shape[2] -= 1


def renamed_output(item: Any) -> None:
    item.output[0].name = "scores"


# --- the weight file
Change = Callable[[NDArray[Any]], object]


def numbers(graph: str, name: str, dtype: str, change: Change, function: str = "main") -> Inject:
    """A constant of the weight file, changed in place."""

    def inject(folder: Path) -> None:
        change_numbers(package(folder, graph), name, dtype, change, function)

    return inject


def change_numbers(path: Path, name: str, dtype: str, change: Change, function: str = "main") -> None:
    coremltools()
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model.FromString((path / MODEL).read_bytes())
    block = block_of(model, function)
    (operation,) = (op for op in block.operations if op.outputs and op.outputs[0].name == name)
    value = (
        operation.attributes["val"]
        if operation.type == "const"
        else operation.inputs["data"].arguments[0].value
    )
    data = np.memmap(path / WEIGHTS, np.uint8, "r+")
    size, start = (int(part) for part in data[value.blobFileValue.offset :][8:24].view(np.uint64))
    change(data[start : start + size].view(dtype))
    data.flush()


def put(at: Any, value: float) -> Change:
    def change(array: NDArray[Any]) -> None:
        array[at] = value

    return change


def add(at: int, value: int) -> Change:
    def change(array: NDArray[Any]) -> None:
        array[at] += value

    return change


def cut(graph: str, count: int) -> Inject:
    """The weight file without its last bytes."""

    def inject(folder: Path) -> None:
        path = package(folder, graph) / WEIGHTS
        path.write_bytes(path.read_bytes()[:-count])

    return inject


def longer(folder: Path) -> None:
    with open(package(folder, DECODER) / WEIGHTS, "ab") as file:
        file.write(bytes(64))


def flipped(folder: Path) -> None:
    path = package(folder, VISION) / MODEL
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(b ^ 0xFF for b in data[len(data) // 2 :])
    path.write_bytes(bytes(data))


# --- the package
def further_item(folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        item = {"author": "", "description": "", "name": "more", "path": "com.apple.CoreML/more"}
        manifest["itemInfoEntries"]["0"] = item

    edit_json(package(folder, VISION) / MANIFEST, change)


def further_file(folder: Path) -> None:
    shutil.copy(
        package(folder, VISION) / WEIGHTS, package(folder, VISION) / WEIGHTS.replace("weight.bin", "old.bin")
    )


HEAD_DIM_ROWS = 16  # floats of a row of the rotary tables: the tiny checkpoint's head dimension
ROWS_400 = slice(400 * HEAD_DIM_ROWS, None)


def fault(name: str, inject: Inject, check: str = DECLARED, target: str = "ios") -> Fault:
    return Fault(name, target, inject, check)


FAULTS: Final = (
    *(fault(f"{f}: mask one position short", in_function(f, short_mask), run) for f, run in RUN.items()),
    *(
        fault(f"{f}: silu is a sigmoid", in_function(f, other_type("silu", "sigmoid", 1)), run)
        for f, run in RUN.items()
    ),
    fault("decode: mask of zero", in_function("decode", scaled("mul", "y", 0.0))),
    fault("decode: mask of 1e-4", in_function("decode", scaled("mul", "y", 0.0001))),
    fault("prefill: a layer without a mask", in_function("prefill", without_attention_mask)),
    fault("prefill: a layer writes into another's cache", in_function("prefill", other_state)),
    fault(
        "decode: keys and values swapped",
        in_function("decode", swapped("scaled_dot_product_attention", "key", "value", 1)),
    ),
    fault(
        "prefill: the last position but one",
        in_function("prefill", other_ints("slice_by_index", "begin", 1, -2)),
    ),
    fault("decode: RoPE's halves the wrong way round", in_function("decode", crossed_halves)),
    fault(
        "decode: norms swapped",
        in_function("decode", swapped_constants(f"{LAYER}__norm1__weight", f"{LAYER}__norm2__weight")),
    ),
    fault(
        "prefill: phantom of a layer twice as large",
        in_function("prefill", lambda block: times(const(block, f"{LAYER}__phantom__value__scale"), 2)),
    ),
    fault("main: epsilon", in_function("main", scaled("layer_norm", "epsilon", 100.0))),
    fault("vision: an epsilon", in_function("main", scaled("layer_norm", "epsilon", 100.0), VISION)),
    fault(
        "vision: GELU by tanh", in_function("main", other_text("gelu", "mode", "TANH_APPROXIMATION"), VISION)
    ),
    fault(
        "vision: queries and keys swapped",
        in_function("main", swapped("scaled_dot_product_attention", "query", "key"), VISION),
    ),
    fault("no prefill", edited(DECODER, without_function)),
    fault("a function too many", edited(DECODER, further_function)),
    fault("code for a later system", edited(DECODER, further_opset)),
    fault(
        "another default function",
        edited(DECODER, lambda m: setattr(m.description, "defaultFunctionName", "decode")),
    ),
    fault("main: a shorter range of steps", described("main", shorter_range)),
    fault("decode: a shorter state", described("decode", shorter_state)),
    fault("prefill: an output of another name", described("prefill", renamed_output)),
    fault("an older system's version", edited(VISION, lambda m: setattr(m, "specificationVersion", 8))),
    fault("a cache position masked", numbers(DECODER, "cache_positions", "<i4", put(300, 2**30))),
    fault("RoPE zero from 400", numbers(DECODER, "rope_cos", "<f4", put(ROWS_400, 0.0)), FLOATS),
    fault(
        "RoPE's last row", numbers(DECODER, "rope_sin", "<f4", put(slice(-HEAD_DIM_ROWS, None), 0.25)), FLOATS
    ),
    fault("an embedding row", numbers(EMBEDDING, "token_embedding__weight", "<i1", add(-1, 1)), INTEGERS),
    fault(
        "a float embedding row",
        numbers(EMBEDDING, "token_embedding__weight", "<f2", put(-1, 1.0)),
        FLOATS,
        "ios:fp16",
    ),
    fault(
        "a norm removed", numbers(DECODER, f"{LAYER}__norm2__weight", "<f2", put(slice(None), 1.0)), FLOATS
    ),
    fault("a bias dropped", numbers(DECODER, f"{LAYER}__qkv__bias", "<f2", put(slice(None), 0.0)), FLOATS),
    fault("a bias where there is none", numbers(DECODER, "linear_1_bias_0", "<f2", put(0, 1.0))),
    fault(
        "a patch embedding's value",
        numbers(VISION, "vision_encoder__patch_embedding__weight", "<f2", put(7, 1.0)),
        FLOATS,
    ),
    fault(
        "a position embedding's value",
        numbers(VISION, "vision_encoder__position_embedding", "<f2", put(7, 1.0)),
        FLOATS,
    ),
    fault(
        "an integer of a matrix", numbers(DECODER, f"{LAYER}__down__weight", "<u1", put(5, 0x77)), INTEGERS
    ),
    fault(
        "layers swapped",
        in_function("main", swapped_constants("text_decoder__layers__0__qkv__bias", f"{LAYER}__qkv__bias")),
        FLOATS,
    ),
    fault("weights cut short", cut(DECODER, 4096), INTEGERS),
    fault("weights with an end of their own", longer),
    fault("a damaged model file", flipped, INTEGERS),
    fault("a package with another item", further_item),
    fault("a file too many", further_file, STRAY),
)
