"""Programs beside Python: where they are, and what several of them say at once, within a time."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from phantom_edge.system.children import child

BROWSERS: Final = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "msedge",
)  # fmt: skip
MAC_BROWSERS: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)


def installed(*names: str) -> str | None:
    """The path of the first program that is there, by its name on the PATH or by its own path.

    >>> from phantom_edge.system.programs import installed
    >>> installed("no-such-program", "no-such-program-either") is None
    True
    """
    for name in names:
        path = name if Path(name).is_absolute() and Path(name).is_file() else shutil.which(name)
        if path is not None:
            return path
    return None


def outputs(commands: Mapping[str, Sequence[str]], patience: float) -> dict[str, tuple[int, str] | None]:
    """Exit code and output of commands that run side by side, for at most ``patience`` seconds in all.

    None stands for a command that cannot be started, or that has not ended by then; it is ended.

    >>> import sys
    >>> from phantom_edge.system.programs import outputs
    >>> outputs({"python": [sys.executable, "-c", "print(1)"], "none": ["no-such-program"]}, 30)
    {'python': (0, '1'), 'none': None}
    """
    done: dict[str, tuple[int, str] | None] = dict.fromkeys(commands)
    deadline = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        started = {}
        for name, command in commands.items():
            with contextlib.suppress(OSError):
                started[name] = stack.enter_context(
                    child(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                        errors="replace",
                    )
                )
        for name, process in started.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                text, _ = process.communicate(timeout=max(0.01, deadline - time.monotonic()))
                done[name] = process.returncode, text.strip()
    return done
