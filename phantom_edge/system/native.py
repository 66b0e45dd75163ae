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
def quiet_native(*, stdout: bool = False) -> Iterator[None]:
    """Hold back what native code writes to stderr, and to ``stdout`` if asked, while the block runs; with
    --debug it is shown if the block fails.

    ExecuTorch logs every probe of the processor's description when its first kernel is set up, Qualcomm's
    emulator a line on stdout.
    """
    for stream in (sys.stderr, sys.stdout):
        if stream is not None:  # it is None where there is no terminal and no file behind it
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    with _sink() as output, contextlib.ExitStack() as stack:
        try:
            kept = {number: os.dup(number) for number in ((2, 1) if stdout else (2,))}
        except OSError:  # nothing is open there: nothing is shown
            yield
            return
        for number, copy in kept.items():
            stack.callback(os.close, copy)
            os.dup2(output.fileno(), number)
        try:
            yield
        except BaseException:
            if os.environ.get(DEBUG):  # else the one line of the error says it
                output.seek(0)
                os.write(kept[2], output.read())
            raise
        finally:
            if stdout:
                _flush_native()
            for number, copy in kept.items():
                os.dup2(copy, number)


def _flush_native() -> None:
    """Write what C code has printed and not yet written."""
    import ctypes  # not for everybody: it needs a library that a small Python lacks

    ctypes.CDLL(None).fflush(None)


def _sink() -> IO[bytes]:
    """A file without a name; nothing is shown again where there is no room for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")
