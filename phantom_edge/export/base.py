"""What the exporters share: the options they take and the description they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from phantom_edge.errors import CheckError

GRAPHS = ("vision_encoder", "token_embedding", "text_decoder")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportOptions:
    """What one export needs beyond the folded, quantised model.

    ``context`` is the KV cache's length in tokens, ``chunk`` the most tokens one decoder call takes (prefill is cut
    into such pieces), ``float_type`` the type of everything that is not quantised (``fp32`` or ``fp16``),
    ``end_ids`` the ids that end an answer.
    """

    context: int
    chunk: int
    float_type: str
    end_ids: tuple[int, ...]


@dataclass(frozen=True)
class Exported:
    """Files of one export relative to the output folder, by graph, and what was counted in them.

    ``counts`` holds, per graph, how many of each checked operation the artifact has; :func:`require_counts` compared
    them with what the model must give. ``notes`` are sentences for the report: every deviation that an exporter made.
    """

    files: dict[str, Path]
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...] = field(default=())


def require_counts(graph: str, found: dict[str, int], wanted: dict[str, int]) -> None:
    """Raise :class:`CheckError` when the artifact lacks a fused attention op or a quantised weight, or has extra."""
    wrong = [f"{op} {found.get(op, 0)} (expected {n})" for op, n in wanted.items() if found.get(op, 0) != n]
    if wrong:
        raise CheckError(f"{graph}: the exported graph is not what was asked for: {', '.join(wrong)}")
