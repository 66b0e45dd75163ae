"""Golden files, what devices could compute for them and Python's judgement, and files that must be refused.

``goldens.json`` and ``goldens.safetensors`` beside them, for the Swift and Kotlin tests to judge the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from phantom_edge.bundle import golden
from phantom_edge.bundle.golden import Computed, Golden, judge
from phantom_edge.records import to_json

LIMITS = (golden.EXACT, golden.HALF, golden.ROUNDED, golden.XNNPACK, golden.HALF_XNNPACK)
VOCABULARY, TOKENS = 40, 3


def write_goldens(folder: Path) -> None:
    """Write everything below ``folder``."""
    cases: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for file, limits in enumerate(LIMITS):
        recorded = _recorded(limits)
        below = folder / "goldens" / str(file)
        below.mkdir(parents=True)
        recorded.save(below)
        for what, computed in _computed(recorded):
            number = len(cases)
            arrays |= {
                f"{number}.pixels": computed.pixel_values,
                f"{number}.features": computed.image_features,
            }
            arrays[f"{number}.logits"] = computed.logits
            checks = [
                {
                    "name": check.name,
                    "value": None if math.isinf(check.value) else check.value,
                    "limit": check.limit,
                    "passed": check.passed,
                }
                for check in judge(recorded, computed)
            ]
            cases.append({"file": f"goldens/{file}/{golden.GOLDEN}", "what": what, "checks": checks})
    content = {"cases": cases, "refused": list(_refused(folder / "goldens"))}
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "goldens.safetensors")
    (folder / "goldens.json").write_text(json.dumps(content), encoding="utf-8")


def _recorded(limits: golden.GoldenLimits) -> Golden:
    dice = np.random.default_rng(12)
    logits = dice.normal(0, 3, (1, VOCABULARY)).astype(np.float32)
    return Golden(
        image=dice.integers(0, 256, (4, 4, 3), dtype=np.uint8),
        pixel_values=dice.random((1, 3, 4, 4), dtype=np.float32),
        image_features=dice.normal(0, 1, (1, 5, 6)).astype(np.float32),
        input_ids=dice.integers(0, VOCABULARY, (1, 7)),
        prefill_logits=logits,
        generated_ids=np.array([int(logits[0].argmax()), 5, 0]),
        limits=limits,
    )


def _computed(recorded: Golden) -> Iterator[tuple[str, Computed]]:
    """Equal, a little off, and every kind of wrong."""
    dice = np.random.default_rng(13)
    logits = np.concatenate([recorded.prefill_logits, dice.normal(0, 3, (TOKENS - 1, VOCABULARY))])
    for row, token in zip(logits, recorded.generated_ids, strict=True):
        row[token] = row.max()
    right = Computed(recorded.pixel_values, recorded.image_features, logits.astype(np.float32))
    yield "equal", right
    for size in (1e-5, 2e-3, 0.02, 0.08, 0.3):
        noisy = {
            name: (value + dice.normal(0, size * np.sqrt(np.mean(value**2)), value.shape)).astype(np.float32)
            for name, value in vars(right).items()
        }
        yield f"off by {size}", Computed(**noisy)
        yield f"features off by {size}", replace(right, image_features=noisy["image_features"])
    outlier = right.image_features.copy()
    outlier[0, 2, 3] += 0.2
    yield "one value off", replace(right, image_features=outlier)
    yield "turned", replace(right, image_features=-right.image_features)
    for step in (0.01, 0.2, 5.0):
        beaten = right.logits.copy()
        beaten[1, 7] = beaten[1].max() + np.float32(step)
        yield f"another token by {step}", replace(right, logits=beaten)
    yield "flat logits", replace(right, logits=np.full_like(right.logits, 0.5))
    yield "nothing", replace(right, logits=np.zeros_like(right.logits))
    for value in (np.nan, np.inf):
        broken = right.logits.copy()
        broken[2, 1] = value
        yield f"{value} in the last logits", replace(right, logits=broken)
        pixels = right.pixel_values.copy()
        pixels[0, 0, 0, 0] = value
        yield f"{value} in the pixels", replace(right, pixel_values=pixels)
    yield "a row too few", replace(right, logits=right.logits[:-1])
    yield "too few features", replace(right, image_features=right.image_features[:, :-1])


def _refused(folder: Path) -> Iterator[str]:
    """Names of files that are damaged or have other contents."""
    _recorded(golden.EXACT).save(folder)
    tensors = load_file(folder / golden.GOLDEN)
    limits = to_json(golden.EXACT)
    text = json.dumps(limits)
    stage, other = {"rms": 1, "max": None}, {"x": np.zeros(1, np.float32)}
    damages: dict[str, tuple[dict[str, np.ndarray], dict[str, str]]] = {
        "no-limits": (tensors, {}),
        "no-json": (tensors, {"limits": "{"}),
        "no-object": (tensors, {"limits": "[]"}),
        "no-tie": (tensors, {"limits": json.dumps({k: v for k, v in limits.items() if k != "tie"})}),
        "null-tie": (tensors, {"limits": json.dumps(limits | {"tie": None})}),
        "text-limit": (tensors, {"limits": json.dumps(limits | {"image_features": stage | {"rms": "1"}})}),
        "stage-short": (tensors, {"limits": json.dumps(limits | {"image_features": {"rms": 1}})}),
        "other-stage": (tensors, {"limits": json.dumps(limits | {"layers": stage})}),
        "other-tensor": (tensors | other, {"limits": text}),
        "half": (
            tensors | {"prefill_logits": tensors["prefill_logits"].astype(np.float16)},
            {"limits": text},
        ),
        "flat": (tensors | {"prefill_logits": tensors["prefill_logits"][0]}, {"limits": text}),
        "no-ids": (tensors | {"generated_ids": np.zeros(0, np.int64)}, {"limits": text}),
        "high-id": (tensors | {"generated_ids": np.array([VOCABULARY])}, {"limits": text}),
        "low-id": (tensors | {"input_ids": np.array([[-1]])}, {"limits": text}),
    }
    damages |= {
        f"without-{name}": ({k: v for k, v in tensors.items() if k != name}, {"limits": text})
        for name in tensors
    }
    for name, (contents, metadata) in damages.items():
        save_file(contents, folder / f"{name}.safetensors", metadata)
        yield f"goldens/{name}.safetensors"
    (folder / "cut.safetensors").write_bytes((folder / golden.GOLDEN).read_bytes()[:-4])
    yield "goldens/cut.safetensors"
