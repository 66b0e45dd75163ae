"""A Snapdragon bundle in Qualcomm's emulator: a tile, a prefill and a few tokens, beside its golden file.

    python -m benchmarks.npu phantom-snapdragon --tokens 8

Seconds are the emulator's, which say nothing of a phone; root mean squares are what a phone will compute.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.runtime.qnn_backend import QnnBackend


def off(values: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference over that of ``expected``."""
    return float(np.sqrt(np.mean((values - expected) ** 2) / np.mean(expected**2)))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the seconds that it took."""
    begin = time.monotonic()
    return call(), round(time.monotonic() - begin, 1)


def measure(folder: Path, tokens: int) -> dict[str, Any]:
    """Seconds of every step, and how far its outputs are from torch's on the same grids."""
    m, golden = Bundle.open(folder, check=False).manifest, Golden.read(folder)
    backend, loading = timed(lambda: QnnBackend(folder, context=m.context, chunk=m.chunk))
    tile = golden.pixel_values[:1]
    features, tile_seconds = timed(lambda: backend.encode_image(tile))
    ids = golden.input_ids
    embeds = backend.embed(ids).copy()
    embeds[0, ids[0] == m.ids.image] = golden.image_features.reshape(-1, embeds.shape[-1])
    cache, logits, pieces = backend.make_cache(), np.empty(0), []
    for start in range(0, embeds.shape[1], m.chunk):
        piece = embeds[:, start : start + m.chunk]
        logits, seconds = timed(lambda piece=piece: backend.decode(piece, cache))  # type: ignore[misc]
        pieces.append(seconds)
    prefill = off(logits, golden.prefill_logits[0])
    chosen, steps = 0, []
    for token in golden.generated_ids[:tokens].tolist():
        chosen += int(logits.argmax()) == token
        row = backend.embed(np.array([[token]]))
        logits, seconds = timed(lambda row=row: backend.decode(row, cache))  # type: ignore[misc]
        steps.append(seconds)
    return {
        "runtime": backend.name,
        "load_s": loading,
        "tile_s": tile_seconds,
        "image_tokens_rms": off(features, golden.image_features[:1]),
        "prefill_tokens": int(embeds.shape[1]),
        "prefill_s": pieces,
        "prefill_logits_rms": prefill,
        "same_tokens": f"{chosen} of {len(steps)}",
        "token_s": steps,
    }


def main() -> None:
    """Print the measurements as JSON, with the peak memory of the emulator's process once it has ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tokens", type=int, default=8)
    arguments = parser.parse_args()
    result = measure(arguments.bundle, arguments.tokens)
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result["peak_gb"] = {"own": own.ru_maxrss / 1e6, "emulator": child.ru_maxrss / 1e6}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
