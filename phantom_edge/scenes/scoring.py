"""When a reply counts as right."""

import re

from phantom_edge.errors import InputError
from phantom_edge.scenes.parts import FURTHER_TASKS, TASKS

GAUGE_TOLERANCE = 5  # percentage points
_SPELLINGS = {"color": "colour", "colored": "coloured", "center": "centre"}
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(?:%|percent)?")
_GAUGE = re.compile(r"(.*\bgauge that shows) ([0-9]{1,9})")


def correct(task: str, answer: str, reply: str) -> bool:
    """Whether `reply` is as good as `answer`.

    Equal after lower case, surrounding blanks and punctuation; a gauge within five points; a caption when it
    names the same things, in any order, each as often.

    >>> correct("gauge", "42", "45 %"), correct("sign", "ABC", "abc."), correct("sign", "ABC", "ABD")
    (True, True, False)
    """
    if task not in (*TASKS, *FURTHER_TASKS):
        raise InputError(f"there is no task '{task}': give one of {', '.join(TASKS)}")
    answer, reply = _plain(answer), _plain(reply)
    if task == "gauge":
        return _close(answer, reply)
    if task in ("caption", "pointed"):
        return _same_things(_phrases(answer), _phrases(reply))
    return answer == reply


def _plain(text: str) -> str:
    text = " ".join(text.lower().split()).strip(" .,;:!?\"'`()[]")
    return " ".join(_SPELLINGS.get(word, word) for word in text.split())


def _close(answer: str, reply: str) -> bool:
    want, got = _NUMBER.fullmatch(answer), _NUMBER.fullmatch(reply)
    if want is None or got is None:
        return answer == reply
    return abs(float(want[1]) - float(got[1])) <= GAUGE_TOLERANCE


def _phrases(caption: str) -> list[str]:
    """The things of a caption, sorted."""
    return sorted(filter(None, re.split(r", and |, | and ", caption)))


def _same_things(answer: list[str], reply: list[str]) -> bool:
    pairs = zip(answer, reply, strict=False)
    return len(answer) == len(reply) and all(a == b or _same_gauge(a, b) for a, b in pairs)


def _same_gauge(answer: str, reply: str) -> bool:
    want, got = _GAUGE.fullmatch(answer), _GAUGE.fullmatch(reply)
    return want is not None and got is not None and want[1] == got[1] and _close(want[2], got[2])
