"""Snapdragon chips by name: what Qualcomm's compiler wants to know of each.

Number and Hexagon version are those of ExecuTorch's table, which Qualcomm maintains
(``backends/qualcomm/serialization/qc_schema.py`` of version 1.4.1); the names in words are those of
Qualcomm's product pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from phantom_edge.errors import InputError, did_you_mean, shown


@dataclass(frozen=True)
class Chip:
    """``name`` is Android's ``Build.SOC_MODEL``, ``model`` Qualcomm's number, ``architecture`` Hexagon's."""

    name: str
    model: int
    architecture: int
    title: str


_TABLE: Final = (
    Chip("SM8550", 43, 73, "Snapdragon 8 Gen 2"),
    Chip("SM8650", 57, 75, "Snapdragon 8 Gen 3"),
    Chip("SM8750", 69, 79, "Snapdragon 8 Elite"),
    Chip("SM8850", 87, 81, "Snapdragon 8 Elite Gen 5"),
    Chip("SM8845", 97, 81, "Snapdragon 8 Gen 5"),
    Chip("SXR2330P", 75, 79, "Snapdragon XR2+ Gen 3"),
    Chip("QCS9100", 77, 73, "Dragonwing IQ-9100"),
    Chip("SM8475", 42, 69, "Snapdragon 8+ Gen 1"),
    Chip("SM8450", 36, 69, "Snapdragon 8 Gen 1"),
    Chip("SM8350", 30, 68, "Snapdragon 888"),
    Chip("QCM6490", 93, 68, "Dragonwing QCM6490"),
)
CHIPS: Final = {chip.name: chip for chip in _TABLE}
ARCHITECTURES: Final = (73, 75, 79, 81)
"""Hexagon versions for which the graphs compile whole: earlier ones lack fp16 or operations of 16 bits."""
DEFAULT: Final = "SM8750"
"""The chip that the emulator stands for where nothing else says one."""


def default_of(names: Iterable[str]) -> str | None:
    """The chip that runs where none is named: the first of the table that is among ``names``.

    >>> default_of(["SM8850", "SM8650"])
    'SM8650'
    """
    known = set(names)
    return next((name for name in CHIPS if name in known), None)


def chip_for(name: str) -> Chip:
    """The chip of that name, in any case.

    Raises :class:`InputError` for an unknown one, and for one that is too old.

    >>> chip_for("sm8650").architecture
    75
    """
    chip = CHIPS.get(name.upper())
    usable = [c.name.lower() for c in CHIPS.values() if c.architecture in ARCHITECTURES]
    if chip is None:
        near = did_you_mean(name, usable)
        raise InputError(f"{shown(name)}: no such chip{near}; there are {', '.join(usable)}")
    if chip.architecture not in ARCHITECTURES:
        raise InputError(
            f"{name}: {chip.title} has Hexagon v{chip.architecture}, which lacks types that the graphs "
            f"need; v{min(ARCHITECTURES)} is the first with them ({', '.join(usable)})"
        )
    return chip


def chips_of(names: Iterable[str]) -> tuple[Chip, ...]:
    """The chips of the option ``--soc``, names with commas, each once, in its order. Raises as above."""
    parts = (part.strip() for name in names for part in name.split(","))
    try:
        return tuple({chip.name: chip for chip in map(chip_for, filter(None, parts))}.values())
    except InputError as error:
        raise InputError(f"--soc {error}") from None
