"""Reports side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from phantom_edge.bench.report import Results
from phantom_edge.errors import InputError


def compare(paths: Sequence[str | Path]) -> Results:
    """The runs of several reports in one. Raises :class:`InputError` for fewer than two, or no such file."""
    runs = [run for path in paths for run in Results.from_file(path).runs]
    if len(runs) < 2:
        raise InputError("--compare needs two reports of `phantom-edge bench --json`, or one with two runs")
    tokens = {run.model.get("prompt_tokens") for run in runs} - {None}
    if len(tokens) > 1:
        for run in runs:
            run.notes.append("prompts of different lengths: first tokens and prefill are not comparable")
    return Results(runs)
