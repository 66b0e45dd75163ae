"""A test card as files: PDFs to print, a picture, and a page for a second screen."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from phantom_edge.scenes.card import DEFAULT_SCENES, DEFAULT_SPLIT, make_card
from phantom_edge.scenes.screen import screen_page
from phantom_edge.scenes.sheet import PAPERS, overview, sheets
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

SCREEN, PICTURE = "screen.html", "card.png"
PRINTED: Final = {"A4": "card-a4.pdf", "Letter": "card-letter.pdf"}
"""Files by the paper that they are for."""


def write_card(
    folder: str | Path,
    split: str = DEFAULT_SPLIT,
    count: int = DEFAULT_SCENES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a card: a PDF for A4 and for Letter, a PNG, and a page for a second screen that needs no network.

    Sheets of the PDFs have pictures and questions in front and the right answers on the back. The folder
    appears when it is complete; it may not exist before or be empty. Raises: InputError as `make_card`, and
    for a folder that is in use.
    """
    folder = Path(os.path.abspath(folder))
    check_new_folder(folder)
    card = make_card(split, count, seed)
    with replacing_folder(folder, check_new_folder) as partial:
        for paper, name in PRINTED.items():
            progress(f"drawing {name}")
            first, *others = sheets(card, PAPERS[paper])
            # Without a day in it, so that the same card is the same file.
            about: dict[str, Any] = {"title": card.origin, "creationDate": None, "modDate": None}
            settings = about | {"resolution": PAPERS[paper].dpi, "quality": 92}
            first.save(partial / name, save_all=True, append_images=others, **settings)
        progress(f"drawing {PICTURE}")
        overview(card).save(partial / PICTURE)
        progress(f"drawing {SCREEN}")
        (partial / SCREEN).write_text(screen_page(card), encoding="utf-8")
    return folder
