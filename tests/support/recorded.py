"""Where the recorded outputs of the published implementation are: in a folder that an environment variable
names.

Without it, as on a stranger's machine, the tests use checkpoints that they make, and what only recordings can
show is skipped. ``make conformance`` sets it.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "PHANTOM_EDGE_CONFORMANCE"
CONFORMANCE = Path(os.environ.get(VARIABLE) or Path(__file__).with_name("no-recordings"))
RECORDED = sorted(p for p in CONFORMANCE.glob("phantom-*") if (p / "golden.json").exists())
if os.environ.get(VARIABLE) and not RECORDED:
    raise FileNotFoundError(f"{VARIABLE}={CONFORMANCE} holds no phantom-*/golden.json")


def conformance(test):
    """Mark a test that compares with recorded outputs; it is skipped without them."""
    reason = f"needs recorded outputs of the published implementation ({VARIABLE})"
    return pytest.mark.conformance(pytest.mark.skipif(not RECORDED, reason=reason)(test))
