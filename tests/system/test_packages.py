"""Which package an import lacked, and the command that brings it."""

from __future__ import annotations

from importlib.metadata import requires

import pytest

from phantom_edge.bundle.backend import running
from phantom_edge.errors import InputError
from phantom_edge.system.packages import BOX, FULL, installed_as, missing, needed
from phantom_edge.system.reading import reading


def lacking(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_requirement_comes_with_the_whole_toolkit():
    line = "this needs torch, which is not installed here; get it with: pip install phantom-edge"
    assert str(missing(lacking("torch.nn"))) == line
    assert "; give a bundle, or get it with: " in str(missing(lacking("torch"), "give a bundle"))


def test_an_extra_is_named():
    if FULL not in installed_as():
        pytest.skip("needs an installed phantom-edge (pip install -e .)")
    assert any("coreai" in line for line in requires(FULL))
    assert str(missing(lacking("coreai_torch"))).endswith('pip install "phantom-edge[coreai]"')


def test_other_errors_are_what_they_are():
    for error in (
        lacking("phantom_edge.nothing"),
        ImportError("libGL.so.1: cannot open shared object file", name="torch"),
        ModuleNotFoundError("without a name"),
        ValueError("torch"),
    ):
        assert missing(error) is None
        with pytest.raises(type(error)) as caught, needed():
            raise error
        assert caught.value is error


@pytest.mark.parametrize("block", [needed, lambda: reading("model.bin", "again"), lambda: running("bundle")])
def test_no_file_is_blamed_for_a_missing_package(block):
    with (
        pytest.raises(InputError, match="this needs no_such_package, which is not installed here") as caught,
        block(),
    ):
        import no_such_package  # noqa: F401
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert BOX not in str(caught.value)
