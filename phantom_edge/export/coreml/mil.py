"""coremltools' building blocks of an ML Program, imported in silence for the other modules."""

from phantom_edge.export.coreml.toolkit import coremltools

coremltools()

from coremltools.converters.mil.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil.mil import Function, Program, Var, get_new_symbol, types  # noqa: E402

__all__ = ["Function", "Program", "Var", "get_new_symbol", "mb", "new_program", "types"]


def new_program() -> Program:
    """A program without functions, whose unnamed values are numbered from 0.

    coremltools numbers them over the whole process and begins anew after a conversion only. So what was built
    before and not converted would show in the bytes of this program.
    """
    mb.name_count.clear()
    return Program()
