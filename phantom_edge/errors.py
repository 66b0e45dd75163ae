"""The two ways a command can end badly, and the exit code of each."""


class PhantomEdgeError(Exception):
    """Base of every error the toolkit raises on purpose: one line that says what is wrong and how to mend
    it.
    """

    exit_code = 1


class InputError(PhantomEdgeError):
    """Wrong use or bad input: a broken file, an unknown name, a prompt that does not fit. Exit code 2."""

    exit_code = 2


class NoRoomError(InputError):
    """What was asked needs more memory or disk than this machine has. A check that meets it says so and is
    left out.
    """


class CheckError(PhantomEdgeError):
    """A check ran and failed: the artifact is not what it should be. Exit code 1."""

    exit_code = 1
