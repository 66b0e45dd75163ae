"""What is around a scene that does not fill the picture: a margin, a paper or a screen, and a hand at it."""

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from phantom_edge.scenes.canvas import SCALE
from phantom_edge.scenes.colours import RGB, hsv, muted
from phantom_edge.scenes.geometry import compose, inverse, project
from phantom_edge.scenes.texture import photograph_of
from phantom_edge.scenes.view import View


def surrounded(
    rng: random.Random, inner: Image.Image, view: View, photographs: Sequence[Image.Image] = ()
) -> Image.Image:
    """The picture in which the backdrop ``inner`` of a scene lies as the view says; of the same size."""
    size = inner.width
    if view.placing == "full":
        return _warped(inner, view.matrix, Image.new("RGB", inner.size, inner.getpixel((0, 0))))
    if view.placing == "margin":
        picture = Image.new("RGB", inner.size, _margin(rng))
        return _warped(inner, view.matrix, picture)
    picture = photograph_of(rng, size, photographs)
    blur = rng.choice((0.0, rng.uniform(0.5, 5.0))) * size / 224
    if blur:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    _sheet(rng, picture, view)
    picture = _warped(inner, view.matrix, picture)
    if rng.random() < 0.6:
        _hand(rng, picture, view)
    return picture


def _margin(rng: random.Random) -> RGB:
    """White or nearly white most of the time, as of a printed page; else dark or grey."""
    choice = rng.random()
    if choice < 0.45:
        return (255, 255, 255)
    return muted(rng, 0.85, 1.0) if choice < 0.75 else muted(rng, 0.02, 0.85)


def _warped(inner: Image.Image, matrix: np.ndarray, onto: Image.Image) -> Image.Image:
    """``inner`` laid on a picture by a homography of the unit square; edges outside are cut."""
    size = onto.width
    scale = np.diag((float(size), float(size), 1.0))
    back = compose(scale, inverse(matrix), inverse(scale))
    back = (back / back[2, 2]).ravel()[:8].tolist()
    warped = inner.transform(onto.size, Image.Transform.PERSPECTIVE, back, Image.Resampling.BILINEAR)
    # The last pixel is mixed with the black around ``inner``.
    onto.paste(warped, (0, 0), _mask(size, [_square(matrix, 0.004, 0.996)]))
    return onto


def _mask(size: int, contours: Sequence[np.ndarray]) -> Image.Image:
    large = Image.new("L", (size * SCALE, size * SCALE))
    draw = ImageDraw.Draw(large)
    for contour in contours:
        draw.polygon((contour * size * SCALE - 0.5).ravel().tolist(), fill=255)
    return large.reduce(SCALE)


def _square(matrix: np.ndarray, low: float, high: float) -> np.ndarray:
    """The corners from ``low`` to ``high`` of the scene's square, in the picture: [4, 2]."""
    return project(matrix, np.array([(low, low), (high, low), (high, high), (low, high)]))


def _sheet(rng: random.Random, picture: Image.Image, view: View) -> None:
    """The paper with its white border, or the screen with its dark one, and the shadow beneath."""
    size = picture.width
    border = rng.uniform(0.02, 0.12)
    outline = _square(view.matrix, -border, 1 + border)
    shift = np.array([rng.uniform(-0.02, 0.02), rng.uniform(0.0, 0.03)])
    shadow = _mask(size, [outline + shift]).filter(ImageFilter.GaussianBlur(rng.uniform(1, 5) * size / 224))
    depth = rng.uniform(0.2, 0.6)
    picture.paste((20, 20, 20), (0, 0), shadow.point([round(v * depth) for v in range(256)]))
    light = view.placing == "paper"
    colour = muted(rng, 0.86, 1.0) if light else muted(rng, 0.02, 0.22)
    picture.paste(colour, (0, 0), _mask(size, [outline]))


def _hand(rng: random.Random, picture: Image.Image, view: View) -> None:
    """Fingers over the sheet's edge, never over the scene."""
    size = picture.width
    skin = hsv(rng.uniform(12, 32), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.95))
    shade: RGB = (int(skin[0] * 0.8), int(skin[1] * 0.75), int(skin[2] * 0.75))
    side, at = rng.randrange(4), rng.uniform(0.15, 0.85)
    turn = math.pi / 2 * side
    for number in range(rng.randint(1, 3)):
        along = at + number * 0.1
        tip, root, half = -0.015, -0.5, rng.uniform(0.035, 0.05)
        arc = [math.pi * step / 8 for step in range(9)]
        ends = [(along + half * math.cos(a), tip - half + half * math.sin(a)) for a in arc]
        finger = np.array([*ends, (along - half, root), (along + half, root)])
        middle = finger - 0.5
        c, s = math.cos(turn), math.sin(turn)
        turned = np.stack([c * middle[:, 0] - s * middle[:, 1], s * middle[:, 0] + c * middle[:, 1]], 1) + 0.5
        contour = project(view.matrix, turned)
        picture.paste(shade, (0, 0), _mask(size, [contour + 0.006]))
        picture.paste(skin, (0, 0), _mask(size, [contour]))


def clutter(rng: random.Random, picture: Image.Image) -> Image.Image:
    """Lines, thin plates and irregular patches that are none of the things, over a picture by chance."""
    draw, size = ImageDraw.Draw(picture), picture.width
    for _ in range(rng.choice((0, 0, 1, 3, 6))):
        colour = hsv(rng.uniform(0, 360), rng.uniform(0, 0.7), rng.uniform(0.1, 0.95))
        x, y = rng.uniform(0, size), rng.uniform(0, size)
        if rng.random() < 0.5:
            ends = [x, y, x + rng.gauss(0, 0.4) * size, y + rng.gauss(0, 0.4) * size]
            draw.line(ends, fill=colour, width=max(1, round(rng.uniform(0.003, 0.03) * size)))
        else:
            draw.polygon(_irregular(rng, x, y, rng.uniform(0.05, 0.3) * size), fill=colour)
    return picture


def _irregular(rng: random.Random, x: float, y: float, radius: float) -> list[float]:
    """A star-shaped outline of many unequal corners: no shape that has a name."""
    count = rng.randint(6, 11)
    flat: list[float] = []
    squeeze = rng.uniform(0.3, 1.0)
    for n in range(count):
        angle = 2 * math.pi * (n + rng.uniform(-0.35, 0.35)) / count
        r = radius * rng.uniform(0.35, 1.0)
        flat += [x + r * math.cos(angle), y + r * squeeze * math.sin(angle)]
    return flat
