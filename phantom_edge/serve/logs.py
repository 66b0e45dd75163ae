"""The server's log: a JSON object a line on standard error, without a word of what users write."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from typing import Any


def log(event: str, **facts: Any) -> None:
    """Write a line; a log that cannot be written stops nothing."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": event, **facts}) + "\n"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line)
        sys.stderr.flush()
