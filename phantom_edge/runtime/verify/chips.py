"""What was compiled for chips: the vision encoder of each runs, on the picture of the bundle's own test."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.verify.stages import rms
from phantom_edge.runtime.verify.subject import Subject, attempt

NAME: Final = "image tokens as"


def checks(subject: Subject, reference: Reference, *, every: bool) -> list[Check]:
    """One check for each chip but the first, which is what all other checks run.

    Without ``every``, as for large models, they are not run, and the checks say so. ``reference`` is of a
    prompt with a picture.
    """
    npu = subject.bundle.manifest.npu
    chips = [] if npu is None else list(npu.compiled)[1:]
    pixels, trace, plain = reference.prompt.pixels, reference.trace.image_tokens, reference.plain.image_tokens
    if pixels is None or trace is None or plain is None:
        return []
    cost = rms(plain - trace)
    made: list[Check] = []
    for chip in chips:
        made += attempt(f"{NAME} {chip}", partial(_checks, subject, chip, pixels, plain, cost, every=every))
    return made


def _checks(
    subject: Subject, chip: str, pixels: np.ndarray, plain: np.ndarray, cost: float, *, every: bool
) -> list[Check]:
    if not every:
        return [Check(f"{NAME} {chip}", "not run", detail="of a large model; --all-prompts runs it")]
    options = subject.options
    folder = subject.bundle.folder
    backend = subject.artifact_format.load(folder, context=options.context, chunk=options.chunk, chip=chip)
    limit, unit = tolerances.NPU, "of what rounding the activations costs"
    share = rms(backend.encode_image(pixels) - plain) / max(cost, 1e-6 * rms(plain))
    return [Check.at_most(f"{NAME} {chip}", share, limit.limit, limit.reason, unit)]
