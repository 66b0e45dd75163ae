"""The embedded Phantom-Nano answers: real questions on held-out scenes, from the checkpoint and from every
format.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from phantom_edge.checkpoint.pretrained import NANO, Pretrained
from phantom_edge.evaluate.job import build_suite, evaluate_models
from phantom_edge.images import pixel_values
from phantom_edge.model.original import PhantomModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.scenes import make_scene

# Percent over the tasks below. The model card's figures, measured on many more questions, are some points
# higher: the floors leave room for the few questions asked here, not for a worse model.
SAMPLES = 10
FLOOR, BUNDLE_FLOOR = 94.0, 90.0
FEW = ["colour", "position", "count", "digits", "sign"]


@pytest.fixture(scope="module")
def suite():
    return build_suite(samples=SAMPLES)


@pytest.fixture(scope="module")
def original(suite):
    return evaluate_models([None], suite)[0]


def test_the_checkpoint_answers(original):
    assert original.unanswered == []
    assert original.overall.percent >= FLOOR


def test_the_phantom_dimension_is_part_of_it():
    """The trained model's logits move without it, by far more than any tolerance of an export."""
    source = Pretrained.open(None)
    whole, bare = (
        PhantomModel(source.config, source.checkpoint, phantom=phantom) for phantom in (True, False)
    )
    prompt = source.template.render([("Is there a red star?", None)], source.config.tokens_per_tile)
    ids = source.tokenizer.encode(prompt)
    picture = pixel_values(make_scene("test", 0).render(), tile_size=source.config.tile_size, max_tiles=1)
    embeds = whole.embed(torch.tensor([ids])).clone()
    embeds[0, torch.tensor(ids) == source.config.image_token_id] = whole.encode_image(
        torch.from_numpy(picture)
    )[0]
    with_it, without = (model.decode(embeds, model.make_cache()) for model in (whole, bare))
    assert (with_it - without).abs().max() > 0.01


@pytest.mark.parametrize("target", ["ios", "android", "desktop"])
def test_each_format_answers(target, tmp_path):
    bundle = tmp_path / target
    export(ExportRequest(target=target, output=bundle, verify=False))
    result = evaluate_models([bundle], build_suite(tasks=FEW, samples=4))[0]
    assert result.overall.percent >= BUNDLE_FLOOR


def test_the_first_question_of_the_readme(tmp_path):
    scene = next(scene for i in range(100) if _asks_largest(scene := make_scene("test", i)))
    scene.render(400).save(tmp_path / "scene.png")
    answer = next(t.answer for t in scene.triples() if _about_largest(t))
    command = [sys.executable, "-m", "phantom_edge", "run", "--image", "scene.png", "--json"]
    done = subprocess.run(
        [*command, "--prompt", "What colour is the largest object?"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert answer in json.dumps(json.loads(done.stdout))


def _about_largest(triple) -> bool:
    return triple.task == "colour" and "largest" in triple.question


def _asks_largest(scene) -> bool:
    return any(_about_largest(t) for t in scene.triples())


def test_the_wheel_stays_small():
    assert sum(file.stat().st_size for file in NANO.iterdir()) < 15e6
