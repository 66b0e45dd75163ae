"""Made-up pictures with their ground truth, endless: what a tiny model is trained and examined on.

>>> from phantom_edge.scenes import make_scene
>>> scene = make_scene("train", 0)
>>> image, triples = scene.render(224), scene.triples()
"""

from phantom_edge.scenes.parts import SPLITS, TASKS, Part, Triple
from phantom_edge.scenes.scene import Scene, make_scene
from phantom_edge.scenes.scoring import correct

__all__ = ["SPLITS", "TASKS", "Part", "Scene", "Triple", "correct", "make_scene"]
