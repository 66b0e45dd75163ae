"""Chips by name, and what is said of a name that is none or a chip that is too old."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from phantom_edge.errors import InputError
from phantom_edge.export.qnn_chips import ARCHITECTURES, CHIPS, DEFAULT, chip_for, chips_of


def test_names_in_any_case_and_by_commas():
    assert [chip.name for chip in chips_of(["sm8650, SM8750", "sm8650"])] == ["SM8650", "SM8750"]
    assert chip_for(DEFAULT).architecture in ARCHITECTURES


def test_numbers_are_those_that_executorch_has():
    # By its path: the package around it wants further libraries.
    folder = Path(importlib.util.find_spec("executorch").submodule_search_locations[0])
    path = folder / "backends/qualcomm/serialization/qc_schema.py"
    if not path.is_file():
        pytest.skip("needs an ExecuTorch with Qualcomm's table of chips")
    spec = importlib.util.spec_from_file_location("qc_schema", path)
    table = importlib.util.module_from_spec(spec)
    sys.modules["qc_schema"] = table  # its dataclasses look themselves up
    spec.loader.exec_module(table)
    for chip in CHIPS.values():
        theirs = table.QcomChipset[chip.name]
        assert int(theirs) == chip.model
        assert int(table._soc_info_table[theirs].htp_info.htp_arch) == chip.architecture


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sm8651", "no such chip (did you mean 'sm8650'?)"),
        ("a18", "there are sm8550"),
        ("sm8450", "Hexagon v69, which lacks types"),
        ("x" * 500, "no such chip"),
    ],
)
def test_a_chip_that_is_none_is_one_line(name, said):
    with pytest.raises(InputError) as caught:
        chip_for(name)
    assert said in str(caught.value)
    assert len(str(caught.value)) <= 300
