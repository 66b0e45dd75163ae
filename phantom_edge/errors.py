"""The two ways a command can end badly, and the exit code of each."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class PhantomEdgeError(Exception):
    """Base of the toolkit's own errors: one line that says what is wrong and how to mend it."""

    exit_code = 1


class InputError(PhantomEdgeError):
    """Wrong use or bad input: a broken file, an unknown name, a prompt that does not fit. Exit code 2."""

    exit_code = 2


class NoRoomError(InputError):
    """A task needs more memory or disk than this machine has; verification then leaves the check out."""


class CheckError(PhantomEdgeError):
    """A check ran and failed: the artifact is not what it should be. Exit code 1."""

    exit_code = 1


def unreadable(path: Path, error: OSError) -> InputError:
    """What to say of a file that is there and that the system does not let this process read."""
    if isinstance(error, PermissionError):
        return InputError(f"{path}: you may not read it ({error.strerror}); change its permissions")
    return InputError(f"{path}: cannot be read ({error.strerror or error}); look at the disk that it lies on")


def first_line(error: Exception) -> str:
    """What an error of a library says, in a line of at most 200 characters."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or nothing.

    >>> did_you_mean("andriod", ["ios", "android"])
    " (did you mean 'android'?)"
    """
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
