"""Outlines of objects, arrow and plate: polygons about the origin, y down, of like apparent size."""

import functools
import math

import numpy as np

REACH = 1.26  # no outline goes further from its centre than this, in radii


def _circle(radius: float = 1.0, count: int = 40) -> np.ndarray:
    angles = np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radius  # [count, 2]


def _star() -> np.ndarray:
    angles = np.arange(10) * (math.pi / 5) - math.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.24, 0.53)
    points: np.ndarray = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + (0, 0.05)
    return points


def _heart() -> np.ndarray:
    t = np.arange(40) * (2 * math.pi / 40)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2.5], 1) / 15.5


def _cross() -> np.ndarray:
    a, b = 0.36, 1.08
    upper = [(-b, -a), (-a, -a), (-a, -b), (a, -b), (a, -a), (b, -a)]
    return np.array([*upper, *((-x, -y) for x, y in upper)])


@functools.cache
def outline(shape: str) -> tuple[np.ndarray, ...]:
    """The closed contours of a shape, [N, 2] each; the second one of a ring is its hole."""
    if shape == "circle":
        return (_circle(1.02),)
    if shape == "ring":
        return (_circle(1.08), _circle(0.58))
    if shape == "square":
        return (np.array([(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),)
    if shape == "triangle":
        return (np.array([(0, -1.12), (1.06, 0.78), (-1.06, 0.78)]),)
    if shape == "diamond":
        return (np.array([(0, -1.24), (0.9, 0), (0, 1.24), (-0.9, 0)]),)
    return ({"star": _star, "heart": _heart, "cross": _cross}[shape](),)


def arrow(shaft: float, head: float) -> np.ndarray:
    """An arrow up, two radii long: [7, 2]. `shaft` is half the shaft's width, `head` the head's length."""
    neck = head - 1
    wide = max(0.42, shaft * 2.1)
    right = [(wide, neck), (shaft, neck), (shaft, 1)]
    return np.array([(0, -1), *right, *((-x, y) for x, y in reversed(right))])


def plate(half_width: float, half_height: float, corner: float) -> np.ndarray:
    """A rectangle with rounded corners: [16, 2]."""
    corner = min(corner, half_width, half_height)
    points = []
    for sx, sy, start in ((1, -1, -90), (1, 1, 0), (-1, 1, 90), (-1, -1, 180)):
        for step in range(4):
            angle = math.radians(start + 30 * step)
            x = sx * (half_width - corner) + corner * math.cos(angle)
            y = sy * (half_height - corner) + corner * math.sin(angle)
            points.append((x, y))
    return np.array(points)
