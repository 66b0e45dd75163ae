"""`MilModel`: a loaded package, its functions, and calls to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.mil.compile import Function, compile_function, unsupported_ops
from phantom_edge.mil.constants import Constant, ConstExpr
from phantom_edge.mil.constexpr import dense
from phantom_edge.mil.describe import described_types
from phantom_edge.mil.inplace import use_state_in_place
from phantom_edge.mil.package import Package
from phantom_edge.mil.run import run_steps
from phantom_edge.mil.state import Buffer, MilState
from phantom_edge.mil.stored import StoredMatrix
from phantom_edge.mil.types import MODES, DType, Mode, TensorType, convert, finisher, round_fp16, to_numpy

DENSE_BYTES: Final = 4 << 30
"""Up to about a billion weights a program holds them in fp32."""
Quantized = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]


class MilModel:
    """A Core ML package that runs here. Use `MilModel.load`."""

    def __init__(
        self, package: Package, functions: dict[str, Function], default: str, mode: Mode, dense_bytes: int
    ):
        self.mode = mode
        self.keeps_dense = _matrix_bytes(functions) <= dense_bytes
        self._package = package
        self._functions = functions
        self._default = default
        self._templates: dict[str, list[Any]] = {}
        self._tensors: dict[Any, torch.Tensor] = {}  # constants by what they are, shared between functions

    @classmethod
    def load(cls, path: Path | str, mode: Mode = "typed", *, dense_bytes: int = DENSE_BYTES) -> MilModel:
        """Opens the package at `path` and checks all of it; weights are read when first needed.

        Args:
            path: an ``.mlpackage`` folder holding an ML Program.
            mode: "typed" rounds each result to its declared type, as a device would at best; "lifted" holds
                every float in fp32 whatever is declared, so that a difference from the source is a fault, not
                rounding.
            dense_bytes: where the weights of ``linear`` take more than that in fp32, they stay as they are in
                the file and become fp32 a few rows at a time, at every call: slower, and no memory of its
                own.

        Raises:
            InputError: not such a package, a damaged one, or ops that are not implemented (all are named).
        """
        if mode not in MODES:
            raise InputError(f"mode {mode!r} is not one of {', '.join(MODES)}")
        package = Package(Path(path))
        program = package.model.mlProgram
        missing = unsupported_ops(program, package.path)
        if missing:
            raise InputError(f"{path}: no implementation of {', '.join(missing)}; add it to phantom_edge/mil")
        sources = sorted(program.functions.items())
        functions = {name: compile_function(name, source, package, mode) for name, source in sources}
        if not functions:
            raise InputError(f"{path}: a program without functions; export it again")
        for function in functions.values():
            use_state_in_place(function)
        default = package.model.description.defaultFunctionName or "main"
        default = default if default in functions else next(iter(functions))
        return cls(package, functions, default, mode, dense_bytes)

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions, the default one first."""
        return (self._default, *(name for name in self._functions if name != self._default))

    def inputs(self, function: str | None = None) -> dict[str, TensorType]:
        """Inputs by name, in order, states aside."""
        compiled = self._function(function)
        return described_types(self._package.model, compiled, tuple(compiled.inputs))

    def outputs(self, function: str | None = None) -> dict[str, TensorType]:
        """Outputs by name, in order."""
        compiled = self._function(function)
        return {name: _tensor_type(compiled, name) for name in compiled.outputs}

    def states(self, function: str | None = None) -> dict[str, TensorType]:
        """States by name, in order."""
        compiled = self._function(function)
        return {name: _tensor_type(compiled, name) for name in compiled.states}

    def op_counts(self, function: str | None = None) -> dict[str, int]:
        """How often each op type occurs, ``const`` and ``constexpr_*`` among them."""
        return dict(self._function(function).op_counts)

    def constants(self, function: str | None = None) -> Iterator[Constant | ConstExpr]:
        """Every ``const`` and ``constexpr_*`` op in file order; `.fields` has the stored values."""
        yield from self._function(function).values

    def quantized_weights(self, function: str | None = None) -> dict[str, Quantized]:
        """Stored integers of each quantised weight by output name: (data, scale, offset or None).

        4 and 8 bit data come as int8 or uint8 in the weight's shape; scales in their stored type and shape.
        """
        return {
            value.name: (fields["data"], fields["scale"], fields.get("offset"))
            for value in self.constants(function)
            if isinstance(value, ConstExpr) and (fields := value.fields)
        }

    @property
    def constant_bytes(self) -> int:
        """Memory that constants take so far: all but the matrices that stay in the file."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def make_state(self, function: str | None = None) -> MilState:
        """State buffers of zeros, as a device makes them; good for every function with the same states."""
        buffers = {}
        for name, tensor_type in self.states(function).items():
            shape = tuple(dim for dim in tensor_type.shape if dim is not None)
            if len(shape) != len(tensor_type.shape):
                raise InputError(f"state {name!r} has shape {tensor_type}; a state must have a fixed one")
            dtype = self._function(function).types[name][0]
            buffers[name] = Buffer(dtype, torch.zeros(shape, dtype=dtype.torch_dtype))
        return MilState(buffers, self.mode)

    def predict(
        self, inputs: dict[str, NDArray[Any]], state: MilState | None = None, function: str | None = None
    ) -> dict[str, NDArray[Any]]:
        """Runs one function.

        Args:
            inputs: an array for every input, of a shape that its `TensorType` accepts.
            state: from `make_state`, updated in place; needed if the function has states. After an error in
                the middle of a call its content is undefined.
            function: a name from `functions`, the default one if None.

        Returns:
            Outputs by name, in the declared type; in lifted mode floats are fp32.

        Raises:
            InputError: inputs or state that do not fit, or an op that fails on them.
        """
        compiled = self._function(function)
        with torch.inference_mode():
            env = self._template(compiled).copy()
            for name, tensor in self._checked_inputs(compiled, inputs).items():
                env[compiled.inputs[name]] = tensor
            for name, buffer in self._checked_state(compiled, state).items():
                env[compiled.states[name]] = buffer
            run_steps(compiled, env)
            return {
                name: to_numpy(env[slot], compiled.types[name][0], self.mode)
                for name, slot in compiled.outputs.items()
            }

    def _function(self, name: str | None) -> Function:
        name = self._default if name is None else name
        if name not in self._functions:
            names = ", ".join(self._functions)
            raise InputError(f"{self._package.path}: no function {name!r}; there is {names}")
        return self._functions[name]

    def _template(self, function: Function) -> list[Any]:
        """An environment with the constants in place, made at the first call."""
        if function.name not in self._templates:
            env: list[Any] = [None] * function.size
            for slot, constant in function.constants.items():
                stored = slot in function.matrices and not self.keeps_dense
                matrix = StoredMatrix.of(constant, self.mode) if stored else None
                env[slot] = matrix or self._dense(constant)
            self._templates[function.name] = env
        return self._templates[function.name]

    def _dense(self, constant: Constant | ConstExpr) -> torch.Tensor:
        if constant.key not in self._tensors:
            self._tensors[constant.key] = self._tensor(constant)
        return self._tensors[constant.key]

    def _tensor(self, constant: Constant | ConstExpr) -> torch.Tensor:
        if isinstance(constant, ConstExpr):
            return finisher(constant.dtype, self.mode)(dense(constant))
        array = constant.read()
        if array.dtype in (np.uint16, np.uint32):
            array = array.astype(np.int64)
        return convert(torch.from_numpy(array), constant.dtype)

    def _checked_inputs(self, function: Function, inputs: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        types = self.inputs(function.name)
        if inputs.keys() != types.keys():
            expected, given = ", ".join(types) or "no inputs", ", ".join(inputs) or "none"
            raise InputError(f"function {function.name!r} takes {expected}; given {given}")
        result = {}
        for name, tensor_type in types.items():
            array = np.asarray(inputs[name])
            if not tensor_type.accepts(array.shape):
                raise InputError(f"input {name!r} takes {tensor_type}, not shape {list(array.shape)}")
            result[name] = self._input_tensor(name, array, function.types[name][0])
        return result

    def _input_tensor(self, name: str, array: NDArray[Any], dtype: DType) -> torch.Tensor:
        """Integers may become floats or integers of another size; floats never become integers."""
        if dtype.is_float:
            if array.dtype.kind not in "fiub":
                raise InputError(f"input {name!r} takes {dtype.name}, not {array.dtype}; give numbers")
            value = torch.from_numpy(array.astype(np.float32))  # a copy: the caller's array stays his
            return round_fp16(value) if self.mode == "typed" and dtype.name == "fp16" else value
        if array.dtype.kind not in "iub" or (array.size and np.any(array != array.astype(dtype.numpy))):
            raise InputError(f"input {name!r} takes {dtype.name}; convert these {array.dtype} values first")
        return convert(torch.from_numpy(array.astype(np.int64)), dtype)

    def _checked_state(self, function: Function, state: MilState | None) -> dict[str, Buffer]:
        if not function.states:
            return {}
        if state is None:
            states = ", ".join(function.states)
            raise InputError(f"function {function.name!r} has states {states}; give make_state()")
        if state.mode != self.mode:
            raise InputError(f"the state is {state.mode}, the model {self.mode}; make one from this model")
        for name in function.states:
            buffer = state.buffers.get(name)
            if buffer is None or (buffer.dtype, tuple(buffer.value.shape)) != function.types[name]:
                expected = self.states(function.name)[name]
                raise InputError(f"the state has no {name!r} of {expected}; use make_state()")
        return {name: state.buffers[name] for name in function.states}


def _tensor_type(function: Function, name: str) -> TensorType:
    dtype, shape = function.types[name]
    return TensorType(dtype.name, shape)


def _matrix_bytes(functions: dict[str, Function]) -> int:
    """What all weights of ``linear`` take in fp32, those counted once that functions share."""
    matrices = {f.constants[slot].key: f.constants[slot] for f in functions.values() for slot in f.matrices}
    return sum(4 * math.prod(matrix.shape) for matrix in matrices.values())
