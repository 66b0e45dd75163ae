"""Reading triples: every way a line or the whole file can be wrong, named before any work."""

from __future__ import annotations

import pytest
from triple_files import LINES, SIZES, write_triples

from phantom_edge.errors import InputError
from phantom_edge.system import reading
from phantom_edge.training import triples
from phantom_edge.training.triples import Line, read_triples


def test_lines_keep_their_numbers_and_blank_ones_are_passed_over(tmp_path):
    path, pictures = write_triples(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\n\n", 1))
    triples = read_triples(path, pictures)
    assert [line.number for line in triples.lines] == [1, 3, 4, 5, 6, 7, 8]
    assert triples.lines[1] == Line(3, "How many?", "There are three green triangles.", "2", "wide.png")
    assert (triples.lines[-1].image, triples.lines[-1].wrong) == (None, None)
    assert list(triples.images()) == list(SIZES)


BAD = {
    "{": "not readable as JSON",
    '{"question": "a", "answer": "b"} x': "not readable as JSON",
    "[" * 100_000: "nested too deeply",
    '["question"]': "holds list, expected an object",
    '{"answer": "b"}': "question is missing",
    '{"question": "a"}': "answer is missing",
    '{"question": "a", "answer": null}': "answer is missing",
    '{"question": "a", "answer": 3}': "answer is 3, expected a text",
    '{"question": " ", "answer": "b"}': "question is empty",
    '{"question": "a", "answer": "b", "wrong": ""}': "wrong is empty",
    '{"question": "a", "answer": "b", "wrong": "b"}': "the wrong answer is the right one",
    '{"question": "a", "answer": "b", "image": ["x"]}': "image is ['x'], expected a text",
    '{"question": "a", "answer": "b", "image": "../x.png"}': "lies outside",
    '{"question": "a", "answer": "b", "image": "/etc/passwd"}': "lies outside",
    '{"question": "a", "answer": "b", "image": "deep/../../x.png"}': "lies outside",
    '{"question": "a", "answer": "b", "image": "a\\u0000b"}': "lies outside",
    '{"question": "a", "answer": "b", "image": "outside.png"}': "lies outside",
}


@pytest.mark.parametrize("bad", BAD, ids=BAD.values())
def test_a_bad_line_is_named(tmp_path, bad):
    path, pictures = write_triples(tmp_path)
    (pictures / "outside.png").symlink_to("/etc/hostname")
    path.write_text(path.read_text() + bad + "\n")
    with pytest.raises(InputError) as raised:
        read_triples(path, pictures)
    assert BAD[bad] in str(raised.value)
    assert f"line {len(LINES) + 1}:" in str(raised.value)


def test_what_is_no_text_is_named(tmp_path):
    path, pictures = write_triples(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"question": "\xff", "answer": "b"}\n')
    with pytest.raises(InputError, match="line 8: not UTF-8"):
        read_triples(path, pictures)


def test_missing_pictures_are_listed_together(tmp_path):
    lines = [{"image": f"no{n}.png", "question": "a", "answer": "b"} for n in range(8)]
    path, pictures = write_triples(tmp_path, [*LINES, *lines, lines[0]])
    with pytest.raises(
        InputError, match=r"8 pictures not in .*no0.png \(line 8\), .*no5.png \(line 13\) and 2 more"
    ):
        read_triples(path, pictures)


def test_pictures_need_a_folder_and_the_folder_must_be_there(tmp_path):
    path, pictures = write_triples(tmp_path)
    with pytest.raises(InputError, match=r"line 1: names the picture square.png; give --images"):
        read_triples(path)
    with pytest.raises(InputError, match="no such folder"):
        read_triples(path, pictures / "nowhere")
    with pytest.raises(InputError, match="not found"):
        read_triples(tmp_path / "nowhere.jsonl", pictures)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="holds no triple"):
        read_triples(tmp_path / "empty.jsonl", pictures)


def test_limits(tmp_path, monkeypatch):
    path, pictures = write_triples(tmp_path)
    monkeypatch.setattr(reading, "MAX_LINES", 3)
    with pytest.raises(InputError, match="more than 3 lines"):
        read_triples(path, pictures)
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 100)
    with pytest.raises(InputError, match=r"line 1: longer than"):
        read_triples(path, pictures)
    monkeypatch.setattr(triples, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match="larger than"):
        read_triples(path, pictures)
