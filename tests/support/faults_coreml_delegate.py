"""Faults in the Core ML package inside a ``.pte``, and in the method around it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from coreml_models import change_model
from faults import Fault
from faults_coreml import (
    DECLARED,
    FLOATS,
    INTEGERS,
    block_of,
    change_numbers,
    other_text,
    put,
    scaled,
    swapped,
)
from faults_executorch import plan_of, rewrite

from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.file import aligned
from phantom_edge.export.executorch.readback import StoredProgram
from phantom_edge.export.executorch_coreml import INPUT, OUTPUT, VISION, payload_of
from phantom_edge.export.executorch_coreml.payload import METADATA, MODEL, pack, unpack

Inject = Callable[[Path], None]


def repacked(change: Callable[[Path], object], outputs: str = OUTPUT) -> Inject:
    """The delegate's files, changed below a folder and packed again, identifier and all."""

    def inject(folder: Path) -> None:
        stored = StoredProgram.open(folder / FILE)
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "payload")
            root.mkdir()
            unpack(payload_of(stored), root)
            (root / METADATA).unlink()
            change(root)
            put_payload(stored, pack(root, [INPUT], [outputs]))

    return inject


def put_payload(stored: StoredProgram, payload: bytes) -> None:
    program = copy.deepcopy(stored.program)
    segment = program.segments[plan_of(program, VISION).delegates[0].processed.index]
    segment.offset = aligned(stored.size - stored.base)
    segment.size = len(payload)
    rewrite(stored, program, payload)


def in_package(change: Callable[[Any], object]) -> Inject:
    """The package's only function, changed."""
    return repacked(lambda root: change_model(root / MODEL, lambda model: change(block_of(model, "main"))))


def numbers(name: str, dtype: str, change: Callable[[Any], object]) -> Inject:
    return repacked(lambda root: change_numbers(root / MODEL, name, dtype, change))


def on_the_cpu(folder: Path) -> None:
    stored = StoredProgram.open(folder / FILE)
    program = copy.deepcopy(stored.program)
    plan_of(program, VISION).delegates[0].compile_specs[0].value = b"cpu_only"
    rewrite(stored, program)


def damaged(folder: Path) -> None:
    stored = StoredProgram.open(folder / FILE)
    put_payload(stored, payload_of(stored)[:-100])


def other_metadata(folder: Path) -> None:
    """The identifier of another model, whose compiled form a device may have."""
    stored = StoredProgram.open(folder / FILE)
    payload = payload_of(stored)
    start = payload.index(b"executorch_")
    put_payload(stored, payload[: start + 11] + b"0" * 32 + payload[start + 43 :])


def fault(name: str, inject: Inject, check: str = DECLARED) -> Fault:
    return Fault(name, "ios:executorch", inject, check)


NORM: Final = "vision_encoder__layers__1__norm2__weight"
FAULTS: Final = (
    fault("vision: GELU by tanh", in_package(other_text("gelu", "mode", "TANH_APPROXIMATION"))),
    fault("vision: an epsilon", in_package(scaled("layer_norm", "epsilon", 100.0))),
    fault(
        "vision: queries and keys swapped",
        in_package(swapped("scaled_dot_product_attention", "query", "key")),
    ),
    fault("vision: a norm removed", numbers(NORM, "<f2", put(slice(None), 1.0)), FLOATS),
    fault(
        "vision: a position's value",
        numbers("vision_encoder__position_embedding", "<f2", put(7, 1.0)),
        FLOATS,
    ),
    fault(
        "vision: an integer", numbers("vision_encoder__layers__0__fc1__weight", "<u1", put(5, 0x77)), INTEGERS
    ),
    fault("a file too many in the delegate", repacked(lambda root: (root / "more.txt").write_text("more"))),
    fault("the delegate's output has another name", repacked(lambda root: None, outputs="features")),
    fault("the delegate has another's identifier", other_metadata),
    fault("the delegate is told to use the CPU", on_the_cpu),
    fault("a damaged delegate", damaged, INTEGERS),
)
