"""From a MIL function to a flat list of steps: names become slots, constants are bound, last uses known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from phantom_edge.errors import InputError
from phantom_edge.mil import ops_arithmetic, ops_layout  # noqa: F401 (they fill OPS)
from phantom_edge.mil.constants import Constant, ConstExpr, decode_value
from phantom_edge.mil.constexpr import BLOCKWISE
from phantom_edge.mil.package import Package
from phantom_edge.mil.registry import OPS, OpSpec
from phantom_edge.mil.types import MAX_COMPUTED, DType, Mode, count_elements, finisher, parse_type

Shape = tuple[int | None, ...]


@dataclass
class Step:
    """One op, ready to run: `slots` and `lists` are read from the environment, results go to `outs`."""

    label: str
    op: str
    run: Callable[..., Any]
    static: dict[str, Any]
    slots: tuple[tuple[str, int], ...]
    lists: tuple[tuple[str, tuple[int, ...]], ...]
    outs: tuple[int, ...]
    shapes: tuple[Shape, ...]
    finish: tuple[Callable[[torch.Tensor], torch.Tensor] | None, ...]
    free: tuple[int, ...] = ()

    def reads(self) -> Iterator[int]:
        """Every slot that the step reads."""
        yield from (slot for _, slot in self.slots)
        for _, slots in self.lists:
            yield from slots


@dataclass
class Function:
    """A compiled function: slots of `inputs` and `states` by name, and `constants` to fill before it runs.

    `matrices` are the constants that are nothing but weights of ``linear``.
    """

    name: str
    size: int
    inputs: dict[str, int]
    states: dict[str, int]
    types: dict[str, tuple[DType, Shape]]
    outputs: dict[str, int]
    constants: dict[int, Constant | ConstExpr]
    matrices: frozenset[int]
    values: list[Constant | ConstExpr]
    steps: list[Step]
    op_counts: dict[str, int] = field(default_factory=dict)


def unsupported_ops(program: Any, path: Path) -> list[str]:
    """Names of ops without an implementation, over all functions, sorted."""
    names = {op.type for function in program.functions.values() for op in _block(function, path).operations}
    return sorted(names - OPS.keys() - {BLOCKWISE, "const"})


def compile_function(name: str, function: Any, package: Package, mode: Mode) -> Function:
    """Binds names and constants. Raises :class:`InputError` for undefined names, wrong parameters, damage."""
    return _Compiler(name, package, mode).compile(function)


def _block(function: Any, path: Path) -> Any:
    blocks = function.block_specializations
    if function.opset in blocks:
        return blocks[function.opset]
    raise InputError(f"{path}: a function has no code for its opset {function.opset!r}; export it again")


def _name(operation: Any) -> str:
    """Of its first output, or its own where it has none (``write_state``)."""
    if operation.outputs:
        return str(operation.outputs[0].name)
    return next(iter(operation.attributes["name"].immediateValue.tensor.strings.values), "")


class _Compiler:
    def __init__(self, name: str, package: Package, mode: Mode):
        self.name = name
        self.package = package
        self.mode = mode
        self.slots: dict[str, int] = {}
        self.types: dict[str, tuple[DType, Shape]] = {}
        self.known: dict[str, Constant | ConstExpr] = {}
        self.constants: dict[int, Constant | ConstExpr] = {}
        self.values: list[Constant | ConstExpr] = []
        self.steps: list[Step] = []

    def compile(self, function: Any) -> Function:
        block = _block(function, self.package.path)
        inputs: dict[str, int] = {}
        states: dict[str, int] = {}
        for item in function.inputs:
            is_state = item.type.WhichOneof("type") == "stateType"
            (states if is_state else inputs)[item.name] = self._define(item)
        for operation in block.operations:
            if operation.type == "const":
                self._const(operation)
            elif operation.type == BLOCKWISE:
                self._constexpr(operation)
            else:
                self._step(operation)
        outputs = {name: self._slot(name, "its outputs") for name in block.outputs}
        self._release(set(outputs.values()))
        counts = Counter(operation.type for operation in block.operations)
        return Function(
            self.name,
            len(self.slots),
            inputs,
            states,
            self.types,
            outputs,
            self.constants,
            self._matrices(set(outputs.values())),
            self.values,
            self.steps,
            dict(sorted(counts.items())),
        )

    def _where(self, what: str) -> str:
        return f"{self.package.path}, function {self.name!r}: {what}"

    def _error(self, what: str) -> InputError:
        return InputError(self._where(what))

    def _define(self, item: Any) -> int:
        """A new slot for a named value."""
        if item.name in self.slots:
            raise self._error(f"{item.name!r} is defined twice; export it again")
        self.types[item.name] = parse_type(item.type, self._where(repr(item.name)))
        self.slots[item.name] = len(self.slots)
        return self.slots[item.name]

    def _slot(self, name: str, user: str) -> int:
        if name not in self.slots:
            raise self._error(f"{user} uses {name!r}, which is not defined; export it again")
        if name in self.known:
            self.constants[self.slots[name]] = self.known[name]
        return self.slots[name]

    def _const(self, operation: Any) -> None:
        if len(operation.outputs) != 1 or "val" not in operation.attributes:
            raise self._error("a const op without its value; export it again")
        name = operation.outputs[0].name
        value = decode_value(operation.attributes["val"], self.package, self._where(f"const {name!r}"))
        self._remember(operation.outputs[0], replace(value, name=name))

    def _constexpr(self, operation: Any) -> None:
        if len(operation.outputs) != 1:
            raise self._error(f"{operation.type} with {len(operation.outputs)} outputs; export it again")
        name = operation.outputs[0].name
        where = self._where(f"{operation.type} {name!r}")
        params: dict[str, Constant] = {}
        for key, argument in operation.inputs.items():
            if len(argument.arguments) != 1:
                raise InputError(f"{where}: {len(argument.arguments)} values for {key}; export it again")
            binding = argument.arguments[0]
            if binding.WhichOneof("binding") == "value":
                params[key] = decode_value(binding.value, self.package, f"{where}, {key}")
            elif isinstance(constant := self.known.get(binding.name), Constant):
                params[key] = constant
            else:
                raise InputError(f"{where}: {key} is {binding.name!r}, not a constant; export it again")
        dtype, shape = parse_type(operation.outputs[0].type, where)
        sizes = tuple(dim for dim in shape if dim is not None)
        self._remember(operation.outputs[0], ConstExpr(name, operation.type, dtype, sizes, params))

    def _remember(self, output: Any, value: Constant | ConstExpr) -> None:
        self._define(output)
        dtype, shape = self.types[output.name]
        if (dtype, shape) != (value.dtype, value.shape):
            declared = f"{output.name!r} declares {dtype.name} {list(shape)}"
            stored = f"{value.dtype.name} {list(value.shape)}"
            raise self._error(f"{declared} and holds {stored}; export it again")
        self.known[output.name] = value
        self.values.append(value)

    def _step(self, operation: Any) -> None:
        spec = OPS[operation.type]
        label = f"{operation.type} {_name(operation)!r}"
        self._check_parameters(spec, operation, label)
        static: dict[str, Any] = {}
        slots: list[tuple[str, int]] = []
        lists: list[tuple[str, tuple[int, ...]]] = []
        for key, argument in operation.inputs.items():
            names = [self._bound(binding, label, key) for binding in argument.arguments]
            if key == "values":  # the only tuple of tensors: concat's
                lists.append((key, tuple(self._slot(name, label) for name in names)))
            elif len(names) != 1:
                raise self._error(f"{label} has {len(names)} values for {key}; export it again")
            elif key in spec.host and isinstance(constant := self.known.get(names[0]), Constant):
                static[key] = constant.host()
            else:
                slots.append((key, self._slot(names[0], label)))
        outs = tuple(self._define(output) for output in operation.outputs)
        types = [self.types[output.name] for output in operation.outputs]
        for _, shape in types:
            count_elements(tuple(n for n in shape if n is not None), self._where(label), MAX_COMPUTED)
        finish = tuple(None if spec.moves else finisher(dtype, self.mode) for dtype, _ in types)
        self.steps.append(
            Step(
                label,
                operation.type,
                spec.run,
                static,
                tuple(slots),
                tuple(lists),
                outs,
                tuple(shape for _, shape in types),
                finish,
            )
        )

    def _bound(self, binding: Any, label: str, key: str) -> str:
        """The name an argument is bound to; a literal becomes a constant under a name of its own."""
        if binding.WhichOneof("binding") == "name":
            return str(binding.name)
        name = f"{label}.{key}.{len(self.slots)}"
        value = decode_value(binding.value, self.package, self._where(f"{label}, {key}"))
        self.slots[name] = len(self.slots)
        self.known[name] = value
        return name

    def _check_parameters(self, spec: OpSpec, operation: Any, label: str) -> None:
        given = set(operation.inputs)
        unknown, missing = given - spec.known, spec.required - given
        if unknown or missing:
            what = f"{'unknown' if unknown else 'without'} {', '.join(sorted(unknown or missing))}"
            raise self._error(f"{label} has parameters {what}; the interpreter must be taught this form")

    def _matrices(self, outputs: set[int]) -> frozenset[int]:
        """Constants that only ``linear`` reads, and only as its weight."""
        reads = Counter(slot for step in self.steps for slot in step.reads())
        weights = Counter(dict(step.slots).get("weight") for step in self.steps if step.op == "linear")
        alone = (s for s, n in weights.items() if s in self.constants and reads[s] == n and s not in outputs)
        return frozenset(alone)

    def _release(self, kept: set[int]) -> None:
        """Marks on each step the values that nobody needs after it."""
        needed_later = kept | self.constants.keys()
        for step in reversed(self.steps):
            used = set(step.reads()) | set(step.outs)
            step.free = tuple(sorted(used - needed_later))
            needed_later |= used
