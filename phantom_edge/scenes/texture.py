"""Textures with the statistics of photographs: what a camera has behind the things, made from noise.

Natural pictures have amplitudes that fall as 1 / frequency, and regions with edges at every scale (Ruderman,
"The statistics of natural images", 1994; Lee, Mumford & Huang, "Occlusion models for natural images", 2001).
"""

import colorsys
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from phantom_edge.scenes.backdrop import noise

OCTAVES = (3, 6, 12, 24, 48, 96)  # cells across the picture


def photographic(rng: random.Random, size: int) -> Image.Image:
    """A texture [size, size] RGB: soft or hard regions in a palette, detail at all scales, uneven light."""
    palette = _palette(rng, rng.randint(3, 7))
    regions = fractal(rng, size, rng.uniform(1.0, 1.8))
    share = np.clip(regions * 0.22 + 0.5, 0, 0.999) * (len(palette) - 1)
    low = share.astype(np.int64)
    between = share - low
    hardness = rng.choice((1.0, 2.0, 8.0))
    between = np.clip((between - 0.5) * hardness + 0.5, 0, 1)[..., None]
    pixels = palette[low] * (1 - between) + palette[low + 1] * between
    detail = fractal(rng, size, rng.uniform(0.6, 1.2))
    pixels = pixels * (1 + detail[..., None] * rng.uniform(0.03, 0.2))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    blur = rng.choice((0.0, 0.0, rng.uniform(0.5, 4.0))) * size / 224
    return image.filter(ImageFilter.GaussianBlur(blur)) if blur else image


def photograph_of(rng: random.Random, size: int, photographs: Sequence[Image.Image]) -> Image.Image:
    """A square cut out of one of the photographs, mirrored by chance; a texture when there are none."""
    if not photographs or rng.random() < 0.4:
        return photographic(rng, size)
    image = rng.choice(photographs)
    side = min(image.size) * rng.uniform(0.25, 1.0)
    x, y = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    cut = image.resize((size, size), Image.Resampling.BILINEAR, (x, y, x + side, y + side))
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cut


def fractal(rng: random.Random, size: int, slope: float) -> np.ndarray:
    """Noise [size, size] of deviation about 1 whose octaves fall by ``slope`` halvings."""
    total = np.zeros((size, size), np.float32)
    power = 0.0
    stretch = rng.choice((1, 1, 1, 2, 4))  # grain of wood, cloth and water runs in one direction
    for number, cells in enumerate(OCTAVES):
        if cells > size:
            break
        weight = 2.0 ** (-slope * number)
        rows, columns = cells, max(2, cells // stretch)
        small = np.ascontiguousarray(noise(rng, rows, columns)[..., 0])
        layer = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * np.float32(weight)
        power += weight**2 * 0.5  # interpolation halves the variance, roughly
    return total / np.float32(power**0.5)


def _palette(rng: random.Random, count: int) -> np.ndarray:
    """Colours as landscapes and rooms have them, from dark to light: [count, 3] of 0..255."""
    hue, spread = rng.random(), rng.choice((0.03, 0.1, 0.4))
    saturation = rng.uniform(0.02, 0.6)
    low, high = sorted((rng.uniform(0.05, 0.6), rng.uniform(0.35, 0.98)))
    rows = []
    for n in range(count):
        value = low + (high - low) * n / max(1, count - 1)
        colour = colorsys.hsv_to_rgb(
            (hue + rng.uniform(-spread, spread)) % 1, saturation * rng.uniform(0.4, 1.0), value
        )
        rows.append([255 * channel for channel in colour])
    return np.array(rows, np.float32)
