"""The choice of items: even, the same every time, nothing twice."""

from __future__ import annotations

from collections import Counter

import pytest

from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Suite
from phantom_edge.evaluate.scene_choices import choices_of
from phantom_edge.evaluate.scene_tasks import scene_suite


def suite(**counts: int) -> Suite:
    items = [Item(f"{task}{n}", task, "?", "!", bool) for task, count in counts.items() for n in range(count)]
    return Suite("made up", tuple(items), "")


def counted(suite: Suite) -> dict[str, int]:
    return dict(Counter(item.task for item in suite.items))


def test_a_total_is_spread_evenly_and_small_tasks_give_what_they_have():
    whole = suite(a=10, b=2, c=10)
    assert counted(whole.fewer(total=12)) == {"a": 5, "b": 2, "c": 5}
    assert counted(whole.fewer(total=2)) == {"a": 1, "b": 1}
    assert counted(whole.fewer(per_task=3)) == {"a": 3, "b": 2, "c": 3}
    assert counted(whole.fewer(per_task=3, total=4)) == {"a": 2, "b": 1, "c": 1}
    assert whole.fewer(per_task=99, total=99).items == whole.items


def test_the_chosen_ones_lie_evenly_over_a_task():
    assert [item.id for item in suite(a=100).fewer(total=4).items] == ["a0", "a25", "a50", "a75"]


def test_tasks_are_named_right():
    whole = suite(a=2, b=1)
    assert [item.id for item in whole.only(["b"]).items] == ["b0"]
    with pytest.raises(InputError, match="has no task 'd'; there are a, b"):
        whole.only(["a", "d"])


def test_nothing_and_the_same_twice_are_refused():
    with pytest.raises(InputError, match="no question"):
        Suite("empty", (), "")
    with pytest.raises(InputError, match="'a0' is there twice"):
        Suite("double", suite(a=1).items * 2, "")


class TestScenes:
    def test_the_first_scenes_that_hold_each_task_and_one_question_of_it_per_scene(self):
        from phantom_edge.scenes import make_scene

        suite = scene_suite(["count", "sign"], samples=4)
        assert [item.task for item in suite.items] == ["count"] * 4 + ["sign"] * 4
        for task in ("count", "sign"):
            ids = [item.id for item in suite.items if item.task == task]
            with_task = (
                n for n in range(1000) if any(t.task == task for t in make_scene("test", n).triples())
            )
            assert ids == [f"test/{next(with_task)}/{task}" for _ in range(4)]

    def test_more_samples_keep_the_earlier_ones_and_splits_differ(self):
        few, many = (scene_suite(["colour"], samples=n) for n in (3, 6))
        assert many.items[:3] == few.items
        other = scene_suite(["colour"], samples=3, split="validation")
        assert {i.picture.key for i in other.items}.isdisjoint(i.picture.key for i in few.items)

    def test_items_judge_by_the_scenes_own_rule_and_draw_their_picture(self):
        suite = scene_suite(["colour", "gauge"], samples=2)
        for item in suite.items:
            assert item.judge(item.answer)
            assert not item.judge("a wrong answer")
            assert item.picture.load(64).size == (64, 64)
        gauge = suite.items[-1]
        assert gauge.judge(f"{int(gauge.answer) + 4} %")  # within five points

    def test_every_task_has_its_questions(self):
        from phantom_edge.scenes import TASKS

        assert counted(scene_suite(samples=2)) == dict.fromkeys(TASKS, 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tasks": ["color"]}, "unknown task 'color'; there are colour"),
            ({"split": "dev"}, "unknown split 'dev'"),
            ({"samples": 0}, "--samples is 0"),
        ],
    )
    def test_what_is_unknown_is_refused(self, options, message):
        with pytest.raises(InputError, match=message):
            scene_suite(**options)

    def test_every_listed_choice_includes_the_answer(self):
        from phantom_edge.scenes import make_scene

        seen: Counter[str] = Counter()
        for index in range(150):
            for triple in make_scene("test", index).triples():
                if choices := choices_of(triple.task, triple.question):
                    assert triple.answer in choices, triple
                    assert len(set(choices)) == len(choices) > 1
                    seen[triple.task] += 1
        listed = {"colour", "shape", "size", "count", "position", "relation", "yesno", "arrow"}
        assert seen.keys() == listed
        assert {item.task for item in scene_suite(samples=1).items if item.choices} == listed
