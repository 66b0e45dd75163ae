"""A test card drawn: sheets of paper with the answers on their backs, and one picture for a screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from phantom_edge.scenes.card import Card, Entry
from phantom_edge.scenes.colours import RGB
from phantom_edge.scenes.scene import LARGEST_SIZE
from phantom_edge.scenes.text import font

INK, PALE, WHITE = (32, 32, 32), (110, 110, 110), (255, 255, 255)
LARGE, SMALL = 1.25, 0.75  # type, in units
HINT: Final = "Point the camera at a picture and ask what stands beneath it."
MILLIMETRES: Final = 25.4  # in an inch


@dataclass(frozen=True)
class Sheet:
    """A page of pictures in a grid; lengths are in pixels, ``unit`` is the height of small type."""

    width: int
    height: int
    columns: int
    rows: int
    unit: int
    dpi: float = 96.0

    @classmethod
    def of_paper(cls, width: float, height: float, dpi: float = 200.0) -> "Sheet":
        """Paper of a size in millimetres, with six pictures and type of 8 points."""
        wide, high = (round(side / MILLIMETRES * dpi) for side in (width, height))
        return cls(wide, high, 2, 3, round(8 / 72 * dpi), dpi)

    @property
    def room(self) -> int:
        """Pictures on the page."""
        return self.columns * self.rows

    def write(
        self,
        page: Image.Image,
        at: tuple[int, int],
        text: str,
        ink: RGB,
        scale: float = 1.0,
        within: int | None = None,
    ) -> None:
        """A line from its upper left corner, in smaller type where it is wider than ``within`` pixels."""
        size, width = round(self.unit * scale), within or self.width - 2 * at[0]
        needed = font(size).getlength(text)
        if needed > width:
            size = max(1, int(size * width / needed))
        ImageDraw.Draw(page).text(at, text, fill=ink, font=font(size))


PAPERS: Final = {"A4": Sheet.of_paper(210, 297), "Letter": Sheet.of_paper(215.9, 279.4)}
SCREEN_WIDTH: Final = 1920
IN_A_LINE: Final = 6  # pictures whose answers stand in one line
MARGIN, HEAD, FOOT, CAPTION, APART = 3, 3, 2, 7, 4  # of a page, below a picture, beside it; in units


def sheets(card: Card, sheet: Sheet) -> list[Image.Image]:
    """Pages in order: pictures with questions, on the back of each its answers."""
    pages = []
    for start in range(0, len(card.entries), sheet.room):
        entries = card.entries[start : start + sheet.room]
        pages += [_front(card, sheet, entries), _back(card, sheet, entries)]
    return pages


def overview(card: Card) -> Image.Image:
    """All of a card in one picture for a screen, the answers in small type at its foot."""
    columns = min(3, len(card.entries))
    rows = -(-len(card.entries) // columns)
    unit, cell = 20, SCREEN_WIDTH // 3
    lines = _answers(card.entries)
    beneath = 2 * len(lines) * unit
    height = rows * (cell + (CAPTION - APART) * unit) + (2 * MARGIN + HEAD + FOOT) * unit + beneath
    sheet = Sheet(columns * cell, height, columns, rows, unit)
    page = _front(card, sheet, card.entries, beneath)
    top = height - (MARGIN + FOOT) * unit - beneath
    for number, line in enumerate(lines):
        sheet.write(page, (MARGIN * unit, top + 2 * number * unit), line, PALE, SMALL)
    return page


def _front(card: Card, sheet: Sheet, entries: Sequence[Entry], beneath: int = 0) -> Image.Image:
    """Pictures with white around them, and below each its number and its questions.

    ``beneath`` is the height in pixels that stays free above the foot.
    """
    page, unit = _page(card, sheet, HINT), sheet.unit
    top, left = (MARGIN + HEAD) * unit, MARGIN * unit
    width = (sheet.width - 2 * left) // sheet.columns
    height = (sheet.height - top - (MARGIN + FOOT) * unit - beneath) // sheet.rows
    side = min(width - APART * unit, height - CAPTION * unit, LARGEST_SIZE)
    for place, entry in enumerate(entries):
        row, column = divmod(place, sheet.columns)
        x, y = left + column * width + (width - side) // 2, top + row * height
        page.paste(entry.scene.render(side), (x, y))
        for line, text in enumerate(_captions(entry)):
            sheet.write(page, (x, y + side + (1 + 3 * line) * unit // 2), text, INK, within=side)
    return page


def _back(card: Card, sheet: Sheet, entries: Sequence[Entry]) -> Image.Image:
    """The right answers, number by number."""
    page, unit = _page(card, sheet, "Answers to the other side"), sheet.unit
    y = (MARGIN + HEAD) * unit
    for entry in entries:
        for triple in entry.triples:
            sheet.write(page, (MARGIN * unit, y), f"{entry.number}.  {triple.question}  {triple.answer}", INK)
            y += 2 * unit
    return page


def _page(card: Card, sheet: Sheet, title: str) -> Image.Image:
    """White paper with a title, and at its foot how to make the same."""
    page = Image.new("RGB", (sheet.width, sheet.height), WHITE)
    left = MARGIN * sheet.unit
    sheet.write(page, (left, left), title, INK, LARGE)
    sheet.write(page, (left, sheet.height - left - sheet.unit), card.origin, PALE, SMALL)
    return page


def _captions(entry: Entry) -> list[str]:
    """The lines beneath a picture."""
    first, *others = [triple.question for triple in entry.triples] or [""]
    return [f"{entry.number}.  {first}", *others]


def _answers(entries: Sequence[Entry]) -> list[str]:
    """Answers by their pictures' numbers, several to a line."""
    cells = [f"{e.number}.  " + ", ".join(triple.answer for triple in e.triples) for e in entries]
    lines = ["     ".join(cells[start : start + IN_A_LINE]) for start in range(0, len(cells), IN_A_LINE)]
    return [f"Answers:  {lines[0]}", *lines[1:]]
