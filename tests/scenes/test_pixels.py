"""The ground truth is read back from the pixels, by means that the generator does not use."""

import colorsys
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from phantom_edge.scenes import make_scene
from phantom_edge.scenes.canvas import Canvas
from phantom_edge.scenes.colours import named
from phantom_edge.scenes.geometry import Camera, Pose, frame
from phantom_edge.scenes.paint import paint_gauge, paint_sign, paint_solid
from phantom_edge.scenes.parts import DIRECTIONS, Part

SIZE = 224
GREY = (128, 128, 128)
TEAL = (0, 150, 160)  # no named colour, and no mixture of one with its rim


def _scenes(kind, count, split="train"):
    index, scenes = 0, []
    while len(scenes) < count:
        scene = make_scene(split, index, seed=77)
        index += 1
        if scene.kind == kind:
            scenes.append(scene)
    return scenes


def _placed(scene, *kinds):
    rows = zip(scene.parts, scene.poses, strict=True)
    return [(p, q, frame(scene.camera.matrix(), p.x, p.y, p.radius, q)) for p, q in rows if p.kind in kinds]


def _solids(scene, kind, size=SIZE):
    """The objects or the arrow alone, on teal: which pixels are theirs, [H, W] bool."""
    canvas = Canvas(Image.new("RGB", (size, size), TEAL))
    rng = random.Random(0)
    for part, _, at in _placed(scene, kind):
        paint_solid(rng, canvas, part, at, named(rng, part.colour), TEAL)
    return (np.abs(np.asarray(canvas.finish(), int) - TEAL) > 24).any(-1)


def _components(mask):
    """Pixels of each connected component, as rows of (x, y): the largest number in it spreads until nothing
    changes.
    """
    labels, before = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0), None
    while before is None or (labels != before).any():
        before = labels.copy()
        for axis in (0, 1):
            for step in (1, -1):  # nothing touches the edges, so that what rolls round is background
                labels = np.where(mask, np.maximum(labels, np.roll(labels, step, axis)), 0)
    blobs = [np.argwhere(labels == label)[:, ::-1] for label in np.unique(labels[mask])]
    return [blob for blob in blobs if len(blob) > 8]


def _hue_name(rgb):
    """The name of a colour from its hue, saturation and value."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(float(v) / 255 for v in rgb))
    if saturation < 0.35 or value < 0.16:
        return "black" if value < 0.4 else "white"
    degrees = hue * 360
    bounds = (
        (12, "red"),
        (41, "orange"),
        (75, "yellow"),
        (175, "green"),
        (250, "blue"),
        (320, "purple"),
        (361, "red"),
    )
    return next(name for limit, name in bounds if degrees < limit)


def test_objects_have_the_colour_of_their_name_in_the_finished_picture():
    right = total = 0
    for scene in _scenes("objects", 150):
        pixels = np.asarray(scene.render(SIZE))
        ys, xs = np.mgrid[0:SIZE, 0:SIZE]
        for part in scene.parts:
            distance = np.hypot(xs + 0.5 - part.x * SIZE, ys + 0.5 - part.y * SIZE) / (part.radius * SIZE)
            inside = (abs(distance - 0.83) < 0.08) if part.label == "ring" else distance < 0.3
            right += _hue_name(np.median(pixels[inside], axis=0)) == part.colour
            total += 1
    assert total > 400
    assert right / total > 0.98


def test_each_object_is_one_blob_at_its_place_of_its_size():
    size = 128
    for scene in _scenes("objects", 25):
        blobs = _components(_solids(scene, "object", size))
        assert len(blobs) == len(scene.parts)
        for part in scene.parts:
            boxes = [(b.min(0), b.max(0) + 1, len(b)) for b in blobs]
            low, high, area = min(
                boxes, key=lambda b: np.hypot(*((b[0] + b[1]) / 2 / size - (part.x, part.y)))
            )
            assert np.hypot(*((low + high) / 2 / size - (part.x, part.y))) < 0.22 * part.radius + 0.005
            assert (high - low).max() / size / 2 == pytest.approx(part.radius, rel=0.35)
            assert 0.6 < math.sqrt(area / math.pi) / size / part.radius < 1.2


def test_a_ring_has_a_hole_and_a_circle_has_none():
    for label, filled in (("ring", False), ("circle", True), ("heart", True), ("square", True)):
        part = Part("object", label, "red", 0.4, 0.6, 0.15)
        canvas = Canvas(Image.new("RGB", (SIZE, SIZE), GREY))
        paint_solid(
            random.Random(1), canvas, part, frame(np.eye(3), 0.4, 0.6, 0.15, Pose()), (200, 20, 20), GREY
        )
        red, green, _ = canvas.finish().getpixel((round(0.4 * SIZE), round(0.6 * SIZE)))
        assert (red > green + 80) == filled


def test_the_arrow_points_where_its_label_says():
    for scene in _scenes("arrow", 60):
        part = next(p for p in scene.parts if p.kind == "arrow")
        pixels = np.argwhere(_solids(scene, "arrow"))[:, ::-1] + 0.5 - np.array([part.x, part.y]) * SIZE
        axis = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)[2][0]
        along, across = pixels @ axis, np.abs(pixels @ np.array([-axis[1], axis[0]]))
        if across[along > 0].mean() < across[along < 0].mean():  # the head is the wide half
            axis = -axis
        angle = math.degrees(math.atan2(axis[0], -axis[1]))  # clockwise from up
        off = (angle - 45 * DIRECTIONS.index(part.label) + 180) % 360 - 180
        assert abs(off) < 19


def _gauge(reading, camera):
    part = Part("gauge", str(reading), "", 0.5, 0.5, 0.3)
    canvas = Canvas(Image.new("RGB", (SIZE, SIZE), GREY))
    paint_gauge(random.Random(4), canvas, part, frame(camera.matrix(), 0.5, 0.5, 0.3, Pose()))
    return np.asarray(canvas.finish(), int)


@pytest.mark.parametrize(
    ("reading", "direction"),  # by hand: x to the right, y down
    [
        (0, (-0.707, 0.707)),
        (17, (-0.998, -0.07)),
        (50, (0, -1)),
        (75, (0.924, -0.383)),
        (100, (0.707, 0.707)),
    ],
)
def test_the_needle_points_at_the_reading(reading, direction):
    other = 50 if reading != 50 else 10
    changed = (np.abs(_gauge(reading, Camera()) - _gauge(other, Camera())) > 60).any(-1)
    points = (np.argwhere(changed)[:, ::-1] + 0.5) / SIZE - 0.5
    far = points[np.hypot(*points.T) > 0.17]
    mine = far[far @ np.array(direction) > 0.1]
    mean = mine.mean(0) / np.hypot(*mine.mean(0))
    assert mean @ direction > math.cos(math.radians(3))


def _template(letter):
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((32, 32 + 18), letter, fill=255, font=ImageFont.load_default(50), anchor="ms")
    return np.asarray(image, np.float32)


def test_letters_are_where_and_what_their_parts_say():
    """Each letter, cut out at its part, is most like its own of 26 templates; each sign turned upright
    first.
    """
    cap = -ImageFont.load_default(50).getbbox("H", anchor="ls")[1]
    names = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    bank = np.stack([_template(c).ravel() for c in names])
    bank = (bank - bank.mean(1, keepdims=True)) / bank.std(1, keepdims=True)
    right = total = 0
    for scene in _scenes("sign", 60):
        scene = replace(scene, camera=Camera(scene.camera.turn, 0.0, 0.0))
        (part, pose, at), *_ = _placed(scene, "sign")
        canvas = Canvas(Image.new("RGB", (SIZE, SIZE), GREY))
        paint_sign(random.Random(2), canvas, part, pose, at)
        image = (
            canvas.finish()
            .convert("L")
            .rotate(
                pose.angle + scene.camera.turn,
                Image.Resampling.BICUBIC,
                center=(part.x * SIZE, part.y * SIZE),
            )
        )
        turn = math.radians(-pose.angle - scene.camera.turn)
        for letter in (p for p in scene.parts if p.kind == "letter"):
            dx, dy = letter.x - part.x, letter.y - part.y
            x = part.x + dx * math.cos(turn) - dy * math.sin(turn)
            y = part.y + dx * math.sin(turn) + dy * math.cos(turn)
            half = letter.radius * 2 * 32 / cap
            box = tuple(v * SIZE for v in (x - half, y - half, x + half, y + half))
            patch = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR, box=box), np.float32).ravel()
            scores = np.abs(bank @ (patch - patch.mean()))  # the ink may be lighter or darker than the plate
            right += names[scores.argmax()] == letter.label
            total += 1
    assert right / total > 0.9


def test_the_centre_of_a_part_survives_the_camera():
    for scene in _scenes("objects", 20):
        for part, _, at in _placed(scene, "object"):
            middle = at @ (0, 0, 1.0)
            assert np.allclose(middle[:2] / middle[2], (part.x, part.y))
            step = 1e-4  # the area of a small square about the centre gives the radius
            corners = np.array([(0, 0, 1), (step, 0, 1), (0, step, 1)]) @ at.T
            o, u, v = corners[:, :2] / corners[:, 2:]
            area = np.cross(np.append(u - o, 0), np.append(v - o, 0))[2] / step**2
            assert math.sqrt(area) == pytest.approx(part.radius, rel=1e-3)
