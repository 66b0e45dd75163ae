"""How a report came about: when, with which versions, on what machine."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

from phantom_edge import __version__
from phantom_edge.versions import TESTED, installed


def provenance(*, dated: bool = True) -> dict[str, str]:
    """Date, versions and machine, by what they are called on a page.

    A page inside a bundle is not ``dated``: two exports of the same model have the same files.

    >>> from phantom_edge.report.provenance import provenance
    >>> list(provenance())[:2]
    ['date', 'phantom-edge']
    """
    date = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"} if dated else {}
    libraries = ", ".join(f"{name} {version}" for name, version in installed(*TESTED).items())
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return {**date, "phantom-edge": __version__, "libraries": libraries, "machine": machine}
