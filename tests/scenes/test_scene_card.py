"""The test card: what is printed is true, the answers are on the back, and the same seed is the same file."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PdfParser

from phantom_edge.errors import InputError
from phantom_edge.scenes.card import Entry, make_card
from phantom_edge.scenes.card_files import PICTURE, PRINTED, SCREEN, write_card
from phantom_edge.scenes.parts import Triple
from phantom_edge.scenes.screen import screen_page
from phantom_edge.scenes.sheet import PAPERS, overview, sheets

CARD = make_card()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_card(tmp_path_factory.mktemp("card") / "card")


def pages(path):
    """Width and height of a PDF's pages in whole millimetres."""
    with PdfParser.PdfParser(str(path)) as pdf:
        boxes = [pdf.read_indirect(page)[b"MediaBox"] for page in pdf.pages]
    return [tuple(round(float(side) / 72 * 25.4) for side in box[2:]) for box in boxes]


def scenes_of(page):
    """What the page for a second screen carries."""
    return json.loads(re.search(r'id="scenes">(.*?)</script>', page, re.S)[1])


def test_kinds_differ_and_what_is_printed_is_the_scenes_own():
    assert len({entry.scene.kind for entry in CARD.entries}) == len(CARD.entries) == 6
    assert [entry.number for entry in CARD.entries] == [1, 2, 3, 4, 5, 6]
    for entry in make_card(count=30).entries:
        assert entry.scene.split == "test"
        assert set(entry.triples) <= set(entry.scene.triples())
        tasks = [triple.task for triple in entry.triples]
        assert 1 <= len(set(tasks)) == len(tasks) <= 2
        assert "caption" not in tasks
        reads = {"sign": "sign", "display": "digits", "gauge": "gauge", "arrow": "arrow"}
        assert reads.get(entry.scene.kind, tasks[0]) in tasks


def test_the_same_seed_is_the_same_files(written, tmp_path):
    again = write_card(tmp_path / "again")
    names = sorted(path.name for path in again.iterdir())
    assert names == sorted([*PRINTED.values(), PICTURE, SCREEN])
    for name in names:
        assert (again / name).read_bytes() == (written / name).read_bytes(), name
    assert make_card(seed=1) != CARD


def test_a_sheet_has_the_papers_size_and_a_back(written):
    assert pages(written / PRINTED["A4"]) == [(210, 297)] * 2
    assert pages(written / PRINTED["Letter"]) == [(216, 279)] * 2
    assert len(sheets(make_card(count=7), PAPERS["A4"])) == 4


@pytest.mark.parametrize("paper", PAPERS)
def test_a_picture_is_the_scene_with_white_around_it(paper):
    front = np.asarray(sheets(CARD, PAPERS[paper])[0])
    tops, side = runs((front < 250).any(-1).mean(1) > 0.2)
    lefts, width = runs((front < 250).any(-1).mean(0) > 0.2)
    assert (len(tops), len(lefts), width) == (3, 2, side)
    assert side > 0.29 * front.shape[1]
    for entry in CARD.entries:
        row, column = divmod(entry.number - 1, 2)
        y, x = tops[row], lefts[column]
        assert (front[y : y + side, x : x + side] == np.asarray(entry.scene.render(side))).all()
        assert min(x, front.shape[1] - x - side) > side // 10
    assert lefts[1] - lefts[0] - side > side // 10


def runs(on):
    """Where the long runs of true values begin, and the length that all have; type has short ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int), [0]]))).reshape(-1, 2)
    edges = edges[edges[:, 1] - edges[:, 0] > 100]
    starts, lengths = edges[:, 0], edges[:, 1] - edges[:, 0]
    assert len(set(lengths)) == 1
    return starts.tolist(), int(lengths[0])


def test_the_front_does_not_give_the_answers_away():
    other = [
        replace(entry, triples=tuple(replace(triple, answer="nine") for triple in entry.triples))
        for entry in CARD.entries
    ]
    wrong = replace(CARD, entries=tuple(other))
    for paper in PAPERS.values():
        (front, back), (same, changed) = sheets(CARD, paper), sheets(wrong, paper)
        assert front.tobytes() == same.tobytes()
        assert back.tobytes() != changed.tobytes()
    right, changed = (np.asarray(overview(card)) for card in (CARD, wrong))
    rows = np.argwhere((right != changed).any((1, 2)))
    assert rows.min() > 0.85 * len(right)  # on a screen they stand below everything


def test_long_questions_stay_in_their_place():
    long = Triple("colour", "What colour is " + "the very " * 40 + "large object?", "red", "blue")
    entries = tuple(replace(entry, triples=(long, long)) for entry in CARD.entries)
    for page in sheets(replace(CARD, entries=entries), PAPERS["A4"]):
        pixels = np.asarray(page)
        assert (pixels[:, -20:] == 255).all()
        assert (pixels[:, :20] == 255).all()


def test_the_page_for_a_screen_needs_nothing_else(written):
    page = (written / SCREEN).read_text(encoding="utf-8")
    code = re.sub(r"base64,[^\"]+", "", page)
    assert not re.findall(r"https?:|//[a-z]|<link|<img[^>]+src|@import|url\(", code)
    assert "default-src 'none'" in page
    assert CARD.origin in page
    rows = scenes_of(page)
    assert [row["questions"] for row in rows] == [
        [[triple.question, triple.answer] for triple in entry.triples] for entry in CARD.entries
    ]
    for row, entry in zip(rows, CARD.entries, strict=True):
        data = base64.b64decode(row["picture"].removeprefix("data:image/jpeg;base64,"))
        shown, drawn = (np.asarray(i, float) for i in (Image.open(io.BytesIO(data)), entry.scene.render(720)))
        assert np.abs(shown - drawn).mean() < 4


def test_no_question_is_markup():
    evil = Triple("colour", "</script><script>alert(1)</script>", "<!-- scenes -->", "x")
    entry = Entry(1, CARD.entries[0].scene, (evil,))
    page = screen_page(replace(CARD, entries=(entry,)))
    assert page.count("<script") == 2
    assert scenes_of(page)[0]["questions"] == [[evil.question, evil.answer]]


@pytest.mark.browser
def test_a_browser_shows_picture_and_question(written):
    program = shutil.which("chromium") or shutil.which("google-chrome") or pytest.skip("needs Chromium")
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=500"]
    done = subprocess.run(
        [*command, "--dump-dom", (written / SCREEN).as_uri()], capture_output=True, text=True, timeout=60
    )
    body = done.stdout.partition("<body")[2].partition("<script")[0]
    first = CARD.entries[0].triples
    assert f"<li>1. {first[0].question}</li>" in body
    assert 'alt="Picture 1 of 6"' in body
    assert all(triple.answer not in body.partition("<ol")[2].partition("</ol>")[0] for triple in first)


@pytest.mark.parametrize("count", [0, 61, -1])
def test_a_card_of_no_or_too_many_scenes_is_refused(count, tmp_path):
    with pytest.raises(InputError, match="give a count of 1 to 60"):
        write_card(tmp_path / "card", count=count)
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_stays_and_nothing_is_overwritten(tmp_path):
    def stop(text):
        if SCREEN in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_card(tmp_path / "card", progress=stop)
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="new or empty folder"):
        write_card(tmp_path)
    with pytest.raises(InputError, match="no split"):
        write_card(tmp_path / "new", "exam")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
