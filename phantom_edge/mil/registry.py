"""The table of implemented ops, filled by the ``ops_*`` modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class OpSpec:
    """One MIL op.

    Attributes:
        run: takes the MIL parameters by name, gives a tensor or a tuple of them.
        host: parameters wanted as plain Python values when they are constants (lists, numbers, texts).
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


def op(
    *names: str, host: str = "", moves: bool = False, fresh: bool | None = None
) -> Callable[[Callable], Callable]:
    """Registers a function for the MIL ops `names`; what moves values is taken to share memory unless
    `fresh`.
    """

    def register(run: Callable) -> Callable:
        parameters = inspect.signature(run).parameters.values()
        required = frozenset(p.name for p in parameters if p.default is p.empty)
        known = frozenset(p.name for p in parameters)
        is_fresh = not moves if fresh is None else fresh
        for name in names:
            OPS[name] = OpSpec(run, frozenset(host.split()), moves, is_fresh, required, known)
        return run

    return register


def ints(value: Any) -> list[int]:
    """A list of integers from a constant (already Python) or from a tensor computed at run time."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    return value if isinstance(value, list) else [value]


def scalar(value: Any) -> Any:
    """A number from a constant (already Python) or from a tensor of one element."""
    if isinstance(value, torch.Tensor):
        return value.item()
    return value[0] if isinstance(value, list) else value
