"""Where a run computes, in which precision, and how it stays repeatable there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from phantom_edge.errors import InputError


def choose_device(name: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes the accelerator where there is one. Raises :class:`InputError`."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA device; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@contextlib.contextmanager
def computing(device: str, precision: str) -> Iterator[None]:
    """Make new tensors on ``device``; with ``bf16`` multiply matrices in it (what learns is fp32)."""
    place = contextlib.nullcontext() if device == "cpu" else torch.device(device)
    half = torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with place, half:
        yield


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """On CUDA, use only kernels that add in a fixed order; a CPU's do, for a fixed number of threads."""
    if device == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
