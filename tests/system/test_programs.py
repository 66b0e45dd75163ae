"""Programs beside Python: side by side within a time, and none that is left running."""

from __future__ import annotations

import sys
import time

from phantom_edge.system.programs import installed, outputs


def test_they_run_side_by_side_and_none_longer_than_the_patience():
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    quick = [sys.executable, "-c", "import sys; print('v1'); sys.exit(3)"]
    before = time.monotonic()
    said = outputs({"slow": sleeper, "slower": sleeper, "quick": quick, "none": ["no-such-program"]}, 3)
    assert time.monotonic() - before < 20
    assert said == {"slow": None, "slower": None, "quick": (3, "v1"), "none": None}


def test_a_program_is_known_by_its_path_too(tmp_path):
    assert installed("no-such-program", sys.executable) == sys.executable
    assert installed(str(tmp_path)) is None
