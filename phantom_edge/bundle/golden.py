"""The bundle's own test: recorded inputs, what they must give, and the rule that judges every device.

``docs/bundle.md`` states the rule for implementers. The limits are part of the file, so that a bundle passes
or fails by the same numbers wherever it runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.records import from_json, to_json
from phantom_edge.report.report import Check
from phantom_edge.system.reading import check_size, open_safetensors, parse_json

GOLDEN: Final = "golden.safetensors"
"""With tiles of the default size; :func:`golden_file` names those of further sizes."""
MAX_BYTES: Final = 256 << 20
AGAIN: Final = "export the bundle again"
METADATA: Final = "limits"
TENSORS: Final = {
    "image": (np.uint8, 3),
    "pixel_values": (np.float32, 4),
    "image_features": (np.float32, 3),
    "input_ids": (np.int64, 2),
    "prefill_logits": (np.float32, 2),
    "generated_ids": (np.int64, 1),
}
"""Type and number of dimensions of each tensor in the file."""


@dataclass(frozen=True)
class StageLimits:
    """The most that a stage may be off, over the root mean square of what is expected; null is not judged."""

    rms: float | None
    """Of the root mean square difference."""
    max: float | None
    """Of the largest absolute difference."""


@dataclass(frozen=True)
class GoldenLimits:
    """The limits of every stage."""

    pixel_values: StageLimits
    image_features: StageLimits
    prefill_logits: StageLimits
    tie: float
    """Of how far a recorded token's logit may lie below the largest, over the logits' root mean square."""


_PIXELS: Final = StageLimits(rms=None, max=1e-6)
_EXACT: Final = StageLimits(rms=1e-3, max=5e-3)
_HALF: Final = StageLimits(rms=0.03, max=0.03)
EXACT: Final = GoldenLimits(_PIXELS, _EXACT, _EXACT, tie=1e-3)
"""Arithmetic in fp32: only the order of summation differs."""
HALF: Final = GoldenLimits(_PIXELS, _HALF, _HALF, tie=0.06)
"""Every result is rounded to the 11 bits of fp16, through all layers."""
ROUNDED: Final = GoldenLimits(_PIXELS, StageLimits(0.05, None), StageLimits(0.1, None), tie=0.1)
"""Activations are rounded to integers, or summed in fp16 by a graphics processor: a value on the edge between
two steps may fall to either side, and the layers carry that on, about 3 % after all of them."""
XNNPACK: Final = GoldenLimits(_PIXELS, StageLimits(0.05, 0.25), StageLimits(0.1, 0.25), tie=0.1)
"""As :data:`ROUNDED`, by one range per token, which keeps single values near as well."""
HALF_XNNPACK: Final = GoldenLimits(_PIXELS, _HALF, StageLimits(0.1, 0.25), tie=0.1)
"""The vision encoder as :data:`HALF`, the decoder as :data:`XNNPACK`."""


def golden_file(tile_size: int | None) -> str:
    """The name of the test with tiles of a further size, or with those of the default, None.

    >>> golden_file(336)
    'golden_336.safetensors'
    """
    stem, _, suffix = GOLDEN.partition(".")
    return GOLDEN if tile_size is None else f"{stem}_{tile_size}.{suffix}"


def limits_for(format_name: str, *, rounds: bool) -> GoldenLimits:
    """The limits of a format's files; ``rounds`` says that its runtime rounds activations or the KV cache."""
    if format_name in ("coreml", "coreai"):
        return HALF
    if format_name == "executorch-coreml":
        return HALF_XNNPACK
    if format_name == "executorch":
        return XNNPACK if rounds else EXACT
    return ROUNDED if rounds or format_name == "onnx-webgpu" else EXACT


@dataclass(frozen=True)
class Golden:
    """One picture, one prompt about it, and what torch computed for them with the artifact's own integers.

    >>> golden = pe.Golden.read(Path("nano-desktop"))
    >>> golden.image.shape, len(golden.generated_ids)
    ((192, 192, 3), 16)
    """

    image: NDArray[np.uint8]
    """[H, W, 3], one tile without resizing."""
    pixel_values: NDArray[np.float32]
    """[T, 3, S, S]"""
    image_features: NDArray[np.float32]
    """[T, N, hidden]"""
    input_ids: NDArray[np.int64]
    """[1, S]"""
    prefill_logits: NDArray[np.float32]
    """[1, vocabulary], of the last position of ``input_ids``."""
    generated_ids: NDArray[np.int64]
    """[n], each the likeliest after those before it."""
    limits: GoldenLimits

    @classmethod
    def read(cls, folder: Path, tile_size: int | None = None) -> Golden:
        """The golden file of a bundle, of a further size of tiles if one is given.

        Raises :class:`InputError` where it is missing, large or damaged.
        """
        path = folder / golden_file(tile_size)
        check_size(path, MAX_BYTES, AGAIN)
        with open_safetensors(path, "np", AGAIN) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        try:
            golden = cls(**_checked(tensors), limits=parse_limits(metadata.get(METADATA)))
            golden._check_ids()
        except InputError as error:
            raise InputError(f"{path}: {error}; {AGAIN}") from None
        return golden

    def save(self, folder: Path, tile_size: int | None = None) -> None:
        """Write it below ``folder``."""
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in TENSORS}
        save_file(tensors, folder / golden_file(tile_size), {METADATA: json.dumps(to_json(self.limits))})

    def _check_ids(self) -> None:
        ids, vocabulary = [*self.input_ids[0], *self.generated_ids], self.prefill_logits.shape[1]
        if not self.input_ids.size or not self.generated_ids.size:
            raise InputError("holds no ids")
        if odd := [int(index) for index in ids if not 0 <= index < vocabulary]:
            raise InputError(f"{odd[0]} is no id below a vocabulary of {vocabulary}")


@dataclass(frozen=True)
class Computed:
    """What a runtime makes of the golden inputs."""

    pixel_values: NDArray[Any]
    """Its own tiles of ``image`` [T, 3, S, S]."""
    image_features: NDArray[Any]
    """Its image tokens of the recorded ``pixel_values``, in any shape."""
    logits: NDArray[Any]
    """[n, vocabulary]: of the prefill with its own image tokens, then after each token but the last."""


def judge(golden: Golden, computed: Computed) -> tuple[Check, ...]:
    """Every limit of ``golden`` against what was computed; a check is named after its stage and its limit."""
    checks = []
    for stage, value in (
        ("pixel_values", computed.pixel_values),
        ("image_features", computed.image_features),
        ("prefill_logits", computed.logits[:1]),
    ):
        rms, largest = errors(value, getattr(golden, stage))
        limits: StageLimits = getattr(golden.limits, stage)
        for name, error, limit in (("rms", rms, limits.rms), ("max", largest, limits.max)):
            if limit is not None:
                checks.append(Check.at_most(f"{stage}.{name}", error, limit, _reason(name)))
    tie, equal = _tie(golden, computed.logits)
    detail = f"{equal} of {golden.generated_ids.size} tokens are the likeliest"
    return (*checks, Check.at_most("generated_ids.tie", tie, golden.limits.tie, _reason("tie"), detail))


def errors(value: NDArray[Any], expected: NDArray[Any]) -> tuple[float, float]:
    """Root mean square and largest relative difference; infinite for other sizes, or nothing finite."""
    a, b = np.asarray(value, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf"), float("inf")
    difference, size = np.abs(a - b), max(_rms(b), 1e-12)
    return _rms(difference) / size, float(difference.max()) / size


def parse_limits(text: str | None) -> GoldenLimits:
    """The limits in the file's metadata. Raises :class:`InputError` for none, or others than these."""
    if text is None:
        raise InputError("its metadata hold no limits")
    try:
        return from_json(GoldenLimits, parse_json(text, "not readable"))
    except InputError as error:
        raise InputError(f"the limits in its metadata: {error}") from None


def _tie(golden: Golden, logits: NDArray[Any]) -> tuple[float, int]:
    """How far a recorded token is from being the likeliest, at worst, and how many are."""
    values = np.asarray(logits, np.float64)
    expected_shape = (golden.generated_ids.size, golden.prefill_logits.shape[1])
    if values.shape != expected_shape or not np.isfinite(values).all():
        return float("inf"), 0
    gaps = values.max(-1) - values[np.arange(len(values)), golden.generated_ids]
    reference = _rms(golden.prefill_logits.astype(np.float64))
    sizes = [max(min(_rms(row), reference), 1e-12) for row in values]
    return float(max(gaps / sizes)), int((gaps == 0).sum())


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _reason(limit: str) -> str:
    return {
        "rms": "root mean square difference over that of what is expected",
        "max": "largest difference over the root mean square of what is expected",
        "tie": "two logits that are nearly equal may change places, others may not",
    }[limit]


def _checked(tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if odd := sorted(tensors.keys() ^ TENSORS.keys()):
        raise InputError(f"holds no {odd[0]}" if odd[0] in TENSORS else f"{odd[0]} is not one of its tensors")
    for name, (dtype, dimensions) in TENSORS.items():
        if tensors[name].dtype != dtype or tensors[name].ndim != dimensions:
            raise InputError(f"{name} is {tensors[name].dtype} of {tensors[name].ndim} dimensions")
    return tensors
