"""Scripts as what a vocabulary is measured by without a text: whose characters a piece is made of.

A character's script is the first word of its name in the Unicode standard, which Python carries. Article 1 of
the Universal Declaration of Human Rights stands for a script's texts where tokens are counted.
"""

# ruff: noqa: RUF001, because letters of other scripts look like Latin ones

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from unicodedata import category, name

LAST: Final = 0x10FFFF
LAST_LETTER: Final = 0x323FF
"""Above it Unicode has assigned none."""
_COMMON: Final = ((0x20, 0x7E), (0x2010, 0x2027), (0x20AC, 0x20AC))  # ASCII, punctuation, the euro sign
_CONTROLS: Final = "\t\n\r"
_FULL_WIDTH: Final = ((0x3000, 0x303F), (0xFF00, 0xFFEF))
_LATIN_1: Final = (
    (0xA0, 0xBF),
    (0xD7, 0xD7),
    (0xF7, 0xF7),
    (0x300, 0x36F),
    (0x2030, 0x205E),
    (0x20A0, 0x20CF),
)


@dataclass(frozen=True)
class Preset:
    """Pieces by their characters: those of ``scripts``, and what is no letter, common or in ``others``.

    ``last_letter`` is the highest code point of the scripts' characters. ``size`` is how many pieces a
    vocabulary gets by it: of a larger one those come first that the tokenizer's training joined first, which
    is the order of frequency in its texts; None takes all.
    """

    title: str
    scripts: tuple[str, ...]
    others: tuple[tuple[int, int], ...] = ()
    last_letter: int = LAST_LETTER
    size: int | None = None

    def characters(self) -> frozenset[str]:
        """All of its characters.

        >>> "é" in PRESETS["en"].characters(), "é" in PRESETS["latin"].characters()
        (False, True)
        """
        letters = {c for c in map(chr, range(self.last_letter + 1)) if name(c, "").startswith(self.scripts)}
        ranges = (range(first, last + 1) for first, last in (*self.others, *_COMMON))
        others = {chr(code) for codes in ranges for code in codes}
        return frozenset(letters).union(_CONTROLS, (c for c in others if not c.isalpha()))


PRESETS: Final[Mapping[str, Preset]] = {
    "en": Preset("English", ("LATIN ",), last_letter=0x7F, size=32_768),
    "code": Preset("English and source code", ("LATIN ",), last_letter=0x7F),
    "latin": Preset("languages in Latin letters", ("LATIN ",), _LATIN_1, size=65_536),
    "greek": Preset("Greek", ("GREEK ",), _LATIN_1),
    "cyrillic": Preset("languages in Cyrillic letters", ("CYRILLIC ",), _LATIN_1),
    "hebrew": Preset("Hebrew", ("HEBREW ",), _LATIN_1),
    "arabic": Preset("languages in Arabic letters", ("ARABIC ", "EXTENDED ARABIC"), _LATIN_1),
    "devanagari": Preset("languages in Devanagari", ("DEVANAGARI ",), _LATIN_1),
    "thai": Preset("Thai", ("THAI ",), _LATIN_1),
    "korean": Preset("Korean", ("HANGUL ",), _FULL_WIDTH),
    "chinese": Preset("Chinese", ("CJK ",), _FULL_WIDTH),
    "japanese": Preset("Japanese", ("CJK ", "HIRAGANA ", "KATAKANA "), _FULL_WIDTH),
}

SAMPLES: Final[Mapping[str, str]] = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason "
    "and conscience and should act towards one another in a spirit of brotherhood.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de "
    "raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Russian": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Python": "def area(width: float, height: float) -> float:\n    return max(0.0, width) * height  # m²\n",
}
"""A text in each of several languages and scripts, by name."""


def assorted() -> Iterator[str]:
    """Texts of all of Unicode: the samples, then of every 256 code points every 16th that is assigned."""
    yield from SAMPLES.values()
    for start in range(0, LAST + 1, 256):
        characters = map(chr, range(start + 7, start + 256, 16))
        text = "".join(c for c in characters if category(c) not in ("Cn", "Cs"))
        if text:
            yield text
            yield f"a {' '.join(text)}!"
