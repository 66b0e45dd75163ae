"""Faults in what every format's bundle has: its manifest, its tokenizer and its own test."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faults import Fault, edit_json
from safetensors import safe_open
from safetensors.numpy import save_file

from phantom_edge.bundle.folder import TOKENIZER
from phantom_edge.bundle.golden import GOLDEN
from phantom_edge.bundle.manifest import MANIFEST

MANIFEST_CHECK = "manifest fields that differ"
TOKENIZER_CHECK = "tokenizer rules that differ"


def manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / MANIFEST, change)


def tokenizer(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / TOKENIZER, change)


def golden(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Change one tensor of the golden file."""

    def inject(folder: Path) -> None:
        path = folder / GOLDEN
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dict
        changed = change(tensors[name].copy())
        assert not np.array_equal(changed, tensors[name])
        tensors[name] = np.ascontiguousarray(changed)
        save_file(tensors, path, metadata)

    return inject


def golden_limits(folder: Path) -> None:
    path = folder / GOLDEN
    with safe_open(path, framework="np") as file:
        limits = file.metadata()["limits"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dict
    save_file(tensors, path, {"limits": limits.replace('"tie": 0.', '"tie": 9.')})


def lost_line_break(m: dict[str, Any]) -> None:
    m["prompt"]["user_start"] = m["prompt"]["user_start"].replace("\n", "")


def swapped_digits(data: dict[str, Any]) -> None:
    vocabulary = data["model"]["vocab"]
    vocabulary["3"], vocabulary["4"] = vocabulary["4"], vocabulary["3"]


def lost_merge(data: dict[str, Any]) -> None:
    merges = data["model"]["merges"]
    del merges[len(merges) // 2]


def swapped_merges(data: dict[str, Any]) -> None:
    merges = data["model"]["merges"]
    pairs = [n for n, (a, b) in enumerate(itertools.pairwise(merges)) if a[0] == b[0] or a[1] == b[1]]
    n = pairs[0] if pairs else 0
    merges[n], merges[n + 1] = merges[n + 1], merges[n]


def ordinary_end_token(data: dict[str, Any]) -> None:
    token = next(t for t in data["added_tokens"] if t["special"])
    token["special"] = False


def one_logit(logits: np.ndarray) -> np.ndarray:
    logits[0, logits[0].argmin()] = logits.max() + 1
    return logits


def one_feature(features: np.ndarray) -> np.ndarray:
    features[0, 0, 0] += 10 * features.std()
    return features


def another_token(ids: np.ndarray) -> np.ndarray:
    ids[len(ids) // 2] = (ids[len(ids) // 2] + 7) % 100
    return ids


def one_pixel(pixels: np.ndarray) -> np.ndarray:
    pixels[0, 0, 3, 3] += 0.01
    return pixels


TARGET = "desktop"
FAULTS = (
    Fault("the template's line break lost", TARGET, manifest(lost_line_break), MANIFEST_CHECK),
    Fault(
        "the answer ends with another token",
        TARGET,
        manifest(lambda m: m["prompt"].update(assistant_end="<|endoftext|>")),
        MANIFEST_CHECK,
    ),
    Fault("no thumbnail", TARGET, manifest(lambda m: m["tiles"].update(thumbnail=False)), MANIFEST_CHECK),
    Fault(
        "a first token too high",
        TARGET,
        manifest(lambda m: m["ids"].update(first=m["ids"]["first"] - 1)),
        MANIFEST_CHECK,
    ),
    Fault("a browser's bundle", TARGET, manifest(lambda m: m.update(browser=True)), MANIFEST_CHECK),
    Fault(
        "another norm's epsilon in the configuration",
        TARGET,
        manifest(lambda m: m["config"]["decoder"].update(rms_norm_eps=1e-5)),
        MANIFEST_CHECK,
    ),
    Fault("swapped digits", TARGET, tokenizer(swapped_digits), TOKENIZER_CHECK),
    Fault("a lost merge", TARGET, tokenizer(lost_merge), TOKENIZER_CHECK),
    Fault("two merges in the other order", TARGET, tokenizer(swapped_merges), TOKENIZER_CHECK),
    Fault("a control token that is shown", TARGET, tokenizer(ordinary_end_token), TOKENIZER_CHECK),
    Fault(
        "texts cut to 32 tokens",
        TARGET,
        tokenizer(
            lambda data: data.update(
                truncation={"direction": "Right", "max_length": 32, "strategy": "LongestFirst", "stride": 0}
            )
        ),
        TOKENIZER_CHECK,
    ),
    Fault(
        "a file without a reader",
        TARGET,
        lambda folder: (folder / "extra.bin").write_bytes(b"x"),
        "files that no check reads",
    ),
    Fault("a golden logit", TARGET, golden("prefill_logits", one_logit), "golden logits"),
    Fault("a golden feature", TARGET, golden("image_features", one_feature), "golden image features"),
    Fault(
        "golden features in reverse",
        TARGET,
        golden("image_features", lambda f: f[:, ::-1]),
        "golden image features",
    ),
    Fault("a golden token", TARGET, golden("generated_ids", another_token), "golden tokens that differ"),
    Fault("a golden pixel", TARGET, golden("pixel_values", one_pixel), "golden inputs that differ"),
    Fault(
        "another golden picture",
        TARGET,
        golden("image", lambda image: image[::-1]),
        "golden inputs that differ",
    ),
    Fault(
        "another golden question",
        TARGET,
        golden("input_ids", lambda ids: ids[:, :-1]),
        "golden inputs that differ",
    ),
    Fault("golden limits that pass everything", TARGET, golden_limits, "golden inputs that differ"),
)
