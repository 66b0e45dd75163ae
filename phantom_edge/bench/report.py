"""A benchmark's report: the runs of one command, as JSON, as tables and as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phantom_edge import __version__
from phantom_edge.bench import view
from phantom_edge.bench.results import MAX_REPORT_BYTES, SCHEMA, Run, checked_list
from phantom_edge.errors import InputError
from phantom_edge.report.report import Report
from phantom_edge.system.reading import read_json, reading


@dataclass
class Results:
    """A report: what was run."""

    runs: list[Run] = field(default_factory=list)

    def to_json(self) -> str:
        runs = [run.to_dict() for run in self.runs]
        data = {"schema": SCHEMA, "kind": "bench", "phantom_edge": __version__, "runs": runs}
        return json.dumps(data, indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """One page with tables and charts."""
        return view.page(self.runs)

    def report(self) -> Report:
        """Tables for a terminal."""
        return view.report(self.runs)

    @classmethod
    def from_file(cls, path: str | Path) -> Results:
        """Read a report written with ``--json``. Raises :class:`InputError` for anything else."""
        data = read_json(Path(path), MAX_REPORT_BYTES)
        if data.get("kind") != "bench" or not isinstance(data.get("schema"), int):
            raise InputError(f"{path}: not a report of `phantom-edge bench --json`")
        if data["schema"] > SCHEMA:
            newer = f"schema {data['schema']} is newer than this phantom-edge reads ({SCHEMA})"
            raise InputError(f"{path}: {newer}; update it")
        try:
            with reading("a run"):
                runs = [Run.from_dict(run) for run in checked_list(data.get("runs"), "runs")]
        except InputError as error:
            raise InputError(f"{path}: {error}; measure again") from None
        if not runs:
            raise InputError(f"{path}: holds no runs; measure again")
        return cls(runs)


def compare(paths: Sequence[str | Path]) -> Results:
    """The runs of several reports in one. Raises :class:`InputError` for fewer than two, or no such file."""
    runs = [run for path in paths for run in Results.from_file(path).runs]
    if len(runs) < 2:
        raise InputError("--compare needs two reports of `phantom-edge bench --json`, or one with two runs")
    if len({run.model.get("prompt_tokens") for run in runs} - {None}) > 1:
        for run in runs:
            run.notes.append("prompts of different lengths: first tokens and prefill are not comparable")
    return Results(runs)
