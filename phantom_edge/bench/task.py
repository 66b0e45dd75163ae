"""The task that is timed on every device: one picture, one prompt, and tokens to fill the cache with.

It is the bundle's own golden input (a drawn square picture, which is one tile, and a short question), so that
every device runs the same and can check what it computed before it times it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.errors import CheckError
from phantom_edge.images import load_image, tile_count
from phantom_edge.runtime.self_test import self_test
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import QUESTION, default_images

SEED = 0


@dataclass(frozen=True)
class Task:
    """A picture as a file, so that preprocessing includes decoding it, its tiles, and the prompt."""

    picture: Path
    tiles: int
    ids: tuple[int, ...]

    @classmethod
    def of(cls, session: Session, folder: Path, image: str | None = None) -> Task:
        """The golden question about ``image`` (a path), or the golden picture, written below ``folder``."""
        spec = session.spec
        picture = load_image(image) if image is not None else default_images(spec.tile_size)["square"]
        path = folder / "picture.png"
        picture.save(path)
        tiles = tile_count(*picture.size, tile_size=spec.tile_size, max_tiles=spec.max_tiles)
        prompt = spec.template.render([(QUESTION, None)], tiles * spec.tokens_per_tile)
        return cls(path, tiles, tuple(session.tokenizer.encode(prompt)))


def filler(session: Session, count: int) -> list[int]:
    """``count`` ids to fill a cache with: the first token, then random ones, none an end or image id."""
    spec, tokenizer = session.spec, session.tokenizer
    first = (
        tokenizer.encode(spec.template.render([("?", None)]))[0] if spec.first_id is None else spec.first_id
    )
    allowed = np.setdiff1d(np.arange(tokenizer.vocab_size), [spec.image_token_id, *spec.end_ids])
    return [first, *np.random.default_rng(SEED).choice(allowed, size=count).tolist()][:count]


def check_golden(session: Session, bundle: Bundle) -> dict[str, Any]:
    """Run the bundle's own test: errors of image tokens and logits, and how many tokens are the likeliest.

    Raises :class:`CheckError` when one is beyond its limit: what is fast but wrong is not timed.
    """
    size, default = session.spec.tile_size, bundle.manifest.tiles.size
    golden = Golden.read(bundle.folder, None if size == default else size)
    checks = {check.name: check for check in self_test(session, golden)}
    for check in checks.values():
        if not check.passed:
            raise CheckError(
                f"the golden check failed: {check.name} is {check.value:.2g} (limit {check.limit:g}), so "
                "nothing was timed; run `phantom-edge verify` on the bundle"
            )
    equal, _, _ = checks["generated_ids.tie"].detail.partition(" tokens")
    return {
        "image tokens": round(float(checks["image_features.rms"].value), 6),
        "prefill logits": round(float(checks["prefill_logits.rms"].value), 6),
        "tokens": equal,
    }
