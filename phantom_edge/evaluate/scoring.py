"""When a reply is right: the rules by which the published accuracies were counted.

Source: ``eval/create_evaluator.py`` and ``eval/utils.py`` of ByungKwanLee/Phantom, by the names given below.
A reply reaches a rule without the white space around it, as there. Two deviations, where that code departs
from the benchmark:

- ``chartqa`` measures the 5 % against the label, as ChartQA defines it; the published call swaps its two
  arguments.
- A reply in which ``ai2d`` finds no letter is wrong; there it ends the run.

The published script also searches with three beams and, for ChartQA, keeps one question per chart. Here
decoding is greedy, as in an app, and every question counts; so accuracies can differ a little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LETTERS = "ABCDE"
LETTER_SUFFIX = "\nAnswer with the option's letter from the given choices directly."
PHRASE_SUFFIX = "\nAnswer the question using a single word or phrase."
MAX_TOKENS = 5
"""Suffixes (``make_instruction``) and cap (``get_max_new_tokens``) are those of ``utils/utils.py``."""

_SPELLED_OUT = re.compile(r"The answer is ([A-Z]).")
_CAPITAL = re.compile(r"[A-Z]")
_BEFORE_LETTER = ("", "(", "option ", "the answer is ")


def choice(reply: str, choices: int) -> int:
    """ScienceQA (``convert_to_choice``): the number of the option a reply names, -1 for none of them.

    >>> choice("B", 3), choice("C. iron", 3), choice("The answer is A.", 3), choice("D", 3)
    (1, 2, 0, -1)
    """
    if len(reply) >= 2 and reply[0] in LETTERS and "." in reply:
        letter = reply[0]
    elif len(reply) == 1:
        letter = reply
    else:
        letters = _SPELLED_OUT.findall(reply)
        letter = letters[0] if len(letters) == 1 else "?"
    index = LETTERS.find(letter)
    return index if index < choices else -1


def first_capital(reply: str) -> str:
    """AI2D (``evaluate_ai2d``): the first capital letter anywhere in a reply, "" without one."""
    capital = _CAPITAL.search(reply)
    return capital.group() if capital else ""


def first_character(reply: str) -> str:
    """MMBench (``evaluate_mmbench_dev``): a reply's first character."""
    return reply[:1]


def mmstar(answer: str, reply: str) -> bool:
    """MMStar (``eval_mmstar``): the letter first, or after "(", "option " or "the answer is ".

    >>> mmstar("B", "b: two"), mmstar("B", "Option B"), mmstar("B", "It is B")
    (True, True, False)
    """
    letter, text = (value.lower().strip().replace("\n", " ") for value in (answer, reply))
    return any(text.startswith(before + letter) for before in _BEFORE_LETTER)


def says_yes(reply: str) -> bool:
    """POPE (``eval_pope``, POPE's ``evaluate.py``): no "no" or "not" in the first sentence's words.

    >>> says_yes("Yes, there is."), says_yes("No"), says_yes("There is not one. Yes!")
    (True, False, False)
    """
    words = reply.lower().split(".")[0].replace(",", "").split(" ")
    return "no" not in words and "not" not in words


def relaxed(label: str, reply: str, tolerance: float = 0.05) -> bool:
    """ChartQA's relaxed accuracy (Masry et al., arXiv 2203.10244, section 5.1; ``relaxed_correctness``).

    A number may be off by 5 % of the label; anything else must be the same text, in either case. Of a reply
    with a digit in it only the first word counts, and a percent sign is ignored.

    >>> relaxed("100", "104.9"), relaxed("100", "94"), relaxed("14%", "14 percent"), relaxed("Yes", "yes")
    (True, False, True, True)
    """
    if any(character.isdigit() for character in reply):
        reply = reply.split(" ")[0]
    expected, number = _number(label), _number(reply)
    if number is not None and expected:
        return abs(number - expected) <= tolerance * abs(expected)
    return reply.lower() == label.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%"))
    except ValueError:
        return None


def yes_no_measures(outcomes: Iterable[tuple[bool, bool]]) -> dict[str, float]:
    """POPE's own measures, in percent, from (is yes, said yes) pairs: precision, recall, F1 and yes ratio.

    A measure without a case to count (no yes said, none there) is 0.
    """
    pairs = list(outcomes)
    hits = sum(truth and said for truth, said in pairs)
    said, there = sum(said for _, said in pairs), sum(truth for truth, _ in pairs)

    def percent(part: float, whole: float) -> float:
        return 100 * part / whole if whole else 0.0

    return {
        "precision": percent(hits, said),
        "recall": percent(hits, there),
        "F1": percent(2 * hits, said + there),
        "yes ratio": percent(said, len(pairs)),
    }
