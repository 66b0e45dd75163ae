"""A test card as a page for a second screen: one picture after the other, large and in motion."""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any, Final

from phantom_edge.scenes.card import Card, Entry

TEMPLATE: Final = Path(__file__).with_name("screen.html")
SIDE: Final = 720
"""Of a picture in pixels; the page enlarges it to the window."""
PLACES: Final = ("<!-- origin -->", "<!-- scenes -->")


def screen_page(card: Card) -> str:
    """The whole page as HTML, its pictures inside; it loads nothing and sends nothing."""
    # Inside a script element nothing is markup but its own end.
    scenes = json.dumps([_scene(entry) for entry in card.entries], ensure_ascii=False).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8")
    for place, content in zip(PLACES, (html.escape(card.origin), scenes), strict=True):
        page = page.replace(place, content)
    return page


def _scene(entry: Entry) -> dict[str, Any]:
    file = io.BytesIO()
    entry.scene.render(SIDE).save(file, "JPEG", quality=90)
    return {
        "picture": f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}",
        "questions": [[triple.question, triple.answer] for triple in entry.triples],
    }
