"""The table of targets, and rows that another package adds."""

import sys

import pytest

from phantom_edge.errors import InputError
from phantom_edge.targets import FORMATS, Target, format_for, target_for, targets

module = sys.modules["phantom_edge.targets"]


def test_every_target_has_a_format_and_a_recipe_that_exist():
    from phantom_edge.numbers.recipe import PRESETS

    for target in targets().values():
        assert target.format in FORMATS
        assert target.recipe in PRESETS
        assert target.chunk <= target.context


def test_a_target_may_have_a_form_of_its_own_of_a_format():
    assert target_for("ios").artifact_format().name == "coreml"
    assert target_for("ios").artifact_format("executorch").name == "executorch-coreml"
    assert target_for("android").artifact_format("executorch").name == "executorch"
    for target in targets().values():
        assert {name for pair in target.variants for name in pair} <= set(FORMATS)


def test_another_package_adds_a_target(monkeypatch):
    class Point:
        name = "watch"

        def load(self):
            return Target("watch", "A watch", "executorch", "int4", context=512)

    monkeypatch.setattr(
        module, "entry_points", lambda group: [Point()] if group == "phantom_edge.targets" else []
    )
    assert target_for("watch").context == 512


def test_another_package_that_does_not_load_is_named(monkeypatch):
    class Point:
        name, value = "watch", "watches:target"

        def load(self):
            raise ImportError("no module named watches")

    monkeypatch.setattr(module, "entry_points", lambda group: [Point()])
    with pytest.raises(InputError, match=r"target 'watch' .*no module named watches"):
        targets()


@pytest.mark.parametrize(("find", "name"), [(target_for, "iOS"), (format_for, "core-ml")])
def test_an_unknown_name_is_answered_with_the_nearest(find, name):
    with pytest.raises(InputError, match=f"unknown .* '{name}' .did you mean"):
        find(name)
