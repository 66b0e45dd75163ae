"""How long work says what it is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Step = Callable[[str], None]
"""Called with what is done now, in a few words."""

Track = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps what is iterated over, so that its progress can be shown under a few words."""


def no_step(text: str) -> None:
    """A :data:`Step` that shows nothing."""


def no_track(items: Iterable[Any], text: str) -> Iterable[Any]:
    """A :data:`Track` that shows nothing."""
    return items


def prefixed(step: Step, prefix: str) -> Step:
    """A :data:`Step` that says before each text what it belongs to.

    >>> prefixed(print, "process 1 of 2")("loading")
    process 1 of 2: loading
    """
    return lambda text: step(f"{prefix}: {text}")
