"""Faults in Core AI assets, put into their programs by the converter's own library."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from faults import Fault, edit_json

from phantom_edge.export.coreai import file
from phantom_edge.export.coreai.asset import Asset
from phantom_edge.export.coreai.toolkit import open_asset

DECODER, EMBEDDING, VISION = "text_decoder", "token_embedding", "vision_encoder"
DECLARED, FLOATS, INTEGERS = "declarations that differ", "floats that differ", "integers that differ"
Inject = Callable[[Path], None]


def edited(graph: str, change: Callable[[dict[str, Any]], object]) -> Inject:
    """A program whose functions ``change`` alters, saved with its own hash."""

    def inject(folder: Path) -> None:
        path = folder / file(graph)
        program = open_asset(path).program
        operation = program._module._mlir_module.operation
        change({op.attributes["sym_name"].value: op for op in body(operation)})
        with tempfile.TemporaryDirectory() as scratch:
            program.save_asset(Path(scratch, "saved.aimodel"))
            shutil.copy(Path(scratch, "saved.aimodel", "main.mlirb"), path / "main.mlirb")
        rehash(path)

    return inject


def rehash(path: Path) -> None:
    digest = hashlib.sha256((path / "main.mlirb").read_bytes()).digest()
    (path / "main.hash").write_bytes(digest)


def body(operation: Any) -> Iterator[Any]:
    return (op for region in operation.regions for block in region.blocks for op in block.operations)


def constants(function: Any, text: str) -> Iterator[Any]:
    """Constants of a function whose value begins so."""
    return (
        op
        for op in body(function)
        if op.name == "coreai.constant" and str(op.attributes["value"]).startswith(text)
    )


def other_constant(
    function: str, begins: str, becomes: str, index: int = 0
) -> Callable[[dict[str, Any]], None]:
    def change(functions: dict[str, Any]) -> None:
        from coreai._compiler._mlir_libs._mlir import ir

        operation = list(constants(functions[function], begins))[index]
        with operation.context:
            operation.attributes["value"] = ir.Attribute.parse(f"{becomes} : {operation.results[0].type}")

    return change


def other_operand(
    function: str, kind: str, index: int, one: int, other: int
) -> Callable[[dict[str, Any]], None]:
    """Two operands of an operation in each other's place."""

    def change(functions: dict[str, Any]) -> None:
        operation = [op for op in body(functions[function]) if op.name == kind][index]
        first, second = operation.operands[one], operation.operands[other]
        operation.operands[one], operation.operands[other] = second, first

    return change


def crossed_tables(functions: dict[str, Any]) -> None:
    """cos where sin should be looked up, and the other way round."""
    first, second = [op for op in body(functions["decode"]) if op.name == "coreai.gather_nd"]
    first.operands[0], second.operands[0] = second.operands[0], first.operands[0]


def renamed_output(functions: dict[str, Any]) -> None:
    from coreai._compiler._mlir_libs._mlir import ir

    function = functions["prefill"]
    names = str(function.attributes["res_attrs"]).replace('"logits"', '"scores"')
    with function.context:
        function.attributes["res_attrs"] = ir.Attribute.parse(names)


def other_scale(functions: dict[str, Any]) -> None:
    """Every attention op divides by twice as much."""
    from coreai._compiler._mlir_libs._mlir import ir

    for name, function in functions.items():
        if name.startswith("sdpa"):
            (scale,) = (
                op for op in constants(function, "dense<") if str(op.results[0].type) == "tensor<f32>"
            )
            with scale.context:
                scale.attributes["value"] = ir.Attribute.parse("dense<0.125> : tensor<f32>")


def replaced(
    graph: str, find: Callable[[Path], bytes], change: Callable[[np.ndarray], object], dtype: str
) -> Inject:
    """Bytes of a constant, changed where they lie in the program's file."""

    def inject(folder: Path) -> None:
        path = folder / file(graph)
        program, old = (path / "main.mlirb").read_bytes(), find(folder)
        assert program.count(old) == 1
        array = np.frombuffer(old, dtype).copy()
        change(array)
        (path / "main.mlirb").write_bytes(program.replace(old, array.tobytes()))
        rehash(path)

    return inject


def cos(folder: Path) -> bytes:
    return Asset.open(folder / file(DECODER)).rotary_tables()[0].numpy().tobytes()


def table(folder: Path) -> bytes:
    return Asset.open(folder / file(EMBEDDING)).weights()["token_embedding"].values.numpy().tobytes()


def positions(folder: Path) -> bytes:
    return np.arange(CONTEXT, dtype="<i4").tobytes()


def put(at: Any, value: float) -> Callable[[np.ndarray], object]:
    def change(array: np.ndarray) -> None:
        array[at] = value

    return change


def described_as(folder: Path) -> None:
    def change(metadata: dict[str, Any]) -> None:
        weights = metadata["creatorDefinedMetadata"]["phantom_edge.weights"]
        weights[0][0], weights[1][0] = weights[1][0], weights[0][0]

    edit_json(folder / file(DECODER) / "metadata.json", change)


def without_hash(folder: Path) -> None:
    (folder / file(VISION) / "main.hash").write_bytes(bytes(32))


def cut(folder: Path) -> None:
    path = folder / file(VISION)
    (path / "main.mlirb").write_bytes((path / "main.mlirb").read_bytes()[:-100])
    rehash(path)


def further_file(folder: Path) -> None:
    (folder / file(VISION) / "more.mlirb").write_bytes(b"more")


def fault(name: str, inject: Inject, check: str = DECLARED) -> Fault:
    return Fault(name, "ios:coreai", inject, check)


CONTEXT: Final = 640
HALF_HEAD: Final = 8  # columns of the rotary tables of the tiny checkpoint
EPSILON = "dense<9.99999997E-7> : tensor<f32>"
PREFILL, DECODE = "prefill of the whole context", "decode at the end of the context"
FAULTS: Final = (
    fault("prefill: epsilon", edited(DECODER, other_constant("prefill", EPSILON, "dense<0.1>")), PREFILL),
    fault("decode: epsilon", edited(DECODER, other_constant("decode", EPSILON, "dense<0.1>")), DECODE),
    fault(
        "decode: mask of -1",
        edited(DECODER, other_constant("decode", "dense<-1.000000e+04>", "dense<-1.0>")),
        "cached decode logits",
    ),
    fault(
        "prefill: mask of -1",
        edited(DECODER, other_constant("prefill", "dense<-1.000000e+04>", "dense<-1.0>")),
        PREFILL,
    ),
    fault(
        "decode: RoPE turns the other way",
        edited(DECODER, other_operand("decode", "coreai.decomposable.broadcasting_sub", 0, 0, 1)),
        DECODE,
    ),
    fault("decode: cos for sin", edited(DECODER, crossed_tables), FLOATS),
    fault("attention with another scale", edited(DECODER, other_scale), PREFILL),
    fault(
        "prefill: other scales of a matrix",
        edited(DECODER, other_constant("prefill", 'dense<"0x', "dense<1.0>")),
    ),
    fault(
        "decode: other scales of a matrix",
        edited(DECODER, other_constant("decode", 'dense<"0x', "dense<1.0>")),
    ),
    fault(
        "vision: queries and keys swapped",
        edited(VISION, other_operand("main", "coreai.invoke", 1, 0, 1)),
        "image tokens",
    ),
    fault("prefill: an output of another name", edited(DECODER, renamed_output)),
    fault(
        "RoPE zero from 400", replaced(DECODER, cos, put(slice(400 * HALF_HEAD, None), 0.0), "<f4"), FLOATS
    ),
    fault("RoPE's last row", replaced(DECODER, cos, put(slice(-HALF_HEAD, None), 0.5), "<f4"), FLOATS),
    fault("a cache position masked", replaced(DECODER, positions, put(300, 2**30), "<i4"), PREFILL),
    fault("an embedding row", replaced(EMBEDDING, table, put(-1, 77), "<i1"), INTEGERS),
    fault("descriptions of two weights swapped", described_as, INTEGERS),
    fault("a program of another hash", without_hash, INTEGERS),
    fault("a file too many", further_file, "files that no check reads"),
)
