"""What was compiled for chips: vision encoders run, on the picture of the bundle's own test; decoders, which
share their weights in one binary, are loaded by no emulator: they are compiled again and compared.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.export.qnn_chips import default_of
from phantom_edge.report.report import Check, megabytes
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.torch_reference import Reference
from phantom_edge.runtime.verify.stages import rms
from phantom_edge.runtime.verify.subject import Subject, attempt, listed
from phantom_edge.system.reading import has_bytes

NAME: Final = "image tokens as"
DECODERS: Final = "compiled decoders that differ"
TRIES: Final = 3
"""Of compiling again, until the file is the same."""


def facts(bundle: Bundle) -> dict[str, str]:
    """What the report says of the files that were compiled: their size by chip, and what compiling took."""
    npu = bundle.manifest.npu
    if npu is None or not npu.compiled:
        return {}
    parts = []
    for chip, compiled in npu.compiled.items():
        folder = (bundle.folder / next(iter(compiled.graphs.values()))).parent
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        parts.append(f"{chip} ({megabytes(size)}, {compiled.seconds:g} s)")
    return {"compiled": ", ".join(parts)}


def checks(subject: Subject, reference: Reference, *, every: bool) -> list[Check]:
    """One check for each chip but the one that all other checks run.

    Without ``every``, as for large models, they are not run, and the checks say so. ``reference`` is of a
    prompt with a picture.
    """
    npu = subject.bundle.manifest.npu
    compiled = [] if npu is None else list(npu.compiled)
    chips = [name for name in compiled if name != default_of(compiled)]
    pixels, trace, plain = reference.prompt.pixels, reference.trace.image_tokens, reference.plain.image_tokens
    if pixels is None or trace is None or plain is None:
        return []
    cost = rms(plain - trace)
    made: list[Check] = []
    for chip in chips:
        made += attempt(f"{NAME} {chip}", partial(_checks, subject, chip, pixels, plain, cost, every=every))
    return made


def decoders(subject: Subject) -> list[Check]:
    """The check of the compiled decoders; none where there are none.

    The compiler leaves padding unwritten, so that of some graphs it writes other bytes each time. Only equal
    files prove something; what never equals is undecided.
    """
    folder, left, count = subject.bundle.folder, set[str](), 0
    for attempt_number in range(TRIES):
        again = subject.artifact_format.compiled_again(folder, subject.model, subject.options)
        other = {path for path, data in again.items() if not has_bytes(folder / path, data)}
        left, count = left & other if attempt_number else other, len(again)
        if not left:
            break
    if not count:
        return []
    reason = "compiled again, byte for byte"
    if left:
        words = (
            f"undecided: in {TRIES} tries the compiler did not write the same again: {listed(sorted(left))}"
        )
        return [Check(DECODERS, len(left), 0, None, words, reason)]
    return [Check.at_most(DECODERS, 0, 0, reason, f"of {count}")]


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
