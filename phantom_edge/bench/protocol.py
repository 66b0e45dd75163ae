"""How whatever measures tells what it does and finds: one JSON object per line.

``{"step": TEXT}`` while it works; then ``{"run": RUN}`` (the form of
:class:`~phantom_edge.bench.results.Run`), or ``{"error": TEXT, "code": 1 or 2}``. The worker process prints
such lines, and so do the Android and the iOS app.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from phantom_edge.bench.results import Run
from phantom_edge.errors import CheckError, InputError

MAX_LINE = 16 << 20


def read(lines: Iterable[str], step: Callable[[str], None]) -> Run | None:
    """Pass steps on and return the run, if one comes. Raises, by its code, an error that the lines tell."""
    for text in lines:
        line = parsed(text)
        if "step" in line:
            step(str(line["step"]))
        elif "error" in line:
            raise (InputError if line.get("code") == InputError.exit_code else CheckError)(str(line["error"]))
        elif "run" in line:
            return Run.from_dict(line["run"])
    return None


def parsed(text: str) -> dict[str, Any]:
    """One line as an object; whatever a library prints in between counts as an empty one."""
    if len(text) > MAX_LINE or not text.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
