"""What stands behind everything: plain, patterned, textured or blurred, and always muted."""

import functools
import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from phantom_edge.scenes.colours import RGB, distance, muted, near

CONTRAST = 150.0  # a background this far from every object's colour is good enough
_NOISE = 512


@functools.lru_cache(maxsize=1)
def noise_field() -> np.ndarray:
    """Fixed normal noise [512, 512, 3] to cut patches from; fresh noise would cost more than all the rest."""
    return np.random.default_rng(20240914).standard_normal((_NOISE, _NOISE, 3), dtype=np.float32)


def noise(rng: random.Random, height: int, width: int) -> np.ndarray:
    """A patch [height, width, 3] of the noise field, mirrored by chance; larger ones are tiled."""
    field = noise_field()
    if max(height, width) > _NOISE:
        field = np.tile(field, (-(-height // _NOISE), -(-width // _NOISE), 1))
    y, x = rng.randint(0, field.shape[0] - height), rng.randint(0, field.shape[1] - width)
    patch = field[y : y + height, x : x + width]
    return patch[:: rng.choice((1, -1)), :: rng.choice((1, -1))]


@functools.lru_cache(maxsize=4)
def _grid(size: int) -> np.ndarray:
    """Pixel centres from -0.5 to 0.5: [size]."""
    return ((np.arange(size, dtype=np.float32) + 0.5) / size) - 0.5


def _blend(share: np.ndarray, first: RGB, second: RGB) -> np.ndarray:
    """Two colours mixed by a share [H, W] in 0..1 -> [H, W, 3] uint8, through a table of 65 steps."""
    table = np.linspace(first, second, 65).astype(np.uint8)
    return table[np.clip(share * 64, 0, 64).astype(np.uint8)]


def _flat(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    return np.full((size, size, 3), base, np.uint8)


def _gradient(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    angle, grid = rng.uniform(0, 2 * math.pi), _grid(size)
    share = 0.5 + (math.cos(angle) * grid[None, :] + math.sin(angle) * grid[:, None]) * 0.72
    return _blend(share, base, near(rng, base, 70))


def _turned(rng: random.Random, size: int) -> tuple[np.ndarray, np.ndarray]:
    angle, grid = rng.uniform(0, math.pi), _grid(size)
    c, s = math.cos(angle), math.sin(angle)
    return c * grid[None, :] + s * grid[:, None] + 1, c * grid[:, None] - s * grid[None, :] + 1


def _stripes(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    u, _ = _turned(rng, size)
    wave = np.abs((u * rng.uniform(3, 14)) % 1 - 0.5) * 4 - 0.5  # soft-edged
    return _blend(np.clip(wave, 0, 1), base, near(rng, base, 32))


def _checker(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    u, v = _turned(rng, size)
    cells = rng.uniform(3, 12)
    share = ((u * cells).astype(np.int32) + (v * cells).astype(np.int32)) & 1
    return _blend(share, base, near(rng, base, 28))


def _resized(small: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def _texture(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    rows, columns = rng.choice(((12, 12), (30, 30), (60, 60), (100, 100), (80, 6), (6, 80)))
    grain = noise(rng, rows, columns)[..., :1] * rng.uniform(4, 14)
    return _resized(grain + np.array(base, np.float32), size)


def _blobs(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    cells = rng.randint(3, 6)
    level = max(base) / 255
    low, high = max(level - 0.14, 0.06), min(level + 0.14, 0.97)
    small = [[muted(rng, low, high) for _ in range(cells)] for _ in range(cells)]
    return _resized(np.array(small, np.float32), size)


def _table(rng: random.Random, size: int, base: RGB) -> np.ndarray:
    """A wall above a table: a soft, slightly slanted horizon, grain on the table."""
    grid = _grid(size)
    height, slope = rng.uniform(-0.25, 0.3), rng.uniform(-0.08, 0.08)
    share = (grid[:, None] - height - slope * grid[None, :]) * size / rng.uniform(1, 6) + 0.5
    image = _blend(share, near(rng, base, 45), base).astype(np.float32)
    grain = noise(rng, 40, 4)[..., 0] * 6
    texture = np.asarray(Image.fromarray(grain).resize((size, size)))
    image += texture[..., None] * np.clip(share, 0, 1)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


_KINDS = (_flat, _gradient, _stripes, _checker, _texture, _blobs, _table)


def backdrop(rng: random.Random, size: int, colours: Sequence[RGB]) -> tuple[Image.Image, RGB]:
    """A background that stands apart from `colours` where one can, and its base colour."""
    best, far = (128, 128, 128), -1.0
    for _ in range(12):
        base = muted(rng)
        apart = min((distance(base, colour) for colour in colours), default=765.0)
        if apart > far:
            best, far = base, apart
        if far > CONTRAST:
            break
    return Image.fromarray(rng.choice(_KINDS)(rng, size, best)), best
