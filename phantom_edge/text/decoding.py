"""Ids to text, token by token, as the published tokenizers do it.

Text is given out as soon as its bytes form characters, and a bad byte spoils itself only, as in SentencePiece
(the decoder of `tokenizers` spoils the whole run of bytes around it, which no stream could foresee).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from phantom_edge.errors import InputError

_REPLACEMENT = "\ufffd"
MANY_SPACES = 1 << 16
"""More than any text begins with."""
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_LEADING_SPACES = re.compile(r"\(\?<!\[\\s\\S\]\) (?:\+|\{1,(\d{1,5})\})")


def _one_per_byte(error: UnicodeError) -> tuple[str, int]:
    # SentencePiece writes one U+FFFD for each bad byte; Python's own "replace" one for several.
    assert isinstance(error, UnicodeDecodeError)
    return _REPLACEMENT * (error.end - error.start), error.end


codecs.register_error("phantom_edge.one_per_byte", _one_per_byte)


def _byte_alphabet() -> dict[str, int]:
    """The byte of each character of a byte-level vocabulary: printable Latin-1, the rest from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


@dataclass(frozen=True)
class TextDecoder:
    """How a token becomes bytes, read from the `decoder` of a `tokenizer.json`.

    `byte_level`: each character of a token is a byte. Otherwise tokens are text: `<0xNN>` is a byte
    (`byte_fallback`), `replacements` are made in order, and up to `strip_spaces` spaces at the very start go.
    """

    byte_level: bool
    replacements: tuple[tuple[str, str], ...] = ()
    byte_fallback: bool = False
    strip_spaces: int = 0
    _alphabet: Mapping[str, int] = field(default_factory=_byte_alphabet, repr=False)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | None) -> TextDecoder:
        """From the JSON object: `ByteLevel`, `Metaspace`, or `Replace`, `ByteFallback`, `Fuse`, `Strip`.

        `Strip` may also be written as a `Replace` of `leading_spaces(n)` by nothing; see `Tokenizer.to_json`.

        Raises :class:`InputError`: no decoder, or one of another kind.
        """
        steps = spec.get("decoders", [spec]) if spec else []
        kinds = [step["type"] for step in steps]
        if kinds == ["ByteLevel"]:
            return cls(byte_level=True)
        replacements: list[tuple[str, str]] = []
        strip_spaces = 0
        for step in steps:
            match step:
                case {"type": "Replace", "pattern": {"String": old}, "content": new}:
                    replacements.append((old, new))
                case {"type": "Strip", "content": " ", "start": start, "stop": 0} if "Fuse" in kinds:
                    strip_spaces = start
                case {"type": "Replace", "pattern": {"Regex": pattern}, "content": ""} if "Fuse" in kinds:
                    strip_spaces = _spaces_of(pattern)
                case {"type": "Metaspace", "replacement": old, "prepend_scheme": scheme}:
                    replacements.append((old, " "))
                    strip_spaces = int(scheme != "never")
                case {"type": "ByteFallback" | "Fuse"}:
                    pass
                case _:
                    kind = step["type"]
                    raise InputError(f"the decoder has an unknown {kind}: use the published tokenizer.json")
        if not steps:
            raise InputError("the tokenizer has no decoder: use the published tokenizer.json")
        return cls(False, tuple(replacements), "ByteFallback" in kinds, strip_spaces)

    def is_byte(self, token: str) -> bool:
        """Whether a token is `<0xNN>` and stands for that byte."""
        return self.byte_fallback and _BYTE.fullmatch(token) is not None

    def to_bytes(self, token: str) -> bytes:
        """A token's bytes, which may be part of a character."""
        if self.byte_level:
            known = all(character in self._alphabet for character in token)
            return bytes(self._alphabet[c] for c in token) if known else token.encode()
        if self.is_byte(token):
            return bytes([int(token[3:5], 16)])
        for old, new in self.replacements:
            token = token.replace(old, new)
        return token.encode()


def leading_spaces(most: int) -> str:
    """A regular expression that every engine knows: up to `most` spaces at the very start of a text.

    >>> leading_spaces(1)
    '(?<![\\\\s\\\\S]) {1,1}'
    """
    return r"(?<![\s\S]) " + ("+" if most >= MANY_SPACES else f"{{1,{most}}}")


def _spaces_of(pattern: str) -> int:
    """The number that `leading_spaces` was given. Raises `InputError` for another pattern."""
    match = _LEADING_SPACES.fullmatch(pattern)
    if not match:
        raise InputError(f"the decoder replaces an unknown {pattern!r}: use the published tokenizer.json")
    return int(match[1] or MANY_SPACES)


class TextStream:
    """Text of ids as they come; a character spread over several ids comes with the last of them."""

    def __init__(
        self, decoder: TextDecoder, token_of: Callable[[int], str | None], skipped: frozenset[int]
    ) -> None:
        self._decoder, self._token_of, self._skipped = decoder, token_of, skipped
        errors = "replace" if decoder.byte_level else "phantom_edge.one_per_byte"
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)
        self._spaces_to_strip = decoder.strip_spaces

    def push(self, token_id: int) -> str:
        """The text that this id makes certain, often its own, empty in the middle of a character."""
        token = None if token_id in self._skipped or token_id < 0 else self._token_of(token_id)
        return "" if token is None else self._strip(self._utf8.decode(self._decoder.to_bytes(token)))

    def finish(self) -> str:
        """What is left when no id follows: U+FFFD for a character that was never completed."""
        return self._strip(self._utf8.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        while self._spaces_to_strip and text.startswith(" "):
            text = text[1:]
            self._spaces_to_strip -= 1
        if text:
            self._spaces_to_strip = 0
        return text
