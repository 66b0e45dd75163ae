"""Run a Core ML ``.mlpackage`` (ML Program) on any machine, to prove an export right without a Mac.

Example:
    >>> from phantom_edge.mil import MilModel
    >>> model = MilModel.load("decoder.mlpackage", mode="lifted")  # doctest: +SKIP
    >>> state = model.make_state()  # doctest: +SKIP
    >>> model.predict({"x": x}, state)["logits"]  # doctest: +SKIP
"""

from phantom_edge.mil.model import MilModel
from phantom_edge.mil.state import MilState
from phantom_edge.mil.types import TensorType

__all__ = ["MilModel", "MilState", "TensorType"]
