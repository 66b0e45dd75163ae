"""The task that is timed on every device: one picture, one prompt, and tokens to fill the cache with.

It is the bundle's own golden input (a drawn square picture, which is one tile, and a short question), so that
every device runs the same and can check what it computed before it times it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phantom_edge.bundle.folder import GOLDEN, Bundle
from phantom_edge.errors import CheckError, InputError
from phantom_edge.images import load_image, tile_count
from phantom_edge.runtime.decoding import encode_tiles
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.traces import QUESTION, default_images

if TYPE_CHECKING:
    from PIL import Image

MAX_GOLDEN_BYTES = 256 << 20
GOLDEN_LIMIT = 0.1
"""Of the golden check: the root mean square difference over the expected values' own. Rounding activations to
int8 costs a few hundredths; a wrong kernel, layout or weight gives about 1.
"""
SEED = 0


@dataclass(frozen=True)
class Task:
    """A picture as a file (so that preprocessing includes decoding it) with its tiles, and the prompt about
    it.
    """

    picture: Path
    tiles: int
    ids: tuple[int, ...]

    @classmethod
    def of(cls, session: Session, folder: Path, image: str | None = None) -> Task:
        """The golden question about ``image`` (a path), or about the golden picture, written below
        ``folder``.
        """
        spec = session.spec
        picture = load_image(image) if image is not None else default_images(spec.tile_size)["square"]
        path = folder / "picture.png"
        picture.save(path)
        tiles = tile_count(*picture.size, tile_size=spec.tile_size, max_tiles=spec.max_tiles)
        prompt = spec.template.render([(QUESTION, None)], tiles * spec.tokens_per_tile)
        return cls(path, tiles, tuple(session.tokenizer.encode(prompt)))


def filler(session: Session, count: int) -> list[int]:
    """``count`` ids to fill a cache with: the first token, then random text ones, none that ends or holds an
    image.
    """
    spec, tokenizer = session.spec, session.tokenizer
    first = (
        tokenizer.encode(spec.template.render([("?", None)]))[0] if spec.first_id is None else spec.first_id
    )
    barred = [spec.image_token_id, *spec.end_ids]
    allowed = np.setdiff1d(np.arange(tokenizer.vocab_size), barred)
    return [first, *np.random.default_rng(SEED).choice(allowed, size=count).tolist()][:count]


def golden(bundle: Bundle) -> dict[str, np.ndarray]:
    """The bundle's golden arrays by name. Raises :class:`InputError` for a file that is missing, large or no
    such.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = bundle.folder / GOLDEN
    try:
        if path.stat().st_size > MAX_GOLDEN_BYTES:
            raise InputError(f"{path}: larger than {MAX_GOLDEN_BYTES >> 20} MiB; export the bundle again")
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({error}); export the bundle again") from None
    wanted = {"image", "pixel_values", "image_features", "input_ids", "prefill_logits", "generated_ids"}
    if missing := sorted(wanted - arrays.keys()):
        raise InputError(f"{path}: holds no {', '.join(missing)}; export the bundle again")
    return arrays


def golden_picture(bundle: Bundle) -> Image.Image:
    """The golden input picture."""
    from PIL import Image

    return Image.fromarray(golden(bundle)["image"])


def check_golden(session: Session, bundle: Bundle) -> dict[str, Any]:
    """Run the golden input and compare image tokens, logits (as relative errors) and chosen tokens.

    Raises :class:`CheckError` when a difference is beyond :data:`GOLDEN_LIMIT`: what is fast but wrong is not
    timed.

    >>> bundle = pe.Bundle.open("nano-desktop")
    >>> pe.check_golden(pe.Session.of_bundle(bundle), bundle)["tokens"]
    '16 of 16'
    """
    wanted = golden(bundle)
    features = encode_tiles(session.backend, wanted["pixel_values"])
    cache, ids = session.backend.make_cache(), wanted["input_ids"][0].tolist()
    logits = session.prefill(ids, cache, features)
    found = {
        "image tokens": relative_error(features, wanted["image_features"]),
        "prefill logits": relative_error(logits, wanted["prefill_logits"]),
    }
    choices = islice(session.decode(logits, cache), len(wanted["generated_ids"]))
    tokens = [choice.token for choice in choices]
    same = sum(a == b for a, b in zip(tokens, wanted["generated_ids"].tolist(), strict=True))
    require_golden(found)
    return {name: round(value, 6) for name, value in found.items()} | {"tokens": f"{same} of {len(tokens)}"}


def require_golden(errors: dict[str, float]) -> None:
    """Raise :class:`CheckError` naming the first error beyond the limit."""
    for name, value in errors.items():
        if not value <= GOLDEN_LIMIT:
            raise CheckError(
                f"the golden check failed: {name} differ by {value:.2g} of their size (limit "
                f"{GOLDEN_LIMIT}), so "
                "nothing was timed; run `phantom-edge verify` on the bundle"
            )


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over that of ``wanted``."""
    a, b = np.asarray(found, np.float64).ravel(), np.asarray(wanted, np.float64).ravel()
    if a.shape != b.shape:
        raise CheckError(
            f"the golden check failed: {a.size} values where {b.size} are expected; export again"
        )
    return float(np.sqrt(np.mean((a - b) ** 2)) / max(np.sqrt(np.mean(b**2)), 1e-12))
