"""The examples in the docstrings run and print what they say."""

import doctest

import pytest

from phantom_edge.numbers import activations, grid, recipe, scale_search


@pytest.mark.parametrize(
    "module", [grid, scale_search, recipe, activations], ids=lambda module: module.__name__
)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
