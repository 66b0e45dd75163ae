"""Regular expressions for answers: one dialect, the same in every runtime, read into a tree.

The whole answer matches. Characters are Unicode code points; ``\\d``, ``\\w`` and ``\\s`` are those of ASCII.
What engines do not agree about is refused: look-around, back references, lazy and possessive quantifiers,
flags, ``\\b``, classes in classes. A pattern has bounds, so that no engine can be made to work forever.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from phantom_edge.errors import InputError

MAX_LENGTH: Final = 2000
MAX_COUNT: Final = 1000
MAX_SIZE: Final = 10_000
MAX_DEPTH: Final = 100
LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)

_WHY: Final = {
    "empty": "it is empty: write what the answer may be",
    "long": f"it has more than {MAX_LENGTH:,} characters: shorten it",
    "large": f"with its counts it is more than {MAX_SIZE:,} characters long: use smaller ones",
    "deep": f"its groups are more than {MAX_DEPTH} deep: flatten them",
    "none": "no text matches it: remove the empty class",
    "look-around": "it looks around, which is not supported: match the whole answer instead",
    "back-reference": "it refers back to a group, which is not supported: write the group again",
    "lazy": "a lazy quantifier makes no difference here: remove its ?",
    "possessive": "possessive quantifiers and atomic groups are not supported: leave them out",
    "flag": "flags are not supported: write both cases as [aA]",
    "boundary": r"\b and \B are not supported: match the whole answer instead",
    "anchor": "^ stands only at the beginning and $ only at the end: escape it, or leave it out",
    "group": "a parenthesis has no other, or (? is none of a plain group: use ( ) or (?: )",
    "class": r"a class is empty, not closed, or has a wrong range: escape [ and ] in it as \[ and \]",
    "escape": r"that escape is not supported: there are \d \w \s \D \W \S \n \t \r and escaped punctuation",
    "count": rf"a count is {{m}}, {{m,}} or {{m,n}} up to {MAX_COUNT:,}: write a brace as \{{",
    "repeat": "a quantifier has nothing to repeat, or follows another: escape it, or use a group",
}


class PatternError(InputError):
    """A pattern that is not of the dialect; ``kind`` is one of a fixed set of reasons."""

    def __init__(self, kind: str, at: int | None = None):
        where = "" if at is None else f" (character {at + 1})"
        super().__init__(f"the regular expression cannot be used{where}: {_WHY[kind]}")
        self.kind = kind


@dataclass(frozen=True)
class CharSet:
    """One character out of ``ranges``: pairs of first and last code point, in order and apart."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]], *, negated: bool = False) -> CharSet:
        """The characters of ``ranges``, or all others. Surrogates are no characters.

        >>> CharSet.of([(98, 99), (97, 98)]), CharSet.of([(0, 9), (11, LAST)], negated=True)
        (CharSet(ranges=((97, 99),)), CharSet(ranges=((10, 10),)))
        """
        merged = _merged([*ranges, _SURROGATES] if negated else ranges)
        if negated:
            return cls(tuple(_gaps(merged)))
        apart = _gaps(_merged([*_gaps(merged), _SURROGATES]))
        return cls(tuple(apart))


@dataclass(frozen=True)
class Concat:
    """One part after the other; without parts the empty text."""

    parts: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Either:
    """One of the parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """``part`` at least ``least`` and at most ``most`` times; None is without end."""

    part: Node
    least: int
    most: int | None


Node = CharSet | Concat | Either | Repeat
EMPTY: Final = Concat()


def parse(pattern: str) -> Node:
    """The tree of a pattern, without what nothing can match. Raises :class:`PatternError`.

    >>> parse("a|b?")
    Either(parts=(CharSet(ranges=((97, 97),)), Repeat(part=CharSet(ranges=((98, 98),)), least=0, most=1)))
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError("long")
    if pattern in ("", "^", "$", "^$"):
        raise PatternError("empty")
    tree = _Parser(pattern).whole()
    if _size(tree) > MAX_SIZE:
        raise PatternError("large")
    possible = _possible(tree)
    if possible is None:
        raise PatternError("none")
    return possible


def may_begin_with(node: Node, code: int) -> bool:
    """Whether a text of ``node`` begins with the character of that code point."""
    match node:
        case CharSet(ranges):
            return any(low <= code <= high for low, high in ranges)
        case Either(parts):
            return any(may_begin_with(part, code) for part in parts)
        case Repeat(part):
            return may_begin_with(part, code)
        case Concat(parts):
            for part in parts:
                if may_begin_with(part, code):
                    return True
                if not may_be_empty(part):
                    return False
    return False


def may_be_empty(node: Node) -> bool:
    """Whether the empty text matches ``node``."""
    match node:
        case CharSet():
            return False
        case Either(parts):
            return any(map(may_be_empty, parts))
        case Repeat(part, least):
            return least == 0 or may_be_empty(part)
        case Concat(parts):
            return all(map(may_be_empty, parts))


def _size(node: Node) -> int:
    """How many characters a pattern has once its counts are written out; see :data:`MAX_SIZE`."""
    match node:
        case CharSet():
            return 1
        case Repeat(part, least, most):
            return _size(part) * max(1, least, most or 0)
        case Concat(parts) | Either(parts):
            return max(1, sum(map(_size, parts)))


def _possible(node: Node) -> Node | None:
    """The node without parts that nothing matches; None where nothing is left."""
    match node:
        case CharSet(ranges):
            return node if ranges else None
        case Concat(parts):
            all_parts = tuple(map(_possible, parts))
            kept = tuple(part for part in all_parts if part is not None)
            return Concat(kept) if len(kept) == len(all_parts) else None
        case Either(parts):
            kept = tuple(part for part in map(_possible, parts) if part is not None)
            return Either(kept) if len(kept) > 1 else next(iter(kept), None)
        case Repeat(part, least, most):
            inner = _possible(part)
            if most == 0 or (inner is None and least == 0):
                return EMPTY
            return None if inner is None else _repeated(inner, least, most)


def _repeated(part: Node, least: int, most: int | None) -> Node:
    """``part`` repeated; counts of counts become one, which engines would take apart in every way."""
    if isinstance(part, Repeat):
        # From one more of the outer to the next no number may be left out; the first step is the widest.
        gapless = part.most is None or part.most * least + 1 >= part.least * (least + 1)
        if least == most or (gapless and (least > 0 or part.least <= 1)):
            ends = None if most is None or part.most is None else most * part.most
            return Repeat(part.part, least * part.least, ends)
    return Repeat(part, least, most)


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _gaps(merged: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies between ordered ranges, from 0 to the last code point."""
    edges = [-1, *(edge for pair in merged for edge in pair), LAST + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1]


def _char(character: str) -> CharSet:
    return CharSet(((ord(character), ord(character)),))


_DOT: Final = CharSet.of([(10, 10)], negated=True)
_DIGIT, _SPACE = [(0x30, 0x39)], [(9, 13), (32, 32)]
_WORD = [*_DIGIT, (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_ESCAPES: Final = {
    "d": CharSet.of(_DIGIT), "w": CharSet.of(_WORD), "s": CharSet.of(_SPACE),
    "D": CharSet.of(_DIGIT, negated=True), "W": CharSet.of(_WORD, negated=True),
    "S": CharSet.of(_SPACE, negated=True),
    "n": _char("\n"), "t": _char("\t"), "r": _char("\r"),
}  # fmt: skip
_QUANTIFIERS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_FLAGS = re.compile(r"\(\?[aiLmsux-]+[:)]")
_ALPHANUMERIC: Final = frozenset(string.ascii_letters + string.digits)
_EXTENSIONS: Final = {
    "look-around": ("(?=", "(?!", "(?<=", "(?<!"),
    "back-reference": ("(?P=",),
    "possessive": ("(?>",),
}


class _Parser:
    """Recursive descent over one pattern; ``at`` is the next character's place."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at, self.depth = pattern, 0, 0

    def whole(self) -> Node:
        tree = self._either()
        if self.at < len(self.pattern):
            self._fail("group")  # only a closing parenthesis ends alternatives early
        return tree

    def _fail(self, kind: str) -> NoReturn:
        raise PatternError(kind, min(self.at, len(self.pattern) - 1))

    def _next(self) -> str:
        """The next character, empty at the end."""
        return self.pattern[self.at : self.at + 1]

    def _take(self, character: str) -> bool:
        taken = self._next() == character
        self.at += taken
        return taken

    def _either(self) -> Node:
        parts = [self._concat()]
        while self._take("|"):
            parts.append(self._concat())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _concat(self) -> Node:
        parts: list[Node] = []
        while (character := self._next()) not in ("", "|", ")"):
            if character in "^$":
                if self.at != (0 if character == "^" else len(self.pattern) - 1):
                    self._fail("anchor")
                self.at += 1
            else:
                parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Concat(tuple(parts))

    def _repeated(self) -> Node:
        part = self._atom()
        bounds = self._quantifier()
        if bounds is None:
            return part
        match self._next():
            case "?":
                self._fail("lazy")
            case "+":
                self._fail("possessive")
            case "*" | "{":
                self._fail("repeat")
        return Repeat(part, *bounds)

    def _quantifier(self) -> tuple[int, int | None] | None:
        if (bounds := _QUANTIFIERS.get(self._next())) is not None:
            self.at += 1
            return bounds
        if self._next() != "{":
            return None
        count = _COUNT.match(self.pattern, self.at)
        if count is None:
            self._fail("count")
        least = int(count[1])
        most = least if count[2] is None else int(count[3]) if count[3] else None
        if max(least, most or 0) > MAX_COUNT or (most is not None and most < least):
            self._fail("count")
        self.at = count.end()
        return least, most

    def _atom(self) -> Node:
        match self._next():
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                self._fail("repeat")
            case "{":
                self._fail("count")
            case character:
                self.at += 1
                return _DOT if character == "." else _char(character)

    def _group(self) -> Node:
        for kind, starts in _EXTENSIONS.items():
            if self.pattern.startswith(starts, self.at):
                self._fail(kind)
        if _FLAGS.match(self.pattern, self.at):
            self._fail("flag")
        self.at += 3 if self.pattern.startswith("(?:", self.at) else 1
        if self._next() == "?":
            self._fail("group")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail("deep")
        tree = self._either()
        if not self._take(")"):
            self._fail("group")
        self.depth -= 1
        return tree

    def _class(self) -> CharSet:
        self.at += 1
        negated, ranges = self._take("^"), []
        if self._next() == "]":
            self._fail("class")
        while not self._take("]"):
            low = self._member()
            if self._next() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]"):
                self.at += 1
                ranges.append(self._range(low, self._member()))
            else:
                ranges += low.ranges
        return CharSet.of(ranges, negated=negated)

    def _range(self, low: CharSet, high: CharSet) -> tuple[int, int]:
        first, last = low.ranges[0], high.ranges[0]
        if not (first[0] == low.ranges[-1][1] and last[0] == high.ranges[-1][1] and first[0] <= last[0]):
            self._fail("class")
        return first[0], last[0]

    def _member(self) -> CharSet:
        match self._next():
            case "" | "[":
                self._fail("class")
            case "\\":
                return self._escape(in_class=True)
            case character:
                self.at += 1
                return _char(character)

    def _escape(self, *, in_class: bool = False) -> CharSet:
        character = self.pattern[self.at + 1 : self.at + 2]
        if character in ("b", "B"):
            self._fail("boundary")
        if not in_class and character and character in "123456789k":
            self._fail("back-reference")
        if character not in _ESCAPES and (not character or character in _ALPHANUMERIC):
            self._fail("escape")
        self.at += 2
        return _ESCAPES.get(character) or _char(character)
