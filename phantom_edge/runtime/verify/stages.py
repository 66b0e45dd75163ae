"""The artifact against torch, stage by stage: how far each result is off, and by what limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import Prompt, Trace

Pair = tuple[Prompt, Trace, Trace]  # a prompt, the reference's trace of it, and the artifact's


class Stage(NamedTuple):
    """One stage of one prompt: the artifact's values, and what they are held to.

    ``roundings`` are what one activation grid or two change in torch; they make the unit.
    """

    values: Floats
    expected: Floats
    roundings: tuple[Floats, ...]


def stages(pairs: list[Pair], format_name: str, kind: str) -> list[Check]:
    """Stage by stage, the largest difference over the reference's rms."""
    limit = tolerances.structure(format_name, kind)
    rows = [
        (
            "image tokens",
            [error(_image_tokens(t), _image_tokens(r)) for p, r, t in pairs if p.pixels is not None],
        )
    ]
    rows.append(("prefill logits", [error(t.logits[0], r.logits[0]) for _, r, t in pairs]))
    rows.append(("cached decode logits", [error(t.logits[1:], r.logits[1:]) for _, r, t in pairs]))
    checks = [Check.at_most(name, max(e), limit.limit, limit.reason) for name, e in rows if e]
    slack = [2 * limit.limit * rms(r.logits) for _, r, _ in pairs]
    return [*_embeddings(pairs, tolerances.embedding(format_name, kind)), *checks, _greedy(pairs, slack)]


def grid_stages(
    traces: list[Trace],
    expected: list[Trace],
    grids: Sequence[list[Reference]],
    format_name: str,
    limit: tolerances.Tolerance,
) -> list[Check]:
    """Stage by stage, the rms difference over what the runtimes' activation grids cost at that stage.

    Args:
        traces: what the artifact answers.
        expected: what it is held to: torch's answers, on the runtime's grid where its order of roundings is
            known, or those of another run.
        grids: the references with the grid of each of the two that has one.
        format_name: the artifact's format.
        limit: of that share.
    """
    rows = list(zip(traces, expected, *grids, strict=True))

    # Over all prompts together: what rounding costs at one position is a single draw, now and then a lucky
    # one, and a ratio of two draws says little. A fault of structure in any prompt still stands out, and the
    # lifted run is exact.
    def share(stages: list[Stage]) -> float:
        if any(s.values.shape != s.expected.shape or not np.isfinite(s.values).all() for s in stages):
            return float("inf")
        error = _pooled([s.values - s.expected for s in stages])
        costs = [_pooled(list(one)) for one in zip(*(s.roundings for s in stages), strict=True)]
        return error / max(float(np.hypot.reduce(costs)), 1e-6 * _pooled([s.expected for s in stages]))

    def stage(part: Callable[[Trace], Floats], trace: Trace, other: Trace, *own: Reference) -> Stage:
        roundings = tuple(part(r.plain) - part(r.trace) for r in own)
        return Stage(part(trace), part(other), roundings)

    by_stage: list[tuple[str, list[Stage]]] = [
        ("image tokens", [stage(_image_tokens, *row) for row in rows if row[0].image_tokens is not None]),
        # One row: prefill gives a single position of each prompt, too few draws for a limit, and its share of
        # the cache is in all the others. The lifted run holds it to its own limit.
        ("logits, prefill and cached decode", [stage(_logits, *row) for row in rows]),
    ]

    def check(name: str, stages: list[Stage]) -> Check:
        # Where no weight has a grid before it.
        if not any(rounding.any() for s in stages for rounding in s.roundings):
            exact = tolerances.structure(format_name, "integer")
            largest = max(error(s.values, s.expected) for s in stages)
            return Check.at_most(name, largest, exact.limit, exact.reason)
        unit = "of what rounding the activations costs"
        return Check.at_most(name, share(stages), limit.limit, limit.reason, unit)

    checks = [check(name, stages) for name, stages in by_stage if stages]
    traced = [(r.prompt, e, t) for t, e, r, *_ in rows]
    slack = [
        float(np.hypot.reduce([np.abs(r.plain.logits - r.trace.logits).max() for r in own]))
        for _, _, *own in rows
    ]
    return [
        *_embeddings(traced, tolerances.embedding(format_name, "integer")),
        *checks,
        _greedy(traced, slack),
    ]


def _embeddings(pairs: list[Pair], limit: tolerances.Tolerance) -> list[Check]:
    errors = [error(t.embeddings, r.embeddings) for p, r, t in pairs if p.pixels is None]
    return [Check.at_most("embeddings", max(errors), limit.limit, limit.reason)] if errors else []


def _greedy(pairs: list[Pair], slack: list[float]) -> Check:
    """Tokens chosen otherwise than the reference, but for ties: choices whose logits lie within ``slack``."""
    other = ties = total = 0
    for (_, reference, trace), within in zip(pairs, slack, strict=True):
        expected = reference.logits[:-1]
        chosen, best = trace.logits[:-1].argmax(-1), expected.argmax(-1)
        rows = np.arange(len(expected))
        tie = expected[rows, best] - expected[rows, chosen] <= within
        other += int(((chosen != best) & ~tie).sum())
        ties += int(((chosen != best) & tie).sum())
        total += len(expected)
    detail = f"{total - other - ties} of {total} equal" + (
        f", {ties} within the rounding of a tie" if ties else ""
    )
    return Check.at_most("greedy tokens that differ", other, 0, "the same text, token for token", detail)


def _logits(trace: Trace) -> Floats:
    return trace.logits


def _image_tokens(trace: Trace) -> Floats:
    assert trace.image_tokens is not None, "its prompt has a picture"
    return trace.image_tokens


def error(values: Floats, expected: Floats) -> float:
    """Largest difference over the reference's root mean square; infinite for NaN or another shape."""
    if values.shape != expected.shape or not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values - expected).max() / rms(expected))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _pooled(arrays: list[np.ndarray]) -> float:
    """Root mean square over several arrays together."""
    return rms(np.concatenate([array.ravel() for array in arrays]))
