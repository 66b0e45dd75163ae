"""The table of implemented ops, filled by the ``ops_*`` modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch


@dataclass(frozen=True)
class OpSpec:
    """One MIL op.

    Attributes:
        run: takes the MIL parameters by name, gives a tensor or a tuple of them.
        host: parameters taken as plain Python values when they are constants (lists, numbers, texts).
        moves: the result holds only values of the inputs, so that there is nothing to round.
        fresh: the result never shares memory with an input.
        required, known: names of parameters, read off `run`'s signature.
    """

    run: Callable[..., Any]
    host: frozenset[str]
    moves: bool
    fresh: bool
    required: frozenset[str]
    known: frozenset[str]


OPS: dict[str, OpSpec] = {}
Run = TypeVar("Run", bound=Callable[..., Any])


def op(name: str, host: str = "", moves: bool = False, fresh: bool | None = None) -> Callable[[Run], Run]:
    """Registers a function for a MIL op; what `moves` values is taken to share memory unless `fresh`."""

    def register(run: Run) -> Run:
        parameters = inspect.signature(run).parameters.values()
        required = frozenset(p.name for p in parameters if p.default is p.empty)
        known = frozenset(p.name for p in parameters)
        is_fresh = not moves if fresh is None else fresh
        OPS[name] = OpSpec(run, frozenset(host.split()), moves, is_fresh, required, known)
        return run

    return register


def ints(value: Any) -> list[int]:
    """A list of integers from a constant (already Python) or from a tensor computed at run time."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    return value if isinstance(value, list) else [value]
