"""The two ways a command can end badly, and the exit code of each."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

MAX_MESSAGE: Final = 300 - len("error: ")
"""Most characters of an error, so that what a terminal shows of it is one short line."""
MAX_SHOWN: Final = 60
"""Most characters of a value that an error quotes."""


class PhantomEdgeError(Exception):
    """Base of the toolkit's own errors: one line that says what is wrong and how to mend it.

    A message that is longer than :data:`MAX_MESSAGE` loses its middle: the file's name and the way to mend
    it are at its ends.
    """

    exit_code = 1

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message)))


class InputError(PhantomEdgeError):
    """Wrong use or bad input: a broken file, an unknown name, a prompt that does not fit. Exit code 2."""

    exit_code = 2


class NoRoomError(InputError):
    """A task needs more memory or disk than this machine has; verification then leaves the check out."""


class ContextError(InputError):
    """A prompt does not fit the model's context."""


class UnwritableError(InputError):
    """A place where nothing can be written: full, read-only, missing, or not this user's."""


class CheckError(PhantomEdgeError):
    """A check ran and failed: the artifact is not what it should be. Exit code 1."""

    exit_code = 1


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """``text`` in one line of at most ``limit`` characters that every terminal can show.

    >>> one_line("a\\n  b\\x1b[2J"), one_line("x" * 500, limit=9)
    ('a b\\\\x1b[2J', 'xxx … xxx')
    """
    if len(text) > 4 * limit:  # a text of megabytes is not looked at as a whole
        text = text[: 2 * limit] + text[-2 * limit :]
    line = "".join(c if c.isprintable() else _escaped(c) for c in " ".join(text.split()))
    if len(line) <= limit:
        return line
    end = (limit - 3) // 2
    return f"{line[: limit - 3 - end]} … {line[-end:]}"


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """A value for an error's text, at most ``limit`` characters of it.

    >>> shown("no" * 99, limit=9), shown(10**999), shown([1] * 9)
    ("'no … no'", 'a number of more than 60 digits', '[1, 1, 1, 1, …]')
    """
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN:
        return f"a number of more than {MAX_SHOWN} digits"  # Python itself refuses to write a very long one
    if isinstance(value, str):
        return one_line(repr(value if len(value) <= 4 * limit else value[:limit] + value[-limit:]), limit)
    if isinstance(value, (list, tuple)):
        items = [shown(item, limit) for item in value[:4]] + ["…"] * (len(value) > 4)
        return one_line(f"[{', '.join(items)}]", limit)
    if isinstance(value, Mapping):
        pairs = (f"{shown(name, limit)}: {shown(item, limit)}" for name, item in list(value.items())[:4])
        return one_line(f"{{{', '.join([*pairs, *['…'] * (len(value) > 4)])}}}", limit)
    return one_line(repr(value), limit)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in a line of at most 200 characters."""
    lines = (line for line in str(error)[:2000].splitlines() if line.strip())
    return one_line(next(lines, type(error).__name__), 200)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or nothing.

    >>> did_you_mean("andriod", ["ios", "android"])
    " (did you mean 'android'?)"
    """
    close = difflib.get_close_matches(name[:MAX_SHOWN].lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
