"""Pictures, encoded lines, their order and the options of a run; what is wrong is named before any work."""

from __future__ import annotations

import itertools
import json
import os

import pytest
from triple_files import SIZES, collator, read

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.training.triples import Line
from phantom_edge.tune import pictures
from phantom_edge.tune.batches import Order, hold_out
from phantom_edge.tune.options import TuneOptions, schedule
from phantom_edge.tune.pictures import data_sha256, survey


def test_a_damaged_picture_is_named_with_its_line(tmp_path):
    triples = read(tmp_path)
    wide = tmp_path / "pictures" / "wide.png"
    wide.write_bytes(wide.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"line 2: .*wide\.png.* is damaged"):
        survey(triples, {})


def test_pictures_that_did_not_change_are_not_read_again(tmp_path, monkeypatch):
    triples = read(tmp_path)
    surveyed = survey(triples, {})
    assert (surveyed["wide.png"].width, surveyed["wide.png"].height) == SIZES["wide.png"]
    before = data_sha256(triples, surveyed)
    (tmp_path / "known.json").write_text(json.dumps(pictures.to_json(surveyed)))
    known = pictures.read_known(tmp_path / "known.json")
    assert known == surveyed
    decode = pictures.load_image
    monkeypatch.setattr(pictures, "load_image", lambda path: pytest.fail(f"read {path}"))
    again = survey(triples, known)
    assert data_sha256(triples, again) == before
    monkeypatch.setattr(pictures, "load_image", decode)
    square = tmp_path / "pictures" / "square.png"
    square.write_bytes((tmp_path / "pictures" / "wide.png").read_bytes())
    os.utime(square, ns=(1, 1))
    changed = survey(triples, known)
    assert (changed["square.png"].width, changed["square.png"].height) == SIZES["wide.png"]
    assert data_sha256(triples, changed) != before


def test_text_the_model_cannot_learn_is_named_with_its_line(tmp_path, tiny_dirs):
    source = Pretrained.open(tiny_dirs["qwen2"])

    def refused(line, message):
        triples = read(tmp_path, [{"question": "a", "answer": "b"}, line])
        lines = collator(source, triples)
        with pytest.raises(InputError, match=f"line 2: .*{message}"):
            lines.encode(triples.lines[1], wrong=True)
        return lines, triples.lines[1]

    refused({"question": "a<|im_end|>", "answer": "b"}, "holds <.im_end.>, which is reserved")
    refused({"question": "a", "answer": "<img>"}, "the answer holds <img>, which is reserved")
    with pytest.raises(InputError, match=r"line 2: .*one half of a surrogate pair"):
        read(tmp_path, [{"question": "a", "answer": "b"}, {"question": "a", "answer": "\ud800"}])
    refused(
        {"question": "\u4e00" * 4096, "answer": "b"}, r"\d+ tokens, the model's context holds 4096; shorten"
    )
    long = {"question": "a", "answer": "b", "wrong": "\u4e00" * 1400, "image": "square.png"}
    lines, line = refused(long, r"the picture's; fewer with --max-tiles\), the model's context holds 4096")
    assert lines.encode(line, wrong=False).wrong is None


# --- order --------------------------------------------------------------------------------------------------


def many(pictures: int = 7, each: int = 3, without: int = 4) -> list[Line]:
    names = [f"{n}.png" for n in range(pictures) for _ in range(each)] + [None] * without
    return [Line(n, "a", "b", "c", image) for n, image in enumerate(names, start=1)]


def test_every_pass_has_every_line_once_and_a_pictures_lines_together():
    lines = many()
    order = Order(lines, 5, seed=0)
    stream = [line for step in range(10) for line in order.step(1, step)]  # two passes of 25
    for start in (0, 25):
        one = stream[start : start + 25]
        assert sorted(line.number for line in one) == list(range(1, 26))
        names = [line.image for line in one if line.image]
        assert sum(a != b for a, b in itertools.pairwise(names)) == 6
    assert stream[:25] != stream[25:]


def test_the_order_follows_from_seed_step_and_nothing_else():
    first, again, other = (Order(many(), 5, seed) for seed in (0, 0, 1))
    assert first.step(2, 7) == [*again.step(2, 7)]
    assert first.step(1, 3) != other.step(1, 3)
    assert first.step(1, 3) != first.step(2, 3)


def test_no_picture_is_both_trained_on_and_held_out():
    train, held_out = hold_out(many(), 5, seed=3)
    assert 5 <= len(held_out) <= 7
    assert sorted(line.number for line in train + held_out) == list(range(1, 26))
    assert not {line.image for line in train if line.image} & {line.image for line in held_out}
    assert hold_out(many(), 0, seed=3) == (many(), [])
    with pytest.raises(InputError, match="--validation 23 holds out all 25 lines"):
        hold_out(many(pictures=1, each=25, without=0), 23, seed=0)


# --- options ------------------------------------------------------------------------------------------------


def test_the_cosine_ends_at_a_tenth():
    # 0.1 + 0.9 * (1 + cos(pi * step / 4)) / 2 with cosines 1, 0.70710678, 0, -0.70710678, -1
    expected = [1.0, 0.868198, 0.55, 0.231802, 0.1]
    assert [schedule(step, 5) for step in range(5)] == pytest.approx(expected, rel=1e-6)
    assert schedule(0, 1) == 1.0


def test_steps_follow_from_epochs_unless_they_are_given():
    assert TuneOptions(batch=128).count_steps(300) == (3, 3)  # 300 / 128 = 2.3
    assert TuneOptions(batch=128, epochs=3).count_steps(300) == (8, 8)  # 900 / 128 = 7.03
    assert TuneOptions(batch=128, steps_1=0).count_steps(20) == (0, 1)  # a batch holds no line twice
    assert TuneOptions(steps_1=5, steps_2=7).count_steps(20) == (5, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "--batch is 0: it must be at least 1"),
        ({"micro_batch": -1}, "--micro-batch is -1"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"lr": float("nan")}, "--lr is nan: it must be more than 0"),
        ({"lr": float("inf")}, "--lr is inf"),
        ({"beta": 0.0}, "--beta is 0.0"),
        ({"gamma": -0.5}, "--gamma is -0.5"),
        ({"lora": 0}, "--lora is 0: it must be a rank from 1 to 1024"),
        ({"precision": "fp8"}, "--precision is fp8: it must be fp32 or bf16"),
        ({"device": "tpu"}, "--device is tpu"),
        ({"steps_2": -3}, "--steps-2 is -3"),
        ({"steps_1": 0, "steps_2": 0}, "nothing would learn"),
        ({"save_every": -1.0}, "--save-every is -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError) as raised:
        TuneOptions(**options)
    assert message in str(raised.value)
