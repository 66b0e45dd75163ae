"""Native libraries that talk on stderr while they load or fail."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Final

DEBUG: Final = "PHANTOM_EDGE_DEBUG"  # what --debug sets


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Hold back what native code writes to stderr while the block runs; with --debug it is shown
    if the block fails.

    ExecuTorch logs every probe of the processor's description when its first kernel is set up.
    """
    if sys.stderr is not None:  # it is None where there is no terminal and no file behind it
        sys.stderr.flush()
    with _sink() as output, contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # nothing is open there: nothing is shown
            yield
            return
        stack.callback(os.close, kept)
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            if os.environ.get(DEBUG):  # else the one line of the error says it
                output.seek(0)
                os.write(kept, output.read())
            raise
        finally:
            os.dup2(kept, 2)


def _sink() -> IO[bytes]:
    """A file without a name; nothing is shown again where there is no room for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")
