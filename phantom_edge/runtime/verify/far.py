"""The whole context: positions that no question reaches, up to the last that the cache holds.

A prompt of ordinary tokens, drawn at random, fills the cache call by call; the logits at the end of every
call and at the last positions are compared with torch's. They depend on every position before them, so that a
mask, a window or a rotary table that is wrong anywhere shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from phantom_edge.bundle.backend import Backend
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.report.report import Check
from phantom_edge.runtime import decoding, tolerances
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.verify.stages import error
from phantom_edge.runtime.verify.subject import Subject

LAST: Final = 8
"""Decode steps at the end of the context."""
MOST: Final = 8192
"""Tokens that are run at most; where the context is longer, the report says so."""
SEED: Final = 20


@dataclass(frozen=True)
class FarPrompt:
    """``ids`` of the whole context, in calls of ``calls`` tokens."""

    ids: tuple[int, ...]
    calls: tuple[int, ...]
    single: int
    """How many of the last calls take one token."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The position of the last token of each call."""
        return tuple(int(end) - 1 for end in np.cumsum(self.calls))


def far_prompt(subject: Subject) -> FarPrompt:
    """Chunks up to the last few positions, and these one by one."""
    spec, options = subject.spec, subject.options
    length = min(options.context, MOST)
    special = {spec.image_token_id, *spec.end_ids}
    ordinary = [i for i in range(subject.source.tokenizer.vocab_size) if i not in special]
    assert spec.first_id is not None, "the spec is of a folded model"
    drawn = np.random.default_rng(SEED).choice(ordinary, length)
    ids = (spec.first_id, *drawn[1:].tolist())
    single = min(LAST, length - 1)
    filled = length - single
    chunks = [min(options.chunk, filled - start) for start in range(0, filled, options.chunk)]
    return FarPrompt(ids, (*chunks, *[1] * single), single)


def expected(subject: Subject, prompt: FarPrompt) -> Floats:
    """Torch's logits [calls, vocab] at the end of each call, with nothing rounded."""
    sequence = ModelInput(
        name="the whole context",
        ids=torch.tensor([prompt.ids]),
        sources=torch.tensor(prompt.ends),
        calls=prompt.calls,
    )
    (rows,) = logits(subject.plain, [sequence], [None])
    return rows.numpy()


def run(backend: Backend, prompt: FarPrompt) -> tuple[Floats, Any]:
    """The artifact's logits [calls, vocab], and its full cache."""
    cache, rows, start = backend.make_cache(), [], 0
    for size in prompt.calls:
        ids = np.array([prompt.ids[start : start + size]], dtype=np.int64)
        rows.append(np.array(backend.decode(backend.embed(ids), cache), dtype=np.float32))
        start += size
    return np.stack(rows), cache


def run_last_at_once(backend: Backend, prompt: FarPrompt, cache: Any, **options: str) -> Floats:
    """The last positions again in one call, over the cache that :func:`run` filled: logits [vocab].

    ``options`` are of the backend's ``decode``.
    """
    start = len(prompt.ids) - prompt.single
    decoding.rewind(cache, start)
    ids = np.array([prompt.ids[start:]], dtype=np.int64)
    decode: Callable[..., Floats] = backend.decode
    return np.array(decode(backend.embed(ids), cache, **options), dtype=np.float32)


def checks(subject: Subject, backend: Backend, kind: str) -> list[Check]:
    """The logits of every call against torch's; ``kind`` is a row of the table of tolerances."""
    prompt = far_prompt(subject)
    reference = expected(subject, prompt)
    rows, cache = run(backend, prompt)
    single = prompt.single
    limit = tolerances.far(subject.artifact_format.name, kind)
    context = subject.options.context
    detail = f"{len(prompt.ids)} of {context} positions"
    stages = {
        "prefill of the whole context": error(rows[:-single], reference[:-single]),
        "decode at the end of the context": error(rows[-single:], reference[-single:]),
    }
    if 1 < single <= subject.options.chunk:
        main = {"function": "main"} if subject.artifact_format.fixed else {}
        last = run_last_at_once(backend, prompt, cache, **main)
        stages["prefill at the end of the context"] = error(last, reference[-1])
    return [Check.at_most(name, value, limit.limit, limit.reason, detail) for name, value in stages.items()]
