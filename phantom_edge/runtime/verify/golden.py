"""The bundle's own test, computed again: its inputs from the checkpoint, its outputs by torch."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from phantom_edge.bundle.golden import Golden, limits_for
from phantom_edge.errors import InputError
from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.self_test import judge_trace
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.traces import QUESTION, Prompt, Trace, prompt_of
from phantom_edge.runtime.verify.stages import error, rms
from phantom_edge.runtime.verify.subject import Subject, differs

NAME: Final = "square"
INPUTS: Final = "golden inputs that differ"


def golden_prompt(subject: Subject, golden: Golden, tile_size: int, name: str = NAME) -> Prompt:
    """The prompt of the file's picture, with ids and pixels as the checkpoint makes them.

    Raises :class:`InputError` for a picture that is no single tile.
    """
    if golden.image.shape != (tile_size, tile_size, 3):
        raise InputError(f"its picture is {list(golden.image.shape)}, not one tile of {tile_size} pixels")
    image, spec = Image.fromarray(golden.image), subject.spec_at(tile_size)
    return prompt_of(spec, subject.source.tokenizer, name, QUESTION, image)


def inputs(subject: Subject, golden: Golden, prompt: Prompt, name: str = INPUTS) -> Check:
    """Ids, tiles and limits of the file against those that the checkpoint and the format make."""
    limits = limits_for(subject.artifact_format.name, rounds=subject.reference.rounds_activations)
    assert prompt.pixels is not None  # a golden prompt has a picture
    rows = [
        ("its limits", golden.limits == limits),
        ("input_ids", tuple(golden.input_ids[0].tolist()) == prompt.ids),
        ("pixel_values", error(golden.pixel_values, prompt.pixels) <= tolerances.PIXELS.limit),
    ]
    wrong = [name for name, right in rows if not right]
    reason = "an app is judged by this file: it must ask what the checkpoint's own prompt asks"
    return Check.at_most(name, len(wrong), 0, reason, differs(wrong))


def outputs(golden: Golden, reference: Reference, which: str = "golden") -> list[Check]:
    """What the file expects against ``reference``, torch's answer to :func:`golden_prompt`."""
    traced, plain = reference.trace, reference.plain
    return [
        _output(f"{which} image features", golden.image_features, *_features(reference)),
        _output(f"{which} logits", golden.prefill_logits[0], traced.logits[0], plain.logits[0]),
        _ids(golden, reference, which),
    ]


def _features(reference: Reference) -> tuple[Floats, Floats]:
    traced, plain = reference.trace.image_tokens, reference.plain.image_tokens
    assert traced is not None, "a golden prompt has a picture"
    assert plain is not None
    return traced, plain


def _output(name: str, recorded: Floats, expected: Floats, plain: Floats) -> Check:
    """Largest difference over what rounding costs at most, or over the rms where nothing is rounded."""
    if recorded.shape != expected.shape or not np.isfinite(recorded).all():
        return Check.at_most(name, float("inf"), tolerances.GOLDEN.limit, tolerances.GOLDEN.reason)
    cost = float(np.abs(plain - expected).max())
    unit = max(cost, tolerances.GOLDEN_UNIT * rms(expected))
    largest = float(np.abs(recorded - expected).max())
    return Check.at_most(name, largest / unit, tolerances.GOLDEN.limit, tolerances.GOLDEN.reason)


def _ids(golden: Golden, reference: Reference, which: str) -> Check:
    """The recorded answer is torch's own: the run was given these tokens, and each must be the likeliest."""
    logits, recorded = reference.trace.logits, golden.generated_ids[: len(reference.trace.logits)]
    cost = float(np.abs(reference.plain.logits - logits).max())
    slack = tolerances.GOLDEN.limit * max(cost, tolerances.GOLDEN_UNIT * rms(logits))
    rows = logits[: len(recorded)]
    wrong = int((rows.max(-1) - rows[np.arange(len(rows)), recorded] > slack).sum())
    detail = f"{len(recorded)} of {len(golden.generated_ids)} compared"
    reason = "each is the likeliest after those before it"
    return Check.at_most(f"{which} tokens that differ", wrong, 0, reason, detail)


def self_test(
    subject: Subject, golden: Golden, trace: Trace, tile_size: int, which: str = "golden"
) -> list[Check]:
    """The file's own rule on the artifact's answer, as an app applies it; nothing for a shorter answer."""
    if len(trace.logits) < len(golden.generated_ids):
        return []
    failed = [
        check.name for check in judge_trace(golden, subject.spec_at(tile_size), trace) if not check.passed
    ]
    reason = "what an app does before it trusts a device"
    return [Check.at_most(f"{which} self-test, stages that fail", len(failed), 0, reason, ", ".join(failed))]
