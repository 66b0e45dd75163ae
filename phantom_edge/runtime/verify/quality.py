"""The artifact against the original in fp32: what the quantisation costs."""

from __future__ import annotations

import numpy as np

from phantom_edge.report.report import Check, Plot
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import Trace
from phantom_edge.runtime.verify.stages import error

KL = "KL divergence, mean (nats)"
AGREEMENT = "top-1 agreement"


def quality(references: list[Reference], traces: list[Trace], bits: int) -> list[Check]:
    pairs = list(zip(references, traces, strict=True))
    kl = np.concatenate([divergence(r.original, t.logits) for r, t in pairs])
    agree = float(np.concatenate([r.original.argmax(-1) == t.logits.argmax(-1) for r, t in pairs]).mean())
    largest = max(float(np.abs(r.original - t.logits).max()) for r, t in pairs)
    spread = float(np.sqrt(np.mean([r.original.std() ** 2 for r in references])))
    budget = tolerances.quality(bits)
    equal = sum(int((r.original[:-1].argmax(-1) == np.array(r.tokens)).all()) for r in references)
    tokens = len(references[0].tokens)
    return [
        Check.at_most(KL, float(kl.mean()), budget.limit, budget.reason),
        Check("KL divergence, largest (nats)", float(kl.max())),
        Check(AGREEMENT, agree, detail=f"over {len(kl)} positions"),
        Check("largest logit error", largest, detail=f"their std is {spread:.2f}"),
        Check("greedy answers equal", f"{equal} of {len(references)}", detail=f"{tokens} tokens each"),
    ]


def plots(references: list[Reference], traces: list[Trace]) -> list[Plot]:
    names = tuple(r.prompt.name for r in references)
    kl = tuple(
        float(divergence(r.original, t.logits).mean()) for r, t in zip(references, traces, strict=True)
    )
    errors = tuple(error(t.logits, r.trace.logits) for r, t in zip(references, traces, strict=True))
    return [
        Plot("Mean KL divergence from the original, per prompt (nats)", names, kl, log=True),
        Plot(
            "Largest logit difference from torch with the same integers, over its rms",
            names,
            errors,
            log=True,
        ),
    ]


def divergence(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """KL(truth || model) in nats per position, from logits [n, vocab]."""
    # Position by position: of a true vocabulary, all at once would take gigabytes in float64.
    return np.array([_divergence(p, q) for p, q in zip(truth, logits, strict=True)])


def _divergence(truth: np.ndarray, logits: np.ndarray) -> float:
    p, q = _log_softmax(truth), _log_softmax(logits)
    return float((np.exp(p) * (p - q)).sum())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    log_probabilities: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return log_probabilities
