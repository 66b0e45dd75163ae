"""Calibration sets: what is in them, that they are the same every time, and what is refused."""

import json

import pytest
import torch
from calibrated import drawn, source_of
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.quantize.calibration import FEWEST, GENERAL, QUESTIONS, drawn_set, folder_set
from phantom_edge.scenes import make_scene
from phantom_edge.scenes.write import write_scenes


@pytest.fixture
def tiny(tiny_dirs):
    return source_of(tiny_dirs["qwen2"])


def test_the_drawn_set_is_the_same_every_time_and_another_for_another_split(tiny_dirs, tiny):
    once, again = drawn(tiny_dirs["qwen2"]), drawn_set(tiny, 8)
    assert once.sha256 == again.sha256
    assert drawn_set(tiny, 8, split="validation").sha256 != once.sha256
    assert once.positions == sum(len(s.packed.targets) for s in once.samples)
    for sample in once.samples:
        assert 1 <= sample.packed.segments <= QUESTIONS
        assert 0 <= float(sample.pixels.min()) < float(sample.pixels.max()) <= 1


def test_what_is_compared_are_the_answers_tokens(tiny_dirs, tiny):
    sample = drawn(tiny_dirs["qwen2"]).samples[0]
    ends = [sample.packed.answers == n for n in range(sample.packed.segments)]
    answers = [tiny.tokenizer.decode(sample.packed.targets[end][:-1].tolist()) for end in ends]
    assert answers == [one.answer for one in sample.questions]
    questions = {t.question for t in make_scene("train", 0, 20240914).triples()}
    assert {one.text for one in sample.questions} <= questions


def test_a_folder_with_questions(tmp_path, tiny):
    folder = write_scenes(tmp_path / "scenes", count=9, size=64)
    calibration = folder_set(tiny, folder)
    assert len(calibration.samples) == 9
    questions = {json.loads(line)["question"] for line in (folder / "triples.jsonl").read_text().splitlines()}
    assert {one.text for sample in calibration.samples for one in sample.questions} <= questions
    assert len(folder_set(tiny, folder, 8).samples) == 8
    fit, held_out = calibration.split(0.25)
    assert (len(fit.samples), len(held_out.samples)) == (7, 2)
    assert not {s.name for s in fit.samples} & {s.name for s in held_out.samples}


def test_pictures_alone_are_met_by_general_questions(tmp_path, tiny):
    for n in range(FEWEST):
        Image.new("RGB", (80 + n, 60), (20 * n, 90, 200)).save(tmp_path / f"{n}.png")
    calibration = folder_set(tiny, tmp_path)
    assert [one.text for one in calibration.samples[0].questions] == list(GENERAL)
    assert len(calibration.samples[0].packed.sources) == len(
        GENERAL
    )  # one token each: the first of the answer
    assert torch.equal(calibration.samples[0].packed.answers, torch.arange(len(GENERAL)))


def test_bad_data_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match="no such folder"):
        folder_set(tiny, tmp_path / "nowhere")
    Image.new("RGB", (60, 60)).save(tmp_path / "one.png")
    with pytest.raises(InputError, match=f"1 pictures are too few; give {FEWEST}"):
        folder_set(tiny, tmp_path)
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("")
    with pytest.raises(InputError, match=r"holds a\.jsonl and b\.jsonl"):
        folder_set(tiny, tmp_path)
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "../x.png", "question": "?", "answer": "!"}))
    with pytest.raises(InputError, match="lies outside"):
        folder_set(tiny, tmp_path)
    with pytest.raises(InputError, match="3 calibration samples"):
        drawn_set(tiny, 3)
