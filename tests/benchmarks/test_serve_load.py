"""The load run in small: its figures are there, and what is wrong is seen."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.api_client import Outcome
from benchmarks.serve_load import Load, Question, failed

QUESTION = Question(b"", "red")


def test_only_the_sessions_answer_is_right():
    load = Load(Counter(), [], [], {})
    for outcome in (
        Outcome(200, "red"),
        Outcome(200, "re"),
        Outcome(429, failure="rate_limit_exceeded"),
        Outcome(200, "red", failure="model_crashed"),
    ):
        load.take(outcome, QUESTION)
    assert load.counts == {"right": 1, "different": 1, "rate_limit_exceeded": 1, "model_crashed": 1}
    assert len(load.seconds) == 1


def test_memory_is_steady_after_a_beginning_that_grows():
    load = Load(Counter(), [], [], {"model": [10, 50, 100, 100, 102, 101, 99, 100, 104, 104]})
    assert load.growth("model") == pytest.approx(0.04)


def test_what_is_wrong_is_named():
    result = {
        "load": {"counts": {"right": 9, "rate_limit_exceeded": 3}, "memory": {"model": {"growth": 0.04}}},
        "kill": {"failure": "model_crashed", "then": {"right": 2}},
    }
    assert failed(result) == []
    result["load"]["counts"]["different"] = 1
    result["load"]["memory"]["model"]["growth"] = 0.06
    result["kill"]["then"] = {"right": 1, "model_failed": 1}
    wrong = failed(result)
    assert wrong[:2] == ["different: 1", "memory of the model grew by 6.0%"]
    assert wrong[2].startswith("after the kill")
