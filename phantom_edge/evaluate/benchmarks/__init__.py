"""Benchmarks from copies on this machine, in the layouts they are published in. Nothing is downloaded.

Prompts, caps and scoring are those of the published evaluation (``loader/create_eval_dataset.py``,
``utils/utils.py`` and ``eval/`` of ByungKwanLee/Phantom), the picture before the question, as in its demo.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Suite

BENCHMARKS = ("scienceqa", "ai2d", "chartqa", "pope", "mmbench", "mmstar")


def benchmark_suite(name: str, data: str | Path) -> Suite:
    """All questions of a benchmark; ``data`` is its folder, the folder that holds it, or its table.

    Raises :class:`InputError` for an unknown name, and for ``data`` that is not as published.
    """
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    load: Callable[[Path], Suite] = import_module(f"{__name__}.{name}").load
    return load(Path(data))
