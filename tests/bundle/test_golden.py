"""The golden file and the rule that judges by it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from golden_cases import PATH, document, golden
from safetensors.numpy import load_file, save_file

from phantom_edge.bundle.golden import (
    EXACT,
    GOLDEN,
    HALF,
    HALF_XNNPACK,
    ROUNDED,
    XNNPACK,
    Computed,
    Golden,
    errors,
    judge,
    limits_for,
    parse_limits,
)
from phantom_edge.errors import InputError
from phantom_edge.targets import FORMATS

CASES = json.loads(PATH.read_text(encoding="utf-8"))


def test_the_cases_of_all_languages_are_those_of_the_rule():
    made = json.loads(document())
    assert made["damaged_limits"] == CASES["damaged_limits"]
    for key in ("name", "limits", "failing"):
        assert [case[key] for case in made["cases"]] == [case[key] for case in CASES["cases"]]
    np.testing.assert_allclose(_numbers(made), _numbers(CASES), rtol=1e-5, atol=1e-9)


def _numbers(value) -> list[float]:
    """Every number of a document in order, null as one that is not."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in _numbers(part)]
    return [] if isinstance(value, str) else [float("nan") if value is None else value]


def test_the_cases_say_what_their_names_do():
    failing = {case["name"]: case["failing"] for case in CASES["cases"]}
    assert failing == {
        "the same numbers": [],
        "the same numbers, in fp32": [],
        "a rounding of pixels": [],
        "a pixel off by one step of 255": ["pixel_values.max"],
        "image tokens off a little everywhere": [],
        "image tokens off too much everywhere": ["image_features.rms"],
        "one image token far off": ["image_features.rms", "image_features.max"],
        "one image token off where the mean alone counts": [],
        "image tokens in fp16": [],
        "image tokens off by more than fp16": ["image_features.rms", "image_features.max"],
        "image tokens in another order": ["image_features.rms", "image_features.max"],
        "too few image tokens": ["image_features.rms", "image_features.max"],
        "an image token that is not a number": ["image_features.rms", "image_features.max"],
        "an infinite image token": ["image_features.rms", "image_features.max"],
        "logits off a little everywhere": [],
        "logits off too much everywhere": ["prefill_logits.rms"],
        "logits of 1e-4 in fp32": [],
        "logits of 2e-3 in fp32": ["prefill_logits.rms"],
        "a tie at the second token": [],
        "another second token": ["generated_ids.tie"],
        "a tie where none is allowed": ["generated_ids.tie"],
        "another token among small logits": ["generated_ids.tie"],
        "another token among large logits": ["generated_ids.tie"],
        "a logit that is not a number": ["generated_ids.tie"],
        "too few logits": ["prefill_logits.rms", "prefill_logits.max", "generated_ids.tie"],
    }


def test_errors_by_hand():
    expected = np.array([3.0, 4.0])  # their root mean square is sqrt(12.5)
    rms, largest = errors(np.array([[3.0, 5.0]]), expected)
    assert rms == pytest.approx(np.sqrt(0.5 / 12.5))
    assert largest == pytest.approx(1 / np.sqrt(12.5))
    assert errors(np.zeros(3), expected) == (np.inf, np.inf)
    assert errors(np.array([3.0, np.nan]), expected) == (np.inf, np.inf)


def test_a_file_survives(tmp_path):
    file, logits = golden()
    file.save(tmp_path)
    again = Golden.read(tmp_path)
    assert again.limits == file.limits
    assert np.array_equal(again.image, file.image)
    checks = judge(again, Computed(file.pixel_values, file.image_features, logits))
    assert [check.value for check in checks] == [0] * 6


def test_no_limit_is_looser_than_what_devices_were_held_to_before():
    """Core ML: largest difference 0.03, ties 0.06; ExecuTorch: 0.25 and 0.5; browsers: root mean squares 0.05
    and 0.1, or 1e-3 without rounding, and ties as for logits; benchmarks everywhere: 0.1.
    """
    before = {
        "coreml": (0.03, 0.03, 0.06),
        "executorch": (0.25, 0.25, 0.5),
        "executorch-coreml": (0.25, 0.25, 0.5),
    }
    for name in FORMATS:
        for rounds in (False, True):
            limits = limits_for(name, rounds=rounds)
            assert limits.pixel_values.max == 1e-6
            features, logits = limits.image_features, limits.prefill_logits
            assert features.rms <= 0.1
            assert logits.rms <= 0.1
            if name in before:
                assert features.max <= before[name][0]
                assert logits.max <= before[name][1]
                assert limits.tie <= before[name][2]
            if name.startswith("onnx"):
                exact = not rounds and name == "onnx"
                assert features.rms <= (1e-3 if exact else 0.05)
                assert logits.rms <= (1e-3 if exact else 0.1)
                assert limits.tie <= (1e-3 if exact else 0.1)


@pytest.mark.parametrize(
    ("name", "rounds", "limits"),
    [
        ("coreml", False, HALF),
        ("executorch", True, XNNPACK),
        ("executorch", False, EXACT),
        ("executorch-coreml", True, HALF_XNNPACK),
        ("onnx", True, ROUNDED),
        ("onnx", False, EXACT),
        ("onnx-webgpu", False, ROUNDED),
    ],
)
def test_limits_follow_from_the_arithmetic(name, rounds, limits):
    assert limits_for(name, rounds=rounds) == limits


@pytest.mark.parametrize("text", [None, *CASES["damaged_limits"]])
def test_damaged_limits_are_refused(text):
    with pytest.raises(InputError, match="metadata"):
        parse_limits(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("image"), "holds no image"),
        (lambda t: t.update(more=np.zeros(1)), "more is not one of its tensors"),
        (lambda t: t.update(input_ids=t["input_ids"][0]), "input_ids is int64 of 1 dimensions"),
        (lambda t: t.update(pixel_values=t["pixel_values"].astype(np.float64)), "pixel_values is float64"),
        (lambda t: t.update(generated_ids=np.array([8])), "8 is no id below a vocabulary of 8"),
        (lambda t: t.update(generated_ids=np.zeros(0, np.int64)), "holds no ids"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, change, message):
    golden()[0].save(tmp_path)
    tensors = load_file(tmp_path / GOLDEN)
    change(tensors)
    save_file(tensors, tmp_path / GOLDEN, {"limits": CASES["cases"][0]["limits"]})
    with pytest.raises(InputError, match=message) as caught:
        Golden.read(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / GOLDEN))


def test_no_file_and_no_such_file(tmp_path):
    with pytest.raises(InputError, match="not found"):
        Golden.read(tmp_path)
    (tmp_path / GOLDEN).write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="no safetensors file"):
        Golden.read(tmp_path)
    save_file({name: np.zeros(1) for name in ("a",)}, tmp_path / GOLDEN)
    with pytest.raises(InputError, match="export the bundle again"):
        Golden.read(tmp_path)


def test_other_ids_are_judged_by_their_own_gap():
    file, logits = golden()
    worst = replace(file, generated_ids=logits.argmin(-1))
    *_, tie = judge(worst, Computed(file.pixel_values, file.image_features, logits))
    assert not tie.passed
    assert tie.detail == "0 of 3 tokens are the likeliest"
