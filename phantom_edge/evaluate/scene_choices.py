"""All answers that a scene's question allows, where these can be listed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Final

from phantom_edge.scenes.parts import COLOURS, DIRECTIONS, POSITIONS, SHAPES

COUNTS: Final = tuple(str(n) for n in range(13))
"""More objects than any scene has."""
OBJECTS: Final = tuple(f"the {colour} {shape}" for colour, shape in itertools.product(COLOURS, SHAPES))
_OBJECT = re.compile(f"the (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})")
_OF_TASK: Final[Mapping[str, tuple[str, ...]]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "count": COUNTS,
    "position": POSITIONS,
    "yesno": ("yes", "no"),
    "arrow": DIRECTIONS,
}


def choices_of(task: str, question: str) -> tuple[str, ...]:
    """The answers to a question; none for what is read off a sign, a display or a gauge, and for captions.

    >>> choices_of("size", "Which is larger, the red ring or the blue star?")
    ('the red ring', 'the blue star')
    """
    if task == "size":
        return tuple(_OBJECT.findall(question))
    if task == "relation":
        for pair in (("left", "right"), ("above", "below")):
            if re.search(rf"\b{pair[0]} or .*\b{pair[1]}\b", question):
                return pair
        return OBJECTS
    return _OF_TASK.get(task, ())
