"""Scenes are the same everywhere, splits share no content, and the ground truth is inside the picture."""

import hashlib
import subprocess
import sys

import pytest

from phantom_edge.errors import InputError
from phantom_edge.scenes import SPLITS, make_scene
from phantom_edge.scenes.scene import split_of

_PRINT = """
import hashlib
from phantom_edge.scenes import make_scene
digest = hashlib.sha256()
for index in range(12):
    scene = make_scene("test", index, seed=5)
    digest.update(scene.render(96).tobytes() + repr((scene, scene.triples())).encode())
print(digest.hexdigest())
"""


def _content(scene):
    """What a scene shows, written down independently of the generator's own partition."""
    shown = [p for p in scene.parts if p.kind not in ("letter", "digit")]
    return tuple(sorted((p.kind, p.label, p.colour, int(p.x * 3), int(p.y * 3)) for p in shown))


@pytest.fixture(scope="module")
def scenes():
    return {
        split: [make_scene(split, index, seed) for seed in (0, 1) for index in range(900)] for split in SPLITS
    }


def test_the_same_scene_in_another_process():
    digest = hashlib.sha256()
    for index in range(12):
        scene = make_scene("test", index, seed=5)
        assert scene.render(96).tobytes() == scene.render(96).tobytes()
        digest.update(scene.render(96).tobytes() + repr((scene, scene.triples())).encode())
    for hash_seed in ("0", "1"):
        command = [sys.executable, "-c", _PRINT]
        printed = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}
        )
        assert printed.stdout.strip() == digest.hexdigest()


def test_another_index_seed_or_split_is_another_scene():
    pictures = {
        make_scene(split, index, seed).render(64).tobytes()
        for split in SPLITS
        for seed in (0, 1, 2)
        for index in range(10)
    }
    assert len(pictures) == 90


def test_no_content_is_in_two_splits(scenes):
    contents = {split: {_content(scene) for scene in rows} for split, rows in scenes.items()}
    assert not contents["train"] & contents["test"]
    assert not contents["train"] & contents["validation"]
    assert not contents["validation"] & contents["test"]
    assert all(split_of(scene.parts) == split for split, rows in scenes.items() for scene in rows)


def test_no_text_is_read_in_two_splits(scenes):
    def texts(split):
        rows = [p for scene in scenes[split] for p in scene.parts]
        return {p.label for p in rows if p.kind == "sign" or (p.kind == "display" and len(p.label) > 2)}

    train, validation, test = map(texts, SPLITS)
    assert min(len(train), len(validation), len(test)) > 200
    assert not train & test
    assert not train & validation
    assert not validation & test


def test_the_kinds_keep_their_shares(scenes):
    for rows in scenes.values():
        kinds = [scene.kind for scene in rows]
        assert kinds.count("objects") / len(kinds) == pytest.approx(0.5, abs=0.04)
        assert kinds.count("sign") / len(kinds) == pytest.approx(0.16, abs=0.03)
        assert min(map(kinds.count, ("display", "gauge", "arrow"))) / len(kinds) > 0.07


def test_every_part_is_inside_and_large_enough(scenes):
    for scene in scenes["train"]:
        for part in scene.parts:
            if part.kind in ("object", "arrow", "gauge"):
                assert part.radius <= part.x <= 1 - part.radius
                assert part.radius <= part.y <= 1 - part.radius
            assert 0 < part.x < 1
            assert 0 < part.y < 1
            if part.kind == "object":
                assert 0.055 <= part.radius <= 0.2
            if part.kind in ("letter", "digit"):
                assert 2 * part.radius >= 0.1 - 1e-9


def test_objects_do_not_touch(scenes):
    for scene in scenes["train"]:
        objects = [p for p in scene.parts if p.kind == "object"]
        for n, a in enumerate(objects):
            for b in objects[:n]:
                assert (a.x - b.x) ** 2 + (a.y - b.y) ** 2 > (a.radius + b.radius) ** 2


@pytest.mark.parametrize("size", [32, 192, 300])
def test_a_picture_of_any_size(size):
    image = make_scene("validation", 3).render(size)
    assert (image.mode, image.size) == ("RGB", (size, size))


def test_what_is_not_to_be_had_is_refused():
    with pytest.raises(InputError, match="no split 'exam'"):
        make_scene("exam", 0)
    with pytest.raises(InputError, match="numbered from 0"):
        make_scene("test", -1)
    with pytest.raises(InputError, match="4096 pixels"):
        make_scene("test", 0).render(4096)
