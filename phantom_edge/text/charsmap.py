"""SentencePiece's precompiled character map as a chain of plain replacements.

SentencePiece stores its normalisation (``nmt_nfkc`` and others) as a double-array trie of character sequences
and what they become (``normalizer.cc``). `tokenizers` reads it as its normaliser ``Precompiled``, by grapheme
clusters and so not quite as SentencePiece does; ExecuTorch's tokenizer does not read it at all. Replacements
every tokenizer knows.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator

from tokenizers import Regex, normalizers

from phantom_edge.errors import InputError

_HEADER = struct.Struct("<I")  # bytes of the trie; the targets follow, each ended by a zero
_IS_VALUE, _VALUE, _LABEL, _HAS_VALUE = 1 << 31, (1 << 31) - 1, 0xFF, 1 << 8
# Far above SentencePiece's own maps; a damaged one may lead into itself.
_MAX_NODES, _MAX_KEY_BYTES = 1 << 22, 64


def character_map(charsmap: bytes) -> dict[str, str]:
    """Every sequence of the map with what it becomes.

    Raises :class:`InputError`: the bytes are no such map.
    """
    try:
        (size,) = _HEADER.unpack_from(charsmap)
        units = struct.unpack_from(f"<{size // 4}I", charsmap, _HEADER.size)
        targets = charsmap[_HEADER.size + size :]
        return {key.decode(): targets[at : targets.index(0, at)].decode() for key, at in _entries(units)}
    except (struct.error, IndexError, ValueError):  # UnicodeDecodeError is a ValueError
        raise InputError("tokenizer.model has a damaged character map: download it again") from None


def _entries(units: tuple[int, ...]) -> Iterator[tuple[bytes, int]]:
    """Keys of a Darts-clone double array with their values."""
    # By the place that a node points to; a child lies at that place xor its label.
    children = defaultdict(list)
    for place, unit in enumerate(units):
        if not unit & _IS_VALUE and unit & _LABEL:
            children[place ^ (unit & _LABEL)].append(place)
    open_nodes, met = [(0, b"")], 0
    while open_nodes:
        place, key = open_nodes.pop()
        met += 1
        if met > _MAX_NODES or len(key) > _MAX_KEY_BYTES:
            raise ValueError("a trie without end")
        unit = units[place]
        target = place ^ (unit >> 10) << ((unit & 1 << 9) >> 6)
        if key and unit & _HAS_VALUE:
            yield key, units[target] & _VALUE
        open_nodes += [(child, key + bytes([units[child] & _LABEL])) for child in children.get(target, ())]


def replacements(charsmap: bytes) -> list[normalizers.Normalizer]:
    """The map as replacements to be made in order: each character by itself, then what composes to one.

    A sequence of the map is always one of these: a character, or characters that compose once each is mapped.
    SentencePiece maps in one pass, so a mark after a character that becomes several stays apart; here not.
    """
    mapped = character_map(charsmap)
    single = {key: target for key, target in mapped.items() if len(key) == 1}
    sources = defaultdict(list)
    for key, target in single.items():
        sources[target].append(key)
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(Regex(_any_of(keys)), target) for target, keys in sorted(sources.items())
    ]
    composed = {}
    for key, target in mapped.items():
        each = "".join(single.get(character, character) for character in key)
        if len(key) > 1 and each != target:
            composed[each] = target
    # Longest first, so that a sequence is not spoilt by its own beginning.
    ordered = sorted(composed.items(), key=lambda item: (-len(item[0]), item[0]))
    return steps + [normalizers.Replace(key, target) for key, target in ordered]


def _any_of(characters: list[str]) -> str:
    # Only what every regular expression, JavaScript's with "u" included, lets one escape inside brackets.
    return "[" + "".join(re.sub(r"[\\\]\[^-]", r"\\\g<0>", one) for one in sorted(characters)) + "]"
