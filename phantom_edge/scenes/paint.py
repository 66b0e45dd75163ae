"""How each kind of part is drawn."""

import math
import random
from collections.abc import Sequence

import numpy as np

from phantom_edge.scenes import shapes
from phantom_edge.scenes import text as lettering
from phantom_edge.scenes.backdrop import CONTRAST
from phantom_edge.scenes.canvas import Canvas
from phantom_edge.scenes.colours import RGB, darker, distance, hsv, lighter, luminance, mix, muted, named
from phantom_edge.scenes.geometry import Pose, compose, frame, project
from phantom_edge.scenes.parts import Part

BLACK, WHITE = (18, 18, 20), (240, 240, 240)


def silhouette(part: Part, pose: Pose, matrix: np.ndarray) -> np.ndarray:
    """The outer contour of a part in the image [N, 2]: what throws a shadow."""
    if part.kind == "object":
        return project(matrix, shapes.outline(part.label)[0])
    if part.kind == "arrow":
        return project(matrix, shapes.arrow(0.2, 0.8))
    if part.kind == "gauge":
        return project(matrix, shapes.outline("circle")[0])
    return project(matrix, shapes.plate(*pose.half, 0.1))


def paint_all(
    rng: random.Random,
    canvas: Canvas,
    things: Sequence[tuple[Part, Pose]],
    colours: Sequence[RGB | None],
    camera: np.ndarray,
    bases: Sequence[RGB],
) -> None:
    """All things with their shadows, as a camera [3, 3] sees them; ``bases``: what is behind each of them."""
    frames = [frame(camera, part.x, part.y, part.radius, pose) for part, pose in things]
    if rng.random() < 0.5:
        shift = np.array([rng.uniform(-0.02, 0.02), rng.uniform(0.005, 0.025)])
        under = [silhouette(p, q, f) + shift for (p, q), f in zip(things, frames, strict=True)]
        canvas.shadow(under, rng.uniform(0.006, 0.02), rng.uniform(0.25, 0.55))
    for (part, pose), at, colour, base in zip(things, frames, colours, bases, strict=True):
        if part.kind == "sign":
            paint_sign(rng, canvas, part, pose, at)
        elif part.kind == "display":
            paint_display(rng, canvas, part, pose, at)
        elif part.kind == "gauge":
            paint_gauge(rng, canvas, part, at)
        elif colour is not None:
            paint_solid(rng, canvas, part, at, colour, base)


def paint_solid(
    rng: random.Random, canvas: Canvas, part: Part, matrix: np.ndarray, colour: RGB, backdrop: RGB
) -> None:
    """An object or an arrow in its colour, flat or shaded, with a rim where the background is close."""
    if part.kind == "arrow":
        outline: tuple[np.ndarray, ...] = (shapes.arrow(rng.uniform(0.1, 0.24), rng.uniform(0.65, 0.95)),)
    else:
        outline = shapes.outline(part.label)
    contours = [project(matrix, contour) for contour in outline]
    shaded = rng.random() < 0.35
    amount = rng.uniform(0.08, 0.22)
    plain = part.colour in ("black", "white")
    ends = (colour, colour)
    if shaded:
        ends = lighter(colour, amount * (0.5 if plain else 1)), darker(colour, amount * 0.6)
    if len(contours) == 1 and not shaded:
        canvas.polygon(contours[0], colour)
    else:
        canvas.shade(contours, *ends, rng.uniform(0, 2 * math.pi))
    close = distance(colour, backdrop) < CONTRAST * (1.8 if plain else 1.1)
    if close or rng.random() < 0.3:
        rim = BLACK if luminance(colour) > 110 else WHITE
        if not close and rng.random() < 0.5:
            rim = darker(colour, 0.45)
        for contour in contours:
            canvas.line(contour, rim, part.radius * rng.uniform(0.05, 0.1), closed=True)


def _plate_colours(rng: random.Random) -> tuple[RGB, RGB]:
    """Plate and ink, far apart."""
    choice = rng.random()
    if choice < 0.4:
        plate, dark = muted(rng, 0.82, 0.97), named(rng, rng.choice(("blue", "red", "green", "purple")))
        ink = rng.choice((BLACK, BLACK, darker(dark, 0.35)))
    elif choice < 0.6:
        plate, ink = muted(rng, 0.08, 0.3), rng.choice((WHITE, lighter(named(rng, "yellow"), 0.2)))
    elif choice < 0.8:
        plate, ink = darker(named(rng, rng.choice(("red", "green", "blue", "purple"))), 0.1), WHITE
    else:
        plate, ink = named(rng, rng.choice(("yellow", "orange", "yellow"))), BLACK
    return plate, ink


def paint_sign(rng: random.Random, canvas: Canvas, part: Part, pose: Pose, matrix: np.ndarray) -> None:
    plate, ink = _plate_colours(rng)
    corner = rng.choice((0.0, 0.08, 0.16))
    canvas.polygon(project(matrix, shapes.plate(*pose.half, corner)), plate)
    if rng.random() < 0.5:
        inset = pose.glyph * rng.uniform(0.0, 0.1)
        border = ink if rng.random() < 0.6 else darker(plate, 0.4)
        line = shapes.plate(pose.half[0] - inset, pose.half[1] - inset, corner)
        width = part.radius * pose.glyph * rng.uniform(0.03, 0.08)
        canvas.line(project(matrix, line), border, width, closed=True)
    canvas.text(matrix, part.label, pose.glyph, pose.spacing, rng.uniform(0, 0.085), ink)


def paint_display(rng: random.Random, canvas: Canvas, part: Part, pose: Pose, matrix: np.ndarray) -> None:
    """A panel in its casing: dark on grey-green, glowing on black, or printed digits on white."""
    if rng.random() < 0.5:
        panel, ink = hsv(rng.uniform(60, 140), rng.uniform(0.05, 0.25), rng.uniform(0.6, 0.8)), (25, 30, 28)
    else:
        panel = hsv(rng.uniform(0, 360), 0.2, rng.uniform(0.04, 0.12))
        ink = hsv(rng.choice((2, 35, 120, 185, 55)), rng.uniform(0.3, 0.85), rng.uniform(0.9, 1.0))
    casing = muted(rng, 0.2, 0.9)
    canvas.polygon(project(matrix, shapes.plate(*pose.half, 0.06)), casing)
    inset = pose.glyph * rng.uniform(0.07, 0.14)
    canvas.polygon(project(matrix, shapes.plate(pose.half[0] - inset, pose.half[1] - inset, 0.03)), panel)
    if pose.style != "segments":
        canvas.text(matrix, part.label, pose.glyph, pose.spacing, rng.uniform(0, 0.085), ink)
        return
    thickness = rng.uniform(0.11, 0.18)
    unlit = mix(panel, ink, 0.08) if rng.random() < 0.5 else None
    middle = (len(part.label) - 1) / 2
    for number, digit in enumerate(part.label):
        shift = np.array([(number - middle) * lettering.SEGMENT_STEP, 0.0])
        for polygon, lit in lettering.segments(int(digit), thickness):
            fill = ink if lit else unlit
            if fill is not None:
                canvas.polygon(project(matrix, (polygon + shift) * pose.glyph), fill)


def _around(degrees: float | np.ndarray, radius: float) -> np.ndarray:
    """Points on a circle at angles clockwise from up: [N, 2]."""
    angle = np.radians(np.atleast_1d(degrees))
    return np.stack([np.sin(angle), -np.cos(angle)], 1) * radius


def needle_angle(reading: float) -> float:
    """Degrees clockwise from up: 0 at the lower left, 100 at the lower right, 270° in between."""
    return -135 + 2.7 * reading


def paint_gauge(rng: random.Random, canvas: Canvas, part: Part, matrix: np.ndarray) -> None:
    light = rng.random() < 0.65
    face, ink = (muted(rng, 0.86, 0.98), BLACK) if light else (muted(rng, 0.06, 0.2), WHITE)
    rim = muted(rng, 0.15, 0.45) if light else muted(rng, 0.5, 0.85)
    disc = shapes.outline("circle")[0]
    canvas.polygon(project(matrix, disc), rim)
    canvas.polygon(project(matrix, disc * rng.uniform(0.88, 0.95)), face)
    minor = rng.choice((10, 10, 5, 25))
    outer = rng.uniform(0.8, 0.86)
    for value in range(0, 101, minor):
        major = value % 50 == 0
        length, width = (0.17, 0.05) if major else (0.09, 0.025)
        ends = np.concatenate([_around(needle_angle(value), radius) for radius in (outer, outer - length)])
        canvas.line(project(matrix, ends), ink, part.radius * width)
    for value in (0, 50, 100) if rng.random() < 0.7 else ():
        x, y = _around(needle_angle(value), 0.48)[0]
        shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
        canvas.text(compose(matrix, shift), str(value), 0.17, 0.0, 0.02, ink)
    _needle(rng, canvas, part, matrix, light, ink)


def _needle(rng: random.Random, canvas: Canvas, part: Part, matrix: np.ndarray, pale: bool, ink: RGB) -> None:
    colours = ("red", "blue", "orange", "green") if pale else ("red", "yellow", "orange", "white")
    colour = ink if rng.random() < 0.3 else named(rng, rng.choice(colours))
    angle, wide = needle_angle(int(part.label)), rng.uniform(0.05, 0.09)
    tip, tail = _around(angle, rng.uniform(0.74, 0.84))[0], -_around(angle, rng.uniform(0.0, 0.18))[0]
    side = _around(angle + 90, wide)[0]
    blunt = side * rng.uniform(0.1, 0.5)
    canvas.polygon(project(matrix, np.array([tail + side, tip + blunt, tip - blunt, tail - side])), colour)
    hub = shapes.outline("circle")[0] * rng.uniform(0.1, 0.15)
    canvas.polygon(project(matrix, hub), rng.choice((ink, colour)))
