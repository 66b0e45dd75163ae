"""The cases of the golden rule as files for the Swift and Kotlin tests, and files that must be refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from golden_cases import PATH, VOCABULARY, damaged_limits, golden
from safetensors.numpy import load_file, save_file

from phantom_edge.bundle.golden import GOLDEN, parse_limits
from phantom_edge.records import to_json


def write_goldens(folder: Path) -> None:
    """``goldens.json``: the cases of all languages, each with its file, and the names of damaged files."""
    content = json.loads(PATH.read_text(encoding="utf-8"))
    for number, case in enumerate(content["cases"]):
        recorded, _ = golden(parse_limits(case["limits"]))
        case["file"] = f"goldens/{number}/{GOLDEN}"
        (folder / case["file"]).parent.mkdir(parents=True)
        recorded.save(folder / f"goldens/{number}")
    content["refused"] = list(_refused(folder / "goldens"))
    (folder / "goldens.json").write_text(json.dumps(content), encoding="utf-8")


def _refused(folder: Path) -> Iterator[str]:
    """Names of files that are damaged or have other contents."""
    recorded, _ = golden()
    recorded.save(folder)
    tensors, other = load_file(folder / GOLDEN), {"x": np.zeros(1, np.float32)}
    text = json.dumps(to_json(recorded.limits))
    damages: dict[str, tuple[dict[str, np.ndarray], dict[str, str]]] = {
        "no-limits": (tensors, {}),
        "other-tensor": (tensors | other, {"limits": text}),
        "half": (
            tensors | {"prefill_logits": tensors["prefill_logits"].astype(np.float16)},
            {"limits": text},
        ),
        "flat": (tensors | {"prefill_logits": tensors["prefill_logits"][0]}, {"limits": text}),
        "no-ids": (tensors | {"generated_ids": np.zeros(0, np.int64)}, {"limits": text}),
        "high-id": (tensors | {"generated_ids": np.array([VOCABULARY], np.int64)}, {"limits": text}),
        "low-id": (tensors | {"input_ids": np.array([[-1]])}, {"limits": text}),
    }
    damages |= {
        f"without-{name}": ({k: v for k, v in tensors.items() if k != name}, {"limits": text})
        for name in tensors
    }
    damages |= {f"limits-{n}": (tensors, {"limits": text}) for n, text in enumerate(damaged_limits())}
    for name, (contents, metadata) in damages.items():
        save_file(contents, folder / f"{name}.safetensors", metadata)
        yield f"goldens/{name}.safetensors"
    (folder / "cut.safetensors").write_bytes((folder / GOLDEN).read_bytes()[:-4])
    yield "goldens/cut.safetensors"
