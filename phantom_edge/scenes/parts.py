"""The words of the scenes: what can be seen, what it is called, and a record for each thing."""

from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
TASKS = (
    "colour", "shape", "size", "count", "position", "relation",
    "yesno", "sign", "digits", "gauge", "arrow", "caption",
)  # fmt: skip
FURTHER_TASKS = ("pointed", "absent", "nothing")  # of what a pin points at, and of what is not there
SHAPES = ("circle", "square", "triangle", "star", "ring", "heart", "cross", "diamond")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "black", "white")
# Clockwise, 45° apart.
DIRECTIONS = ("up", "up right", "right", "down right", "down", "down left", "left", "up left")
POSITIONS = (
    "top left", "top", "top right",
    "left", "centre", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
DEVICES = ("sign", "display", "gauge", "arrow")  # the kinds that are things of their own and not "objects"


@dataclass(frozen=True)
class Part:
    """One thing that can be seen: the ground truth.

    kind: object, letter, digit, gauge, arrow, sign or display. label: the shape's name, the letter, the
    digit, the arrow's direction, the gauge's reading as integer text, or the whole text of a sign or display.
    colour: the name for an object or arrow, "" elsewhere. x, y, radius: centre and radius in 0..1 of the
    final image, after the camera's warp; for a plate the radius is half its longer side, for a letter half
    its height.
    """

    kind: str
    label: str
    colour: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Triple:
    """A question on an image with its answer and a plausible wrong (incorrect or ambiguous) one."""

    task: str
    question: str
    answer: str
    wrong: str
