"""coremltools without its import-time warnings, which say nothing about what is done here.

They go through ``logging`` and ``warnings``: both are silenced while the import runs, and from then on
coremltools reports errors only.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import ModuleType


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


def coremltools() -> ModuleType:
    """The module, imported in silence; takes seconds the first time."""
    with quiet():
        import coremltools as ct
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    module: ModuleType = ct
    return module
