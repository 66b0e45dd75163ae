"""Where the time before the first token goes, on hand-made lines; and what counts as the first."""

from __future__ import annotations

import sys

import pytest

from benchmarks.startup import by_package, first_byte

LINES = """import time: self [us] | cumulative | imported package
import time:       300 |        300 |   json.decoder
import time:      1000 |       1300 | numpy
import time:       500 |        500 |   numpy.linalg
a line of the program
import time:       200 |       2000 | phantom_edge.cli
"""


def test_a_package_has_the_time_of_its_own_modules():
    expected = {"standard library": 3e-4, "numpy": 1.5e-3, "phantom_edge": 2e-4}
    assert by_package(LINES) == pytest.approx(expected)


def test_the_first_byte_counts_and_not_the_last():
    code = "import time; print('a', flush=True); time.sleep(2)"
    assert first_byte([sys.executable, "-c", code]) < 1.5


def test_a_program_that_fails_is_no_measurement():
    with pytest.raises(SystemExit, match="no answer, exit code 3"):
        first_byte([sys.executable, "-c", "raise SystemExit(3)"])
