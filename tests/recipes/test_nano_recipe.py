"""The recipe of Phantom-Nano: its batches, stages and state; the embedded checkpoint has its form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import NANO, Pretrained
from phantom_edge.errors import InputError
from phantom_edge.training.progress import TrainingProgress
from recipes.nano import train
from recipes.nano.form import SIZES, write_form
from recipes.nano.photographs import TEST, TRAIN, read_photographs
from recipes.nano.train import RECIPE, NanoTraining, Stage

pytestmark = pytest.mark.slow

SMALL = replace(
    SIZES, hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, vision_hidden=32, vision_ffn=64, vision_layers=2,
    vision_heads=2, image_size=64,
)  # fmt: skip


@pytest.fixture
def training(tmp_path) -> NanoTraining:
    return NanoTraining(tmp_path / "nano", sizes=SMALL)


def test_the_embedded_checkpoint_has_the_recipes_form(tmp_path):
    write_form(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        (NANO / "config.json").read_text()
    )
    assert (tmp_path / "tokenizer.json").read_bytes() == (NANO / "tokenizer.json").read_bytes()
    config = Checkpoint.open(NANO).config
    assert (config.decoder.hidden_size, config.vision.layers) == (SIZES.hidden, SIZES.vision_layers)
    assert (NANO / "model.safetensors").stat().st_size < 15e6


def test_a_batch_is_the_same_whenever_it_is_made(training):
    stage = replace(RECIPE[1], batch=3)
    one, other = training.mixture(stage).make(7), training.mixture(stage).make(7)
    assert torch.equal(one.pixels, other.pixels)
    assert torch.equal(one.packed.ids, other.packed.ids)
    assert torch.equal(one.packed.mask, other.packed.mask)
    assert not torch.equal(one.pixels, training.mixture(stage).make(8).pixels)


def test_pairs_come_as_right_and_wrong(training):
    batch = training.mixture(Stage("prefer", 1, "preference", 1e-3, batch=2)).make(0)
    packed = batch.packed
    assert packed.segments % 2 == 0
    assert len(batch.tasks) == packed.segments
    answers = [packed.targets[packed.answers == n].tolist() for n in range(packed.segments)]
    assert all(right != wrong for right, wrong in zip(answers[0::2], answers[1::2], strict=True))


def test_published_parts_learn_in_the_preference_step(training):
    names = set(training.weights_of(RECIPE[2]))
    assert all("projector" in n or ".phantom." in n or ".gate" in n for n in names)
    assert any("projector" in n for n in names)
    assert any(".phantom.query." in n for n in names)
    assert not any(n.endswith((".gate_up.weight", ".qkv.weight")) for n in names)


SHORT = (
    Stage("see", 2, "vision", 1e-3, batch=2),
    Stage("answer", 4, "answers", 1e-3, batch=2, dense=0.3),
    Stage("prefer", 2, "preference", 1e-3, batch=2),
)


class Stopped(Exception):
    pass


def made(folder: Path, stop_at: tuple[str, int] | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and ``training.json`` of a short training, stopped once on the way and repeated."""

    def progress(event: TrainingProgress) -> None:
        if (event.stage, event.done) == stop_at:
            raise Stopped

    training = NanoTraining(folder, SHORT, sizes=SMALL, workers=0, save_every=0.0, progress=progress)
    if stop_at is None:
        training.make()
        return load_file(folder / "model.safetensors"), json.loads((folder / "training.json").read_text())
    with pytest.raises(Stopped):
        training.make()
    return made(folder)


@pytest.fixture
def few_scenes(monkeypatch):
    """Measure accuracy on one batch."""
    monkeypatch.setattr(train, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(train, "TEST_BATCHES", 1)


def test_stopping_and_going_on_changes_nothing(tmp_path, few_scenes):
    straight, record = made(tmp_path / "a")
    assert record["resumed"] == []
    assert record["steps"] == {"see": 2, "answer": 4, "prefer": 2}
    assert list(record["validation"]) == ["answer"]
    for name, place, resumed in (("b", ("answer", 3), [2, 2, 0]), ("c", ("prefer", 1), [3, 0, 0])):
        stopped, again = made(tmp_path / name, place)
        assert again["resumed"][0][0] == resumed[0]
        assert straight.keys() == stopped.keys()
        assert all(torch.equal(straight[key], stopped[key]) for key in straight)
        assert again["curve"] == record["curve"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert Pretrained.open(tmp_path / "a").config == Checkpoint.open(tmp_path / "b").config


def test_another_recipe_does_not_go_on_with_it(tmp_path, few_scenes):
    made(tmp_path / "nano")
    with pytest.raises(InputError, match=r"trained with other arguments \(seed was 0, now 1\)"):
        NanoTraining(tmp_path / "nano", SHORT, sizes=SMALL, seed=1).make()


def test_a_branch_begins_with_the_weights_of_its_trunk(tmp_path, few_scenes):
    trunk = NanoTraining(tmp_path / "trunk", SHORT[:2], sizes=SMALL, workers=0)
    trunk.run()
    branch = NanoTraining(tmp_path / "branch", SHORT, sizes=SMALL, workers=0)
    branch.go_on_from(trunk)
    branch.run()
    branch.save(tmp_path / "saved")
    straight, _ = made(tmp_path / "straight")
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert all(torch.equal(straight[name], stored[name]) for name in straight)


def test_a_model_without_phantom_can_be_trained(tmp_path):
    training = NanoTraining(tmp_path, phantom=False, sizes=SMALL)
    stage = Stage("answer", 1, "answers", 1e-3, batch=2)
    for tensor in training.weights_of(stage).values():
        tensor.requires_grad_(True)
    sum(training.losses(stage, training.mixture(stage).make(0)).values()).backward()
    grads = {name: tensor.grad for name, tensor in training.model.weights.items()}
    assert grads["text_decoder.layers.0.phantom.key.q.weight"] is None
    assert grads["text_decoder.layers.0.qkv.weight"].abs().max() > 0


WORLD = Stage("broaden", 1, "answers", 1e-3, batch=6, conditions=(("usual", 1), ("paper", 2), ("nothing", 1)))


def test_scenes_in_view_make_batches_that_can_be_made_again(training):
    one, other = training.mixture(WORLD).make(5), training.mixture(WORLD).make(5)
    assert torch.equal(one.pixels, other.pixels)
    assert torch.equal(one.packed.ids, other.packed.ids)
    only = replace(WORLD, batch=24, conditions=(("nothing", 1.0),))
    nothing = training.mixture(only).make(0)
    assert {"nothing", "absent"} <= set(nothing.tasks) <= {"nothing", "absent", "count", "yesno"}
    assert not nothing.dense.things.any()


def test_photographs_are_for_training_alone(tmp_path):
    magenta = Image.new("RGB", (64, 64), (255, 0, 255))
    training = NanoTraining(tmp_path / "nano", sizes=SMALL, photographs=[magenta])
    stage = replace(WORLD, batch=16, conditions=(("nothing", 1.0),))
    for split, expected in (("train", True), ("validation", False)):
        pixels = training.mixture(stage, split).make(0).pixels.float()
        shown = (pixels[..., 0] > 180) & (pixels[..., 1] < 60) & (pixels[..., 2] > 180)
        assert bool(shown.any()) is expected


def test_the_heads_alone_learn_in_their_stage(training):
    stage = replace(WORLD, goal="heads")
    assert {name.split(".")[0] for name in training.weights_of(stage)} == {"heads"}
    assert set(training.losses(stage, training.mixture(stage).make(0))) == {"dense"}


def test_the_third_round_begins_with_a_checkpoint(tmp_path):
    training = NanoTraining(tmp_path / "nano", start=NANO)
    stored = Checkpoint.open(NANO)
    assert all(torch.equal(w, stored[name].float()) for name, w in training.model.weights.items())
    assert RECIPE[training.state.stage - 1].name == "heads"
    assert training.arguments["start"] == "nano"


def test_the_card_names_every_photograph_s_author_and_licence():
    card = (NANO / "README.md").read_text()
    assert not {p.path for p in TRAIN} & {p.path for p in TEST}
    for photograph in TRAIN:
        assert photograph.author in card
        assert photograph.licence in card


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no PNG pictures; make them by `python -m recipes\.nano\.photo"):
        read_photographs(tmp_path)
