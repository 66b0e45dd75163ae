"""Small Core ML packages for the tests of the MIL interpreter, written by coremltools."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types

logging.getLogger("coremltools").setLevel(logging.ERROR)

IOS18 = ct.target.iOS18
PRECISION = {"fp32": ct.precision.FLOAT32, "fp16": ct.precision.FLOAT16}
MIL_TYPES = {
    np.dtype(np.float16): types.fp16,
    np.dtype(np.float32): types.fp32,
    np.dtype(np.int32): types.int32,
    np.dtype(np.int8): types.int8,
}

# The sum of a few fp32 roundings of values near 1; a wrong formula is off by 1e-3 and more.
FP32_TOLERANCE = 2e-6
# One rounding to fp16, relative: half of 2^-10; results are compared after the reference is rounded too, so
# at most one unit in the last place (2^-10) apart.
FP16_ULP = 2.0**-10


def save(program: Program, path: Path, target: Any = IOS18) -> Path:
    """Writes `program` as it is: no pass may fuse, fold or drop the op under test."""
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        skip_model_load=True,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
    )
    model.save(str(path))
    return path


def build(path: Path, arrays: dict[str, np.ndarray], body: Callable[..., Any], target: Any = IOS18) -> Path:
    """A package with inputs like `arrays`; `body` gives {output name: var} from their vars.

    Core ML has no bool input: a bool array becomes an int32 input, compared with 0 inside.
    """

    inputs = {
        name: mb.placeholder(
            shape=a.shape, dtype=MIL_TYPES[np.dtype(np.int32) if a.dtype == bool else a.dtype]
        )
        for name, a in arrays.items()
    }
    with Function(inputs, opset_version=target) as function:
        values = {
            name: mb.less_equal(x=np.int32(1), y=function.inputs[name])
            if a.dtype == bool
            else function.inputs[name]
            for name, a in arrays.items()
        }
        outputs = body(**values)
        for name, var in outputs.items():
            var.set_name(name)
        function.set_outputs(list(outputs.values()))
    program = Program()
    program.add_function("main", function)
    return save(program, path, target)


def convert(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    precision: str = "fp32",
    **options: Any,
) -> Path:
    """`module` through torch.export and coremltools, as an exporter does."""
    dynamic = options.pop("dynamic_shapes", None)
    program = torch.export.export(module.eval(), example, dynamic_shapes=dynamic).run_decompositions({})
    model = ct.convert(
        program,
        minimum_deployment_target=IOS18,
        compute_precision=PRECISION[precision],
        skip_model_load=True,
        **options,
    )
    model.save(str(path))
    return path
