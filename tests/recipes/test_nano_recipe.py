"""The recipe of Phantom-Nano: its batches, its stages, its state; and that the embedded checkpoint has its
form.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import NANO
from recipes.nano.train import RECIPE, SIZES, NanoTraining, Stage, write_nano_tokenizer

SMALL = replace(
    SIZES, hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, vision_hidden=32, vision_ffn=64, vision_layers=2,
    vision_heads=2, image_size=64,
)  # fmt: skip


@pytest.fixture
def training(tmp_path) -> NanoTraining:
    return NanoTraining(tmp_path / "nano", sizes=SMALL)


def test_the_embedded_checkpoint_has_the_recipes_form(tmp_path):
    write_nano_tokenizer(tmp_path)
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
    batch = training.mixture(Stage("prefer", "preference", 1, 1e-3, batch=2)).make(0)
    packed = batch.packed
    assert packed.segments % 2 == 0
    assert len(batch.tasks) == packed.segments
    answers = [packed.targets[packed.answers == n].tolist() for n in range(packed.segments)]
    assert all(right != wrong for right, wrong in zip(answers[0::2], answers[1::2], strict=True))


def test_published_parts_learn_in_the_preference_step(training):
    names = set(training.learning(RECIPE[2]))
    assert all("projector" in n or ".phantom." in n or ".gate" in n for n in names)
    assert any("projector" in n for n in names)
    assert any(".phantom.query." in n for n in names)
    assert not any(n.endswith((".gate_up.weight", ".qkv.weight")) for n in names)


def test_stopping_and_going_on_changes_nothing(tmp_path):
    recipe = (
        Stage("see", "vision", 2, 1e-3, batch=2),
        Stage("answer", "answers", 4, 1e-3, batch=2, dense=0.3),
        Stage("prefer", "preference", 2, 1e-3, batch=2),
    )

    def run(folder: Path, stop_after: int | None) -> dict[str, torch.Tensor]:
        training = NanoTraining(folder, sizes=SMALL)
        training.save_every = 0.0  # a state after every step

        def report(line: str) -> None:
            if stop_after is not None and line.startswith(f"prefer 0/{recipe[2].steps}"):
                raise KeyboardInterrupt

        try:
            training.run(recipe, report=report, workers=0)
        except KeyboardInterrupt:
            return run(folder, None)
        training.save(folder / "checkpoint")
        return load_file(folder / "checkpoint" / "model.safetensors")

    straight, stopped = run(tmp_path / "a", None), run(tmp_path / "b", 1)
    assert straight.keys() == stopped.keys()
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)


def test_a_model_without_phantom_can_be_trained(tmp_path):
    training = NanoTraining(tmp_path, phantom=False, sizes=SMALL)
    stage = Stage("answer", "answers", 1, 1e-3, batch=2)
    for tensor in training.learning(stage).values():
        tensor.requires_grad_(True)
    sum(training.losses(stage, training.mixture(stage).make(0)).values()).backward()
    grads = {name: tensor.grad for name, tensor in training.model.weights.items()}
    assert grads["text_decoder.layers.0.phantom.key.q.weight"] is None
    assert grads["text_decoder.layers.0.qkv.weight"].abs().max() > 0
