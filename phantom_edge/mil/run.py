"""Runs the steps of a compiled function over an environment of slots."""

from __future__ import annotations

from typing import Any

import torch

from phantom_edge.errors import InputError
from phantom_edge.mil.compile import Function, Shape, Step


def run_steps(function: Function, env: list[Any]) -> None:
    """Executes in file order, drops values after their use. Raises :class:`InputError` where a step fails."""
    step: Step | None = None
    try:
        for step in function.steps:
            arguments = dict(step.static)
            for name, slot in step.slots:
                arguments[name] = env[slot]
            for name, slots in step.lists:
                arguments[name] = [env[slot] for slot in slots]
            result = step.run(**arguments)
            if isinstance(result, torch.Tensor):
                result = (result,)
            if len(result) != len(step.outs):
                raise ValueError(f"it gives {len(result)} values, {len(step.outs)} are declared")
            for value, slot, finish, shape in zip(result, step.outs, step.finish, step.shapes, strict=True):
                if value.shape != shape and not _fits(value.shape, shape):
                    raise ValueError(f"it gives shape {list(value.shape)}, {_show(shape)} is declared")
                env[slot] = finish(value) if finish else value
            for slot in step.free:
                env[slot] = None
    except InputError:
        raise
    except Exception as error:  # whatever torch raises on a program that does not hold together
        where = f"function {function.name!r}, {step.label if step else 'start'}"
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: {reason}; check the inputs, or export again") from error


def _fits(shape: torch.Size, declared: Shape) -> bool:
    pairs = zip(shape, declared, strict=False)
    return len(shape) == len(declared) and all(n is None or n == size for size, n in pairs)


def _show(shape: Shape) -> str:
    return f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
