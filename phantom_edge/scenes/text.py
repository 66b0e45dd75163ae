"""Letters and digits: Pillow's bundled typeface, its measures, and seven segments."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZES = (24, 36, 52, 76, 110, 160)  # pixels; the nearest above what is needed is taken and scaled down
_MEASURE = 100


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    typeface = ImageFont.load_default(size)
    assert isinstance(typeface, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return typeface


@functools.cache
def cap_height(size: int) -> float:
    return -font(size).getbbox("H", anchor="ls")[1]


@functools.cache
def advance(character: str) -> float:
    """Width of a character's step, in cap heights."""
    return font(_MEASURE).getlength(character) / cap_height(_MEASURE)


def centres(text: str, spacing: float) -> tuple[list[float], float]:
    """Where each character's middle is on a line centred at 0, and the line's width; in cap heights."""
    steps = [advance(character) for character in text]
    width = sum(steps) + spacing * (len(text) - 1)
    at, result = -width / 2, []
    for step in steps:
        result.append(at + step / 2)
        at += step + spacing
    return result, width


def mask(text: str, spacing: float, bold: float, pixels: float) -> tuple[Image.Image, float]:
    """A line of text as an L image centred on the middle of its capitals, and its cap height in pixels.

    `bold`: extra stroke on each side in cap heights. `pixels`: the cap height it will be shown at, at least.
    """
    size = next((s for s in SIZES if cap_height(s) >= pixels), SIZES[-1])
    cap = cap_height(size)
    places, width = centres(text, spacing)
    stroke = round(bold * cap)
    image = Image.new("L", (int((width + 0.6) * cap) + 2, int(1.9 * cap) + 2), 0)
    draw = ImageDraw.Draw(image)
    baseline = image.height / 2 + cap / 2
    for character, place in zip(text, places, strict=True):
        at = (image.width / 2 + place * cap, baseline)
        draw.text(at, character, fill=255, font=font(size), anchor="ms", stroke_width=stroke)
    return image, cap


# The seven segments, clockwise from the top, then the middle one; (column, row) ends on a grid of one by two.
_SEGMENTS = (
    ((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 1), (1, 2)), ((0, 2), (1, 2)), ((0, 1), (0, 2)),
    ((0, 0), (0, 1)), ((0, 1), (1, 1)),
)  # fmt: skip
_LIT = ("012345", "12", "01346", "01236", "1256", "02356", "023456", "012", "0123456", "012356")
SEGMENT_STEP = 0.82  # cap heights from one seven-segment digit to the next


def segments(digit: int, thickness: float) -> list[tuple[np.ndarray, bool]]:
    """A digit's seven segments, polygons [6, 2] in cap heights about its middle, each lit or not."""
    result = []
    for number, (start, end) in enumerate(_SEGMENTS):
        a, b = (np.array([(c - 0.5) * 0.5, (r - 1) * 0.46]) for c, r in (start, end))
        along = (b - a) / math.hypot(*(b - a))
        side = np.array([-along[1], along[0]]) * thickness / 2
        a, b = a + along * 0.02, b - along * 0.02
        cut = along * thickness / 2
        corners = np.array([a, a + cut + side, b - cut + side, b, b - cut - side, a + cut - side])
        result.append((corners, str(number) in _LIT[digit]))
    return result
