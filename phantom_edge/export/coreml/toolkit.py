"""coremltools without its import-time warnings, which say nothing about what is done here.

They go through ``logging`` and ``warnings``: both are silenced while the import runs, and from then on
coremltools reports errors only.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import ModuleType
from typing import Final

OTHER_TOOLS: Final = ("executorch", "sklearn", "torchao", "transformers")
"""Packages from which coremltools could convert, each of which it imports where it is installed."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and progress bars of this whole process while coremltools works."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        # Its progress bars have no switch; what goes wrong comes as an exception, not on stderr.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _without_other_tools() -> Iterator[None]:
    """Let no package be imported of which nothing is converted here: three seconds of four.

    Those that this process has imported by itself stay what they are, for coremltools too.
    """
    hidden = [name for name in OTHER_TOOLS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: its import fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def coremltools() -> ModuleType:
    """The module, imported in silence; takes a second the first time."""
    if "coremltools" not in sys.modules:
        with quiet(), _without_other_tools():
            import coremltools as ct
    import coremltools as ct

    logging.getLogger("coremltools").setLevel(logging.ERROR)
    module: ModuleType = ct
    return module
