"""What is said to have been tested lies within what is installed beside this package."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from phantom_edge.runtime.doctor import IMPORTS
from phantom_edge.versions import TESTED

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
REQUIREMENTS = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}


def test_every_library_of_doctor_names_the_version_that_was_tested():
    assert TESTED.keys() == IMPORTS.keys()


@pytest.mark.parametrize("name", TESTED)
def test_a_tested_version_is_one_that_the_package_accepts(name):
    assert TESTED[name] in REQUIREMENTS[name]
