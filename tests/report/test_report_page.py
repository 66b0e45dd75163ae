"""The page of a report: what stands where, within bounds, with nothing from elsewhere, on a phone as well."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from html import escape, unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from phantom_edge.bench.browser.program import find
from phantom_edge.errors import InputError
from phantom_edge.report.examples import MOST_BYTES, SIDE, Example, Reply, brief, thumbnail
from phantom_edge.report.report import Check, Plot, Report, Table

LONG = "text_decoder.layers.23.feed_forward_projection_of_the_phantom_dimension"
NASTY = "<script>alert(1)</script>"


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def full() -> Report:
    """Everything that a page may have, with long names."""
    replies = (Reply("the original, fp32", "a red circle"), Reply("onnx", NASTY, False, "differs"))
    return Report(
        "verify",
        f"nano for web: ONNX, {LONG}",
        {"runtime": "onnxruntime", LONG: LONG},
        {
            "Is the export right?": [
                Check.at_most(f"check {LONG}", 0.5, 1.0, "the reason", f"detail {LONG}"),
                Check("no limit", 0.25),
            ]
        },
        tables=[Table("Per module", ("module", *"abcdefgh"), ((LONG, *([0.123456] * 8)),))],
        plots=[
            Plot("Accuracy", ("colour", LONG), (50.0, 90.0), intervals=((40.0, 60.0), (80.0, 95.0)), end=100),
            Plot("Errors", (LONG, "b"), (1e-3, 1e-5), log=True),
        ],
        examples=[Example("What colour is it?", thumbnail(noise(900, 300)), replies, "colour", "red")] * 3,
        conclusion="2 of 3 answers are the original's",
        cautions=["6 questions per task are too few"],
        provenance={"checkpoint, SHA-256": "0123456789abcdef" * 4},
    )


class Page(HTMLParser):
    """The texts of a page, and the addresses that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]


def test_the_verdict_comes_first_then_the_pictures_and_the_numbers_last():
    text = unescape(full().to_html())
    places = [
        text.index(part)
        for part in (
            "Right: 1 checks passed. 2 of 3 answers are the original's.",
            "6 questions per task are too few",
            "What colour is it?",
            "<dt>runtime</dt>",
            f"check {LONG}",
            "Per module",
            "How this was made",
            "checkpoint, SHA-256",
        )
    ]
    assert places == sorted(places)
    assert text.index("a red circle") < text.index("differs")
    assert re.search(r"<dt>date</dt><dd>20\d\d-\d\d-\d\d \d\d:\d\d UTC", text)
    assert "<dt>phantom-edge</dt>" in text


def test_a_page_in_a_bundle_is_the_same_every_time():
    assert full().to_html(dated=False) == full().to_html(dated=False)
    assert "<dt>date</dt>" not in full().to_html(dated=False)


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup():
    page = Page(full().to_html())
    assert "script" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)


def test_intervals_are_drawn_in_the_bars():
    rows = re.findall(r'width: ([\d.]+)%"></div><i class="interval" style="left: ([\d.]+)%; width: ([\d.]+)%',
                      full().to_html())  # fmt: skip
    assert rows == [("50.0", "40.0", "20.0"), ("90.0", "80.0", "15.0")]
    assert "50.0 (40.0 to 60.0)" in full().to_html()


@pytest.mark.parametrize("size", [(4000, 30), (1, 1), (640, 640)])
def test_a_thumbnail_is_small_whatever_the_picture(size):
    data = base64.b64decode(thumbnail(noise(*size)).partition(",")[2])
    assert len(data) <= MOST_BYTES
    assert max(Image.open(io.BytesIO(data)).size) == min(SIDE, max(size))


def test_a_long_reply_is_cut():
    assert len(brief("x" * 10_000)) == 400
    report = Report("k", "t", examples=[Example("?" * 10_000, "", (Reply("a", "!" * 10_000),))])
    assert len(report.to_html()) < 20_000


def test_json_has_no_pictures():
    data = json.loads(full().to_json())
    assert "examples" not in data
    assert data["cautions"] == ["6 questions per task are too few"]
    assert data["verdict"].endswith("2 of 3 answers are the original's")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1366])
def test_no_page_is_wider_than_its_screen(width, tmp_path):
    """Measured in a frame of that width, because no window of a browser is as narrow as a phone's."""
    try:
        browser = find(None)
    except InputError as error:
        pytest.skip(f"needs Chromium: {error}")
    frame = f'<iframe id="f" width="{width}" height="800" srcdoc="{escape(full().to_html())}"></iframe>'
    script = (
        "onload = () => { const page = f.contentDocument; const w = f.contentWindow.innerWidth;"
        "const wide = [...page.querySelectorAll('body *')].filter(e => !e.closest('.wide table') && "
        "e.getBoundingClientRect().right > w + 1).map(e => e.tagName + '.' + e.className);"
        "document.body.innerHTML = JSON.stringify({w, scroll: page.documentElement.scrollWidth, wide,"
        "images: [...page.images].every(i => i.complete && i.naturalWidth > 0)}) }"
    )
    (tmp_path / "frame.html").write_text(f"<!doctype html><body>{frame}<script>{script}</script>")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [
        str(browser),
        *options,
        "--virtual-time-budget=5000",
        "--dump-dom",
        f"file://{tmp_path}/frame.html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    measured = json.loads(unescape(re.search(r"<body>(\{.*\})</body>", done.stdout)[1]))
    assert measured["images"]
    assert measured["scroll"] <= measured["w"], measured
    assert not measured["wide"]
