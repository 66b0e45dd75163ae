"""A bundle's own test, run on its artifact: the golden inputs through every stage."""

from __future__ import annotations

from PIL import Image

from phantom_edge.bundle.golden import Computed, Golden, judge
from phantom_edge.images import pixel_values
from phantom_edge.report.report import Check
from phantom_edge.runtime.decoding import forced
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import Prompt, Trace, trace_prompt


def self_test(session: Session, golden: Golden) -> tuple[Check, ...]:
    """Every stage on its recorded input, judged by the limits of the file.

    The recorded tokens are appended whatever the device would choose, so that one tie does not count against
    all that follows it.

    >>> bundle = pe.Bundle.open("nano-desktop")
    >>> checks = pe.self_test(pe.Session.of_bundle(bundle), pe.Golden.read(bundle.folder))
    >>> all(check.passed for check in checks)
    True
    """
    spec, tokens = session.spec, golden.generated_ids.tolist()
    prompt = Prompt("golden", tuple(golden.input_ids[0].tolist()), golden.pixel_values)
    trace, _ = trace_prompt(session.backend, prompt, spec.image_token_id, len(tokens) - 1, forced(tokens))
    return judge_trace(golden, spec, trace)


def judge_trace(golden: Golden, spec: PromptSpec, trace: Trace) -> tuple[Check, ...]:
    """The file's rule on a runtime's trace of its prompt, which was given its tokens."""
    pixels = pixel_values(Image.fromarray(golden.image), tile_size=spec.tile_size, max_tiles=spec.max_tiles)
    assert trace.image_tokens is not None  # the prompt is about a picture
    return judge(golden, Computed(pixels, trace.image_tokens, trace.logits[: len(golden.generated_ids)]))
