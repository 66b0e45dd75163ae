"""Colours: for each name a range that a person calls nothing else, and muted ones for all around."""

import colorsys
import math
import random

RGB = tuple[int, int, int]

# hue in degrees, saturation, value: least and most
_RANGES = {
    "red": ((-6, 4), (0.82, 0.97), (0.72, 0.9)),
    "green": ((112, 145), (0.65, 0.92), (0.48, 0.72)),
    "blue": ((213, 230), (0.72, 0.93), (0.6, 0.88)),
    "yellow": ((51, 57), (0.8, 0.96), (0.88, 0.95)),
    "orange": ((24, 31), (0.88, 1.0), (0.87, 0.94)),
    "purple": ((274, 289), (0.55, 0.78), (0.5, 0.7)),
    "black": ((0, 360), (0.0, 0.25), (0.03, 0.11)),
    "white": ((0, 360), (0.0, 0.03), (0.9, 0.96)),
}


def hsv(hue: float, saturation: float, value: float) -> RGB:
    """Degrees, 0..1, 0..1 -> 0..255."""
    r, g, b = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)


def named(rng: random.Random, name: str) -> RGB:
    """A colour that anyone calls `name`."""
    return hsv(*(rng.uniform(*bounds) for bounds in _RANGES[name]))


def muted(rng: random.Random, low: float = 0.15, high: float = 0.95) -> RGB:
    """A colour of little saturation, for backgrounds: none that has a name."""
    return hsv(rng.uniform(0, 360), rng.uniform(0, 0.22), rng.uniform(low, high))


def near(rng: random.Random, colour: RGB, spread: float) -> RGB:
    """A colour that differs from `colour` in brightness by up to `spread` (of 255)."""
    shift = rng.uniform(-spread, spread)
    return mix(colour, (255, 255, 255) if shift > 0 else (0, 0, 0), abs(shift) / 255)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def darker(colour: RGB, share: float) -> RGB:
    return mix(colour, (0, 0, 0), share)


def lighter(colour: RGB, share: float) -> RGB:
    return mix(colour, (255, 255, 255), share)


def distance(a: RGB, b: RGB) -> float:
    """Perceived distance, 0..765: the low-cost approximation weighted by mean red."""
    red = (a[0] + b[0]) / 2
    dr, dg, db = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return math.pow((2 + red / 256) * dr * dr + 4 * dg * dg + (2 + (255 - red) / 256) * db * db, 0.5)


def luminance(colour: RGB) -> float:
    """0..255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
