"""The artifact against torch, stage by stage: how far each result is off, and by what limit."""

from __future__ import annotations

import numpy as np

from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import Prompt, Trace

Pair = tuple[Prompt, Trace, Trace]  # a prompt, the reference's trace of it, and the artifact's
Triple = tuple[Floats, Floats, Floats]  # the artifact's values, the reference's, and those without a grid


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
    references: list[Reference], traces: list[Trace], format_name: str, *, npu: bool = False
) -> list[Check]:
    """Stage by stage, the rms difference over what the runtime's activation grid costs at that stage.

    Of an ``npu`` the order of roundings within an operation is not known: there it is the difference to what
    torch computes without rounding.
    """
    pairs = list(zip(references, traces, strict=True))

    # Over all prompts together: what rounding costs at one position is a single draw, now and then a lucky
    # one, and a ratio of two draws says little. A fault of structure in any prompt still stands out, and the
    # lifted run is exact.
    def share(triples: list[Triple]) -> float:
        if any(
            values.shape != expected.shape or not np.isfinite(values).all() for values, expected, _ in triples
        ):
            return float("inf")
        error = _pooled([values - (plain if npu else expected) for values, expected, plain in triples])
        cost = _pooled([plain - expected for _, expected, plain in triples])
        return error / max(cost, 1e-6 * _pooled([expected for _, expected, _ in triples]))

    with_image = [(r, t) for r, t in pairs if r.prompt.pixels is not None]
    rows: list[tuple[str, list[Triple]]] = [
        (
            "image tokens",
            [(_image_tokens(t), _image_tokens(r.trace), _image_tokens(r.plain)) for r, t in with_image],
        ),
        # One row: prefill gives a single position of each prompt, too few draws for a limit, and its share of
        # the cache is in all the others. The lifted run holds it to its own limit.
        ("logits, prefill and cached decode", [(t.logits, r.trace.logits, r.plain.logits) for r, t in pairs]),
    ]

    def check(name: str, triples: list[Triple]) -> Check:
        # Where no weight has a grid before it.
        if all(np.array_equal(expected, plain) for _, expected, plain in triples):
            limit = tolerances.structure(format_name, "integer")
            return Check.at_most(name, max(error(f, w) for f, w, _ in triples), limit.limit, limit.reason)
        limit, unit = tolerances.NPU if npu else tolerances.GRID, "of what rounding the activations costs"
        return Check.at_most(name, share(triples), limit.limit, limit.reason, unit)

    checks = [check(name, triples) for name, triples in rows if triples]
    traced = [(r.prompt, r.trace, t) for r, t in pairs]
    slack = [float(np.abs(r.plain.logits - r.trace.logits).max()) for r, _ in pairs]
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
