"""The right answers to the app's preset questions, as the scenes that the camera shows know them."""

from __future__ import annotations

from phantom_edge.scenes import Scene, Triple
from phantom_edge.scenes.questions import PHRASES

LARGEST, COUNT = "What colour is the largest object?", "How many objects are there?"
SIGN, ARROW, GAUGE = "What does the sign say?", "Which way does the arrow point?", "What does the gauge show?"
CAPTION = "Describe the image."
_ASKED = {
    LARGEST: ("colour", "the largest object"),
    COUNT: ("count", "objects"),
    SIGN: ("sign",),
    ARROW: ("arrow",),
    GAUGE: ("gauge",),
    CAPTION: ("caption",),
}
"""Each preset's kind of question among the scenes' own, and the words in it."""


def truths(scene: Scene) -> dict[str, Triple]:
    """The presets that have one clear answer in the scene, each with it."""
    answers = {}
    for preset, (phrase, *words) in _ASKED.items():
        forms = {form.format(*words) for form in PHRASES[phrase]}
        triple = next((triple for triple in scene.triples() if triple.question in forms), None)
        if triple is not None:
            answers[preset] = triple
    return answers
