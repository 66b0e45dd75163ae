"""Run a Core ML ``.mlpackage`` (ML Program) on any machine, to prove an export right without a Mac."""

from phantom_edge.mil.model import MilModel
from phantom_edge.mil.state import MilState
from phantom_edge.mil.types import TensorType

__all__ = ["MilModel", "MilState", "TensorType"]
