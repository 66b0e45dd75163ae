"""What the artifact stores against what the model holds: integers, floats, the cache's grid, tables."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import zip_longest

import torch

from phantom_edge.bundle.manifest import CalibratedQuantization, Manifest
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import CacheScales
from phantom_edge.model.rope import static_tables
from phantom_edge.model.weights import dense, is_module
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.ranges import Ranges, fingerprint
from phantom_edge.quantize.store import differing
from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.verify.subject import Subject, differs

RANGES = "activation ranges that differ"
ROPE_TABLES = ("rope.cos", "rope.sin")
SUMMED = "vision_encoder.patch_embedding.bias"  # with the pictures' mean: a sum like the constants


def integers(
    stored: Mapping[str, QuantizedTensor],
    model: FoldedModel,
    calibrated: CalibratedQuantization | None = None,
) -> Check:
    """Every quantised weight of the model is in the artifact, integer by integer and scale by scale.

    ``calibrated`` holds the hashes that the integers must have.
    """
    wrong, quantised = [], set()
    for name in model.weights:
        weight, module = model.weights[name], name.removesuffix(".weight")
        if isinstance(weight, QuantizedTensor):
            quantised.add(module)
            if module not in stored or not _same(stored[module], weight):
                wrong.append(module)
    wrong += sorted(set(stored) - quantised)
    wrong = sorted({*wrong, *(differing(calibrated.integers, stored) if calibrated else ())})
    detail = f"{len(quantised)} quantised weights{_also(wrong)}"
    return Check.at_most(
        "integers that differ", len(wrong), 0, "one set of integers serves every format", detail
    )


def floats(subject: Subject) -> Check:
    """Every other constant of the model, and the rotary tables, value by value as stored."""
    stored = subject.artifact_format.stored_floats(subject.bundle.folder)
    elsewhere = subject.artifact_format.not_stored
    weights = subject.reference.weights
    names = [name for name in weights if not any(fnmatchcase(name, pattern) for pattern in elsewhere)]
    wrong, count = [], 0
    for name in names:
        weight = weights[name]
        if not isinstance(weight, QuantizedTensor):
            count += 1
            if name not in stored or not _same_float(name, stored[name], dense(weight), subject.model.fold):
                wrong.append(name)
    d = subject.source.config.decoder
    for name, table in zip(
        ROPE_TABLES, static_tables(d.rope, d.head_dim, subject.options.context), strict=True
    ):
        if name not in stored or not _near(stored[name], table, tolerances.TABLES.limit):
            wrong.append(name)
    detail = f"{count} tensors and the rotary tables{_also(wrong)}"
    return Check.at_most(
        "floats that differ",
        len(wrong),
        0,
        "each value as the model has it, in the type that is stored",
        detail,
    )


def cache_grid(stored: CacheScales | None, model: FoldedModel, recorded: str | None = None) -> list[Check]:
    """Every scale of an int8 KV cache is in the artifact; nothing to check where both caches are in float.

    ``recorded`` is the hash that they must have; earlier bundles say none.
    """
    scales, expected = ([] if kv is None else [*kv.keys, *kv.values] for kv in (stored, model.kv))
    if not scales and not expected and recorded is None:
        return []
    wrong = sum(a is None or b is None or not bool((a == b).all()) for a, b in zip_longest(scales, expected))
    other = recorded is not None and (stored is None or stored.fingerprint() != recorded)
    reason, detail = (
        "the cache's integers mean what was calibrated",
        "not those of the export" if other else "",
    )
    return [Check.at_most("cache scales that differ", wrong + int(other), 0, reason, detail)]


def ranges(stored: Ranges, model: FoldedModel, manifest: Manifest) -> list[Check]:
    """Every grid of an NPU's values is that of the export; nothing to check where there is no NPU.

    Whether they are right for pictures, :func:`phantom_edge.runtime.verify.reach.checks` says.
    """
    if manifest.npu is None:
        return []
    expected = model.rounding.ranges if model.rounding is not None else {}
    names = sorted(name for name in {*stored, *expected} if stored.get(name) != expected.get(name))
    recorded = manifest.npu.ranges
    other = recorded != (fingerprint(stored) if stored else None)
    detail = f"{len(stored)} grids{_also(names)}{'; not those of the export' if other else ''}"
    return [
        Check.at_most(
            RANGES, len(names) + int(other), 0, "an NPU's integers mean what was calibrated", detail
        )
    ]


def _also(names: list[str]) -> str:
    return f"; {differs(names)}" if names else ""


def _same_float(name: str, stored: torch.Tensor, expected: torch.Tensor, fold: Fold) -> bool:
    """Whether a weight is stored as it is, and a constant of the fold but for the last bits of its sums."""
    if is_module(name) and name != SUMMED:
        return stored.shape == expected.shape and bool((stored.float() == expected).all())
    if name != SUMMED and fold.kind != "exact":
        # Singular vectors may come with another sign on another machine; together they mean the same.
        return stored.shape == expected.shape and bool(torch.isfinite(stored).all())
    limit = tolerances.HALF_CONSTANTS if stored.dtype == torch.float16 else tolerances.CONSTANTS
    return _near(stored, expected, limit.limit)


def _near(stored: torch.Tensor, expected: torch.Tensor, limit: float) -> bool:
    """Whether the largest difference is at most ``limit`` of the largest value."""
    if stored.shape != expected.shape:
        return False
    return float((stored.float() - expected).abs().max()) <= limit * float(expected.abs().max())


def _same(a: QuantizedTensor, b: QuantizedTensor) -> bool:
    if a.shape != b.shape or a.bits != b.bits or a.scales.shape != b.scales.shape:
        return False
    return bool((a.values == b.values).all() and (a.scales == b.scales).all())
