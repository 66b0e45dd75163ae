"""Packages of others that this installation lacks: one line that says which, and how to get it.

The toolkit comes as two distributions of one package: ``phantom-edge`` has everything, ``phantom-edge-box``
what a box needs to run a bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from phantom_edge.errors import InputError

FULL: Final = "phantom-edge"
BOX: Final = "phantom-edge-box"
_EXTRA: Final = re.compile(r"([\w.-]+)[^;]*;.*\bextra == ['\"]([\w-]+)['\"]")


def installed_as() -> list[str]:
    """Which of the two distributions are installed: one, or both, or none where only the sources are.

    >>> set(installed_as()) <= {"phantom-edge", "phantom-edge-box"}
    True
    """
    return [name for name in (FULL, BOX) if _requirements(name) is not None]


def missing(error: BaseException, instead: str = "") -> InputError | None:
    """What to tell a user of an import that failed for want of a package; None for every other error.

    ``instead`` is what can be done without the package.

    >>> print(missing(ModuleNotFoundError("No module named 'onnx.helper'", name="onnx.helper")))
    this needs onnx, which is not installed here; get it with: pip install phantom-edge
    """
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name == __name__.partition(".")[0] and installed_as() == [BOX]:
        return InputError(f"this is no part of {BOX}, which runs bundles; get all with: pip install {FULL}")
    if name in ("", __name__.partition(".")[0]):
        return None
    way = f"{instead}, or get it" if instead else "get it"
    return InputError(f"this needs {name}, which is not installed here; {way} with: {_command(name)}")


@contextmanager
def needed(instead: str = "") -> Iterator[None]:
    """Imports of packages that not every installation has. Raises :class:`InputError` as :func:`missing`."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(error, instead) or error from error


def _command(module: str) -> str:
    """The ``pip`` command for a module: an extra of what is installed, or else the whole toolkit."""
    for distribution in installed_as():
        for line in _requirements(distribution) or ():
            match = _EXTRA.match(line)
            if match and match[1].replace("-", "_").lower() == module:
                return f'pip install "{distribution}[{match[2]}]"'
    return f"pip install {FULL}"


def _requirements(distribution: str) -> list[str] | None:
    """The lines of a distribution's requirements; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, requires  # slow, and needed after a failure only

    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        return None
