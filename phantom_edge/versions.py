"""Versions of the libraries that are installed beside this one."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def installed(*names: str) -> dict[str, str]:
    """The version of each distribution that is there; others are left out.

    >>> list(installed("numpy", "no-such-library"))
    ['numpy']
    """
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
