"""What a machine may lack: tests that need it are skipped with a reason that begins with ``needs``.

``needs THING (how to get it)`` or ``needs THING: more``; the end of a run counts the skipped tests by THING.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


def skipped_line(reasons: Iterable[str]) -> str:
    """One line that counts skipped tests by what they lack, most first; empty without any."""
    lacking = Counter(re.sub(r"^Skipped: (needs )?|( \(|: ).*$", "", reason) for reason in reasons)
    counts = ", ".join(f"{count} for want of {thing}" for thing, count in lacking.most_common())
    return f"skipped: {counts}" if counts else ""
