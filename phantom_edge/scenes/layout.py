"""What is in a scene and where: answers balanced, nothing overlapping, everything inside."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from phantom_edge.scenes import text as lettering
from phantom_edge.scenes.geometry import Camera, Pose, frame, project
from phantom_edge.scenes.parts import COLOURS, DIRECTIONS, SHAPES, Part
from phantom_edge.scenes.shapes import REACH

KINDS = {"objects": 50, "sign": 16, "display": 10, "gauge": 10, "arrow": 10, "mixed": 4}  # shares in percent
MIXED = (("sign", "arrow"), ("display", "gauge"))
SMALLEST, LARGEST = 0.055, 0.2  # radius of an object
EDGE, GAP = 0.02, 0.02  # least distance to the picture's edge and between things
# Shapes that could be taken for the thing itself do not stand beside it.
LOOKALIKES = {
    "sign": ("square",), "display": ("square",), "gauge": ("circle", "ring"), "arrow": ("triangle",),
}  # fmt: skip
CAP = 0.105  # least cap height of a sign or display
SLACK = 1.06  # what the camera's tilt may add to a plate's extent
TURN = 6.0  # degrees, the camera's turn at most

Placed = tuple[Part, Pose]


@dataclass
class _Ground:
    """The picture's area as it fills up with boxes (centre, half width, half height) and discs."""

    rng: random.Random
    placed: list[Placed] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    discs: list[tuple[float, float, float]] = field(default_factory=list)

    def free(self, x: float, y: float, half: tuple[float, float]) -> bool:
        """Whether a box with that centre and half size keeps clear of the devices."""
        w, h = half[0] + GAP, half[1] + GAP
        return all(abs(x - bx) > w + bw or abs(y - by) > h + bh for bx, by, bw, bh in self.boxes)

    def box_spot(self, half: tuple[float, float]) -> tuple[float, float] | None:
        """A free centre for a device, uniform over the picture."""
        w, h = half[0] + EDGE, half[1] + EDGE
        if w > 0.5 or h > 0.5:
            return None
        for _ in range(30):
            x, y = self.rng.uniform(w, 1 - w), self.rng.uniform(h, 1 - h)
            if self.free(x, y, half):
                return x, y
        return None

    def disc_spot(self, radius: float) -> tuple[float, float] | None:
        """A free centre for an object, uniform over the picture."""
        reach = radius * REACH
        least = reach + EDGE
        for _ in range(40):
            x, y = self.rng.uniform(least, 1 - least), self.rng.uniform(least, 1 - least)
            apart = all(math.hypot(x - dx, y - dy) > reach + dr * REACH + GAP for dx, dy, dr in self.discs)
            if apart and self.free(x, y, (reach, reach)):
                return x, y
        return None


def draw_layout(rng: random.Random, kind: str, text: Callable[[str], str]) -> tuple[Camera, list[Placed]]:
    """Camera and parts of one scene; `text(device)` gives the text for a sign or display."""
    devices = {"objects": (), "mixed": rng.choice(MIXED)}.get(kind, (kind,))
    texts = {device: text(device) for device in devices if device in ("sign", "display")}
    around = rng.randint(1, 6) if kind == "objects" else rng.randint(0, {"gauge": 2, "mixed": 1}.get(kind, 3))
    camera, shrink = Camera.draw(rng), 1.0
    shapes = [s for s in SHAPES if not any(s in LOOKALIKES[device] for device in devices)]
    labels = list(zip(_theme(rng, shapes, around), _theme(rng, COLOURS, around), strict=True))
    while True:
        ground = _Ground(rng)
        ok = all(_place_device(ground, device, texts.get(device, ""), shrink) for device in devices)
        if ok and _place_objects(ground, labels, shrink):
            return camera, ground.placed + _glyphs(camera, ground.placed)
        shrink = max(shrink * 0.95, 0.3)


def _theme(rng: random.Random, values: Sequence[str], count: int) -> list[str]:
    """`count` values of which a uniformly drawn number are the same: balanced answers for counting."""
    if not count:
        return []
    same = rng.randint(1, count)
    first = rng.choice(values)
    others = [value for value in values if value != first]
    rest = rng.sample(others, count - same) if rng.random() < 0.5 else rng.choices(others, k=count - same)
    result = [first] * same + rest
    rng.shuffle(result)
    return result


def _place_objects(ground: _Ground, labels: list[tuple[str, str]], shrink: float) -> bool:
    """Places all objects, the largest first, or says that they do not fit."""
    rng, count = ground.rng, len(labels)
    largest = (0.13 if ground.boxes else min(LARGEST, 0.37 / math.sqrt(max(count, 1)))) * shrink
    low, high = math.log(SMALLEST), math.log(max(largest, SMALLEST * 1.1))
    radii = sorted((math.exp(rng.uniform(low, high)) for _ in range(count)), reverse=True)
    rows: list[Placed] = []
    for (shape, colour), radius in zip(labels, radii, strict=True):
        spot = ground.disc_spot(radius)
        if spot is None:
            return False
        ground.discs.append((*spot, radius))
        rows.append((Part("object", shape, colour, *spot, radius), Pose(angle=rng.uniform(-10, 10))))
    rng.shuffle(rows)
    ground.placed.extend(rows)
    return True


def _place_device(ground: _Ground, device: str, text: str, shrink: float) -> bool:
    draw = {"sign": _sign, "display": _display, "gauge": _gauge, "arrow": _arrow}[device]
    label, colour, radius, pose = draw(ground.rng, text, shrink)
    half = _reach(pose, radius)
    spot = ground.box_spot(half)
    if spot is None:
        return False
    ground.placed.append((Part(device, label, colour, *spot, radius), pose))
    ground.boxes.append((*spot, *half))
    return True


def _reach(pose: Pose, radius: float) -> tuple[float, float]:
    """Half width and half height in the image of a thing in its pose, whatever the camera's turn."""
    w, h = pose.half
    if w == h:  # round
        return w * radius, h * radius
    turn = math.radians(abs(pose.angle) + TURN)
    c, s = math.cos(turn) * SLACK, math.sin(turn) * SLACK
    return (w * c + h * (s + abs(pose.shear))) * radius, (w * s + h * c) * radius


def _plate(rng: random.Random, width: float, shrink: float, pose: Pose) -> tuple[float, Pose]:
    """Radius and pose of a plate for a line of text that is `width` cap heights wide."""
    half_width, half_height = width / 2 + rng.uniform(0.3, 0.7), 0.5 + rng.uniform(0.25, 0.5)
    across, _ = _reach(replace(pose, half=(half_width, half_height)), 1.0)  # in cap heights
    cap = min(max(CAP, rng.uniform(CAP, 0.3) * shrink), (0.499 - EDGE) / across)
    longer = max(half_width, half_height)
    return cap * longer, replace(pose, glyph=1 / longer, half=(half_width / longer, half_height / longer))


def _sign(rng: random.Random, text: str, shrink: float) -> tuple[str, str, float, Pose]:
    spacing = rng.uniform(0.0, 0.25)
    pose = Pose(rng.uniform(-10, 10), rng.uniform(-0.15, 0.15), spacing, style="font")
    return text, "", *_plate(rng, lettering.centres(text, spacing)[1], shrink, pose)


def _display(rng: random.Random, text: str, shrink: float) -> tuple[str, str, float, Pose]:
    if rng.random() < 0.6:
        width, shear = lettering.SEGMENT_STEP * len(text), rng.choice((0.0, -0.1))
        pose = Pose(rng.uniform(-6, 6), shear, style="segments")
    else:
        spacing = rng.uniform(0.05, 0.25)
        width = lettering.centres(text, spacing)[1]
        pose = Pose(rng.uniform(-6, 6), 0.0, spacing, style="font")
    return text, "", *_plate(rng, width, shrink, pose)


def _gauge(rng: random.Random, _: str, shrink: float) -> tuple[str, str, float, Pose]:
    return str(rng.randint(0, 100)), "", max(0.17, rng.uniform(0.2, 0.34) * shrink), Pose(rng.uniform(-4, 4))


def _arrow(rng: random.Random, _: str, shrink: float) -> tuple[str, str, float, Pose]:
    number = rng.randrange(8)
    radius = max(0.11, rng.uniform(0.12, 0.27) * shrink)
    return DIRECTIONS[number], rng.choice(COLOURS), radius, Pose(number * 45 + rng.uniform(-8, 8))


def _glyphs(camera: Camera, placed: list[Placed]) -> list[Placed]:
    """The letters and digits of the plates as parts of their own."""
    result = []
    for part, pose in placed:
        if part.kind not in ("sign", "display"):
            continue
        if pose.style == "segments":
            middle = (len(part.label) - 1) / 2
            places = [(number - middle) * lettering.SEGMENT_STEP for number in range(len(part.label))]
        else:
            places, _ = lettering.centres(part.label, pose.spacing)
        matrix = frame(camera.matrix(), part.x, part.y, part.radius, pose)
        kind = "letter" if part.kind == "sign" else "digit"
        for character, place in zip(part.label, places, strict=True):
            x, y = project(matrix, np.array([[place * pose.glyph, 0.0]]))[0].tolist()
            result.append((Part(kind, character, "", x, y, part.radius * pose.glyph / 2), Pose()))
    return result
