"""Versions of the libraries that are installed beside this one."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(*names: str) -> dict[str, str]:
    """The version of each distribution that is there; others are left out.

    >>> list(installed("numpy", "no-such-library"))
    ['numpy']
    """
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
