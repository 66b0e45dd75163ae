"""Where the recorded outputs of the published implementation are, beside a checkout; an empty list
elsewhere.
"""

from pathlib import Path

CONFORMANCE = Path(__file__).resolve().parents[2] / "shared" / "conformance"
RECORDED = sorted(p for p in CONFORMANCE.glob("phantom-*") if (p / "golden.json").exists())
