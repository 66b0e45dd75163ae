"""coremltools' building blocks of an ML Program, imported in silence for the other modules."""

from phantom_edge.export.coreml.toolkit import coremltools

coremltools()

from coremltools.converters.mil.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil.mil import Function, Program, Var, get_new_symbol, types  # noqa: E402

__all__ = ["Function", "Program", "Var", "get_new_symbol", "mb", "types"]
