"""Do an NPU's grids reach as far as a picture's values, and not much further?

A range that is too small cuts values off, one that is too large leaves few steps for them. What the bundle
says of its ranges cannot tell: so torch runs the prompts, and every grid is held against what they give.
"""

from __future__ import annotations

from collections.abc import Sequence

from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.quantize.ranges import extents
from phantom_edge.report.report import Check
from phantom_edge.runtime import tolerances
from phantom_edge.runtime.verify.subject import Subject, listed

NAME = "activation ranges that do not fit"


def checks(subject: Subject, inputs: Sequence[ModelInput]) -> list[Check]:
    """The grids that cut off, or waste, more than their headroom explains; none without an NPU's grids."""
    rounding = subject.reference.rounding
    if rounding is None or not rounding.ranges:
        return []
    wrong = []
    seen = extents(subject.reference, inputs, rounding.graphs)
    for site in sorted(seen.keys() | rounding.ranges.keys()):
        if site not in seen or site not in rounding.ranges:
            wrong.append(f"{site} (no range, or no such place)")
            continue
        grid, (low, high) = rounding.ranges[site], seen[site]
        low, high = min(low, 0.0), max(high, 0.0)
        size = high - low
        cut = max(grid.low - low, high - grid.high)
        wide = grid.high - grid.low
        if cut > tolerances.CUT.limit * size or (size and wide > tolerances.WIDE.limit * size):
            wrong.append(f"{site} ({grid.low:.3g}..{grid.high:.3g} for {low:.3g}..{high:.3g})")
    reason = f"{tolerances.CUT.reason}; {tolerances.WIDE.reason}"
    detail = f"of {len(rounding.ranges)}{'; ' if wrong else ''}{listed(wrong)}"
    return [Check.at_most(NAME, len(wrong), 0, reason, detail)]
