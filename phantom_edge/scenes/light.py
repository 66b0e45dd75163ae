"""Light and camera: gain, white balance, uneven light, blur, sensor noise, compression."""

import io
import math
import random

import numpy as np
from PIL import Image, ImageFilter

from phantom_edge.scenes.backdrop import noise

DARKEST, BRIGHTEST = 0.7, 1.25  # the light on any pixel; darker, and orange would be called brown


def photograph(rng: random.Random, image: Image.Image) -> Image.Image:
    """The picture as a small camera takes it; blurs are given for 224 pixels and scale with the size."""
    size = image.width
    blur = rng.uniform(0, 1.2) * size / 224
    if blur > 0.3:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(image, np.float32)  # [H, W, 3]
    pixels = pixels * _light(rng, size)
    sigma = rng.uniform(0.5, 7.0) * rng.random()
    if sigma > 0.5:
        grain = noise(rng, size, size)
        pixels += (grain if rng.random() < 0.5 else grain[..., :1]) * np.float32(sigma)
    np.clip(pixels, 0, 255, out=pixels)
    image = Image.fromarray(pixels.astype(np.uint8))
    return _compressed(image, rng.randint(35, 85)) if rng.random() < 0.2 else image


def _light(rng: random.Random, size: int) -> np.ndarray:
    """Light on each pixel and channel [size, size, 3]: gain times balance times a slope or a vignette."""
    gain = rng.uniform(DARKEST + 0.05, BRIGHTEST)
    balance = np.array([1 + rng.uniform(-0.06, 0.06), 1, 1 + rng.uniform(-0.06, 0.06)], np.float32)
    grid = np.linspace(-1, 1, 16, dtype=np.float32)
    depth, choice = rng.uniform(0.05, 0.3), rng.random()
    if choice < 0.35:
        angle = rng.uniform(0, 2 * math.pi)
        field = 1 - depth * (0.5 + 0.35 * (math.cos(angle) * grid[None, :] + math.sin(angle) * grid[:, None]))
    elif choice < 0.7:
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)
        field = 1 - depth * 0.5 * np.minimum((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2, 2)
    else:
        return np.full((1, 1, 3), gain, np.float32) * balance
    field = np.clip(field * gain, DARKEST, BRIGHTEST).astype(np.float32)
    field = np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BILINEAR))
    return field[..., None] * balance


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
