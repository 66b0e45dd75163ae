"""Scenes under conditions as questions of `phantom-edge eval`."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.evaluate.job import build_suite
from phantom_edge.evaluate.scene_conditions import condition_suite
from phantom_edge.scenes.view import CONDITIONS


def test_each_condition_has_its_questions_one_of_a_scene():
    suite = condition_suite(["all"], samples=12)
    assert Counter(item.task for item in suite.items) == dict.fromkeys(CONDITIONS, 12)
    assert len({item.picture.key for item in suite.items}) == len(suite.items)
    assert len({item.id for item in suite.items}) == len(suite.items)
    for item in suite.items:
        assert item.judge(item.answer)
        assert not item.judge("a wrong answer")
        assert not item.choices or item.answer in item.choices


def test_the_tasks_of_a_condition_come_in_turn():
    suite = condition_suite(["paper"], samples=60)
    times = Counter(item.id.rsplit("/", 1)[1] for item in suite.items)
    assert len(times) > 10
    assert max(times.values()) < 10


def test_only_some_tasks():
    suite = condition_suite(["plain", "nothing"], ["absent"], samples=5)
    assert {item.id.rsplit("/", 1)[1] for item in suite.items} == {"absent"}
    assert all(item.answer.startswith("there is no ") for item in suite.items)


def test_backgrounds_come_from_photographs():
    magenta = [Image.new("RGB", (64, 64), (255, 0, 255))]
    plain, before = (
        condition_suite(["texture"], samples=10, photographs=photographs) for photographs in ((), magenta)
    )
    pairs = zip(plain.items, before.items, strict=True)
    differ = [a.picture.load(64).tobytes() != b.picture.load(64).tobytes() for a, b in pairs]
    assert sum(differ) >= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": ["fog"]}, "there is no condition 'fog'"),
        ({"conditions": ["paper"], "tasks": ["color"]}, "unknown task 'color'; there are colour"),
        ({"conditions": ["nothing"], "tasks": ["sign"], "samples": 1}, "too few questions of --tasks sign"),
        ({"conditions": ["paper"], "split": "dev"}, "there is no split 'dev'"),
        ({"conditions": ["paper"], "benchmark": "pope", "data": "."}, "--condition is for the scene tasks"),
    ],
)
def test_what_is_unknown_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        build_suite(**options)
