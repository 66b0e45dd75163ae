"""What a fold and an export cost, on hand-made numbers; and the turns that steps are taken in."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.exports import Taken, carried_on, table
from benchmarks.folds import WARM_STEPS, costs, interleaved
from benchmarks.kernels import in_turns


def test_a_cost_is_the_median_of_the_ratios_within_the_steps():
    # A machine that is three times slower during one step leaves the ratios alone.
    times = {"exact": [1.1, 3.3, 1.1], "off": [1.0, 3.0, 1.0]}
    exact, off = costs("onnx", 2048, times)
    assert exact.cost == pytest.approx(0.1)
    assert (off.cost, exact.seconds, exact.cached) == (0, 1.1, 2048)


def test_folds_take_turns_behind_the_same_number_of_tokens():
    calls = []

    class Run:
        vocabulary = 10

        def __init__(self, name):
            self.name = name

        def begin(self):
            calls.append((self.name, "begin"))

        def extend(self, ids):
            calls.append((self.name, len(ids)))

    clock = iter(range(1000))
    times = interleaved({"a": Run("a"), "b": Run("b")}, 700, 2, lambda: next(clock))
    filled = [(name, what) for name in "ab" for what in ("begin", 512, 188)]
    assert calls[: len(filled)] == filled
    assert calls[len(filled) :] == [("a", 1), ("b", 1)] * (WARM_STEPS + 2)
    assert times == {"a": [1, 1], "b": [1, 1]}


def test_two_lengths_are_carried_on_by_what_a_layer_costs():
    few = Taken("7b", "onnx", 2, 20.0, 10.0, 2e9, 1e9, 8.0, 4.0, 3e9)
    more = Taken("7b", "onnx", 4, 30.0, 16.0, 3e9, 1.5e9, 12.0, 5.0, 3e9)
    whole = carried_on(few, more, 32)
    assert (whole.seconds, whole.cpu_seconds, whole.peak, whole.files) == (170, 100, 17e9, 8.5e9)
    assert "| 7b | onnx | 32 | 170 | 100 | 17.00 | 8500 | 68 | 19 | 3.00 |" in table([few, more, whole])
    unverified = Taken("7b", "onnx", None, 20.0, 10.0, 2e9, 1e9)
    assert "| 7b | onnx | all | 20 | 10 | 2.00 | 1000 | - | - | - |" in table([unverified])


def test_calls_are_made_in_turns():
    made = []
    found = in_turns({"a": lambda: made.append("a"), "b": lambda: made.append("b")}, 3)
    assert made[:4] == ["a", "b", "a", "b"]
    assert np.all(np.array(list(found.values())) >= 0)
