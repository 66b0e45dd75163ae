"""An address as a QR code in a terminal, for a phone's camera."""

from __future__ import annotations

from typing import Final

QUIET_ZONES: Final = (4, 2)
"""Light modules around a code: as the standard has it, and as much as cameras need."""
DARK_ON_LIGHT, RESET = "\x1b[30;107m", "\x1b[0m"


def qr_lines(text: str, columns: int, *, colour: bool) -> list[str]:
    """A code that holds ``text``, two rows of it in each line; none where it is wider than the terminal.

    With ``colour`` it is black on white whatever the terminal's colours are; without, its light modules are
    drawn, for a dark terminal. No line is given where the package that draws codes is not installed.
    """
    try:
        import segno
    except ImportError:
        return []
    code = segno.make(text, error="l", micro=False)
    for zone in QUIET_ZONES:
        rows = [[bool(module) for module in row] for row in code.matrix_iter(border=zone)]
        if len(rows) <= columns:
            return _half_blocks(rows, colour=colour)
    return []


def _half_blocks(rows: list[list[bool]], *, colour: bool) -> list[str]:
    """Rows of dark modules as lines of half as many; a last row that is alone gets a light one below it."""
    below = [*rows[1:], [False] * len(rows[0])]
    pairs = zip(rows[::2], below[::2], strict=True)
    if colour:
        return [f"{DARK_ON_LIGHT}{_drawn(upper, lower)}{RESET}" for upper, lower in pairs]
    return [_drawn([not dark for dark in upper], [not dark for dark in lower]) for upper, lower in pairs]


def _drawn(upper: list[bool], lower: list[bool]) -> str:
    blocks = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    return "".join(blocks[pair] for pair in zip(upper, lower, strict=True))
