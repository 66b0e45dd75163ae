"""Good and spoiled answers to a small golden file, with the verdict on each: ``golden_cases.json``.

The tests of all four languages read the JSON. ``python tests/support/golden_cases.py`` writes it again.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.golden import EXACT, HALF, ROUNDED, XNNPACK, Computed, Golden, judge
from phantom_edge.records import to_json

PATH = Path(__file__).with_name("golden_cases.json")
VOCABULARY, STEPS = 8, 3


def golden(limits=XNNPACK) -> tuple[Golden, np.ndarray]:
    """A file of a few numbers, and the logits of every step that it was made from."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, (STEPS, VOCABULARY)).astype(np.float32)
    image = random.integers(0, 256, (2, 2, 3), np.uint8)
    tokens = logits.argmax(-1)
    return Golden(
        image=image,
        pixel_values=(image.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32),
        image_features=random.normal(0, 1, (1, 4, 6)).astype(np.float32),
        input_ids=np.array([[1, 5, 5, 5, 5, 3]]),
        prefill_logits=logits[:1],
        generated_ids=tokens,
        limits=limits,
    ), logits


def _off(values: np.ndarray, relative: float) -> np.ndarray:
    """Every value off by ``relative`` of their root mean square, to both sides in turn."""
    size = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
    signs = np.where(np.arange(values.size) % 2, -1, 1).reshape(values.shape)
    return (values + signs * relative * size).astype(np.float32)


def _spike(values: np.ndarray, relative: float) -> np.ndarray:
    """The first value off by ``relative`` of their root mean square."""
    changed = values.copy()
    changed.flat[0] += relative * np.sqrt(np.mean(np.square(values, dtype=np.float64)))
    return changed


def _behind(logits: np.ndarray, step: int, gap: float) -> np.ndarray:
    """Another token ahead of the recorded one by ``gap`` of the smaller of two root mean squares: the step's
    and the prefill's.
    """
    changed, token = logits.copy(), int(logits[step].argmax())
    size = min(np.sqrt(np.mean(np.square(logits[n]))) for n in (0, step))
    changed[step, (token + 1) % VOCABULARY] = logits[step, token] + gap * size
    return changed


def cases() -> list[dict[str, Any]]:
    """Every case with the verdict of :func:`judge`."""
    made = []

    def add(name: str, limits=XNNPACK, **changes: Any) -> None:
        file, logits = golden(limits)
        computed = Computed(file.pixel_values, file.image_features, logits)
        for stage, change in changes.items():
            computed = replace(computed, **{stage: change(getattr(computed, stage))})
        checks = judge(file, computed)
        made.append(
            {
                "name": name,
                "limits": json.dumps(to_json(limits)),
                "computed": {
                    "pixel_values": _values(computed.pixel_values),
                    "image_features": _values(computed.image_features),
                    "logits": [_values(row) for row in computed.logits],
                },
                "checks": {check.name: _number(check.value) for check in checks},
                "failing": [check.name for check in checks if not check.passed],
            }
        )

    add("the same numbers")
    add("the same numbers, in fp32", EXACT)
    add("a rounding of pixels", pixel_values=lambda v: (v * np.float32(1 + 1e-7)).astype(np.float32))
    add("a pixel off by one step of 255", pixel_values=lambda v: _spike(v, 0.01))
    add("image tokens off a little everywhere", image_features=lambda v: _off(v, 0.045))
    add("image tokens off too much everywhere", image_features=lambda v: _off(v, 0.055))
    add("one image token far off", image_features=lambda v: _spike(v, 0.3))
    add("one image token off where the mean alone counts", ROUNDED, image_features=lambda v: _spike(v, 0.2))
    add("image tokens in fp16", HALF, image_features=lambda v: v.astype(np.float16).astype(np.float32))
    add("image tokens off by more than fp16", HALF, image_features=lambda v: _off(v, 0.035))
    add("image tokens in another order", image_features=lambda v: v[:, ::-1])
    add("too few image tokens", image_features=lambda v: v[:, 1:])
    add("an image token that is not a number", image_features=lambda v: np.where(v == v.max(), np.nan, v))
    add("an infinite image token", image_features=lambda v: np.where(v == v.max(), np.inf, v))
    add("logits off a little everywhere", logits=lambda v: np.stack([_off(row, 0.04) for row in v]))
    add("logits off too much everywhere", logits=lambda v: np.stack([_off(row, 0.11) for row in v]))
    add("logits of 1e-4 in fp32", EXACT, logits=lambda v: np.stack([_off(row, 1e-4) for row in v]))
    add("logits of 2e-3 in fp32", EXACT, logits=lambda v: np.stack([_off(row, 2e-3) for row in v]))
    add("a tie at the second token", logits=lambda v: _behind(v, 1, 0.08))
    add("another second token", logits=lambda v: _behind(v, 1, 0.3))
    add("a tie where none is allowed", EXACT, logits=lambda v: _behind(v, 2, 0.01))
    add("another token among small logits", logits=_small)
    add("another token among large logits", logits=_large)
    add("a logit that is not a number", logits=lambda v: np.where(v == v[1].max(), np.nan, v))
    add("too few logits", logits=lambda v: v[:, 1:])
    return made


def _small(logits: np.ndarray) -> np.ndarray:
    """A gap that is small beside the prefill's logits, and not beside the step's own."""
    changed = _behind(logits, 1, 0.3)
    changed[1] *= 0.1
    return changed


def _large(logits: np.ndarray) -> np.ndarray:
    """A gap that is small beside the step's own logits, and not beside the prefill's."""
    changed = _behind(logits, 1, 0.08)
    changed[1] *= 10
    return changed


def damaged_limits() -> list[str]:
    """Metadata that must be refused."""
    good = to_json(XNNPACK)
    return [
        "",
        "{",
        "[]",
        json.dumps({key: value for key, value in good.items() if key != "tie"}),
        json.dumps({**good, "extra": 1}),
        json.dumps({**good, "tie": "0.1"}),
        json.dumps({**good, "image_features": {"rms": 0.1}}),
        json.dumps({**good, "image_features": 0.1}),
    ]


def document() -> str:
    """The text of ``golden_cases.json``, a case on each line. Numbers that are not finite are null."""
    file, _ = golden()
    stages = ("pixel_values", "image_features", "prefill_logits")
    recorded = {stage: _values(getattr(file, stage)) for stage in stages}
    recorded["generated_ids"] = file.generated_ids.tolist()
    lines = ",\n".join(json.dumps(case) for case in cases())
    return (
        f'{{"golden": {json.dumps(recorded)},\n"damaged_limits": {json.dumps(damaged_limits())},\n'
        f'"cases": [\n{lines}\n]}}\n'
    )


def _values(array: np.ndarray) -> list[float | None]:
    return [_number(value) for value in np.asarray(array, np.float32).ravel().tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
