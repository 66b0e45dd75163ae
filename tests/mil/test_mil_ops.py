"""Every op of the MIL interpreter against torch or numpy, in fp32 and fp16, lifted and typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coreml_models import write
from folded_models import quantized
from mil_cases import CASES, Case
from mil_programs import FP16_ULP, FP32_TOLERANCE, build

from phantom_edge.mil import MilModel
from phantom_edge.mil.constexpr import BLOCKWISE
from phantom_edge.mil.registry import OPS

# Covered where a package with states is needed: test_mil_state.py.
STATE_OPS = {"read_state", "write_state"}
PRECISIONS = {"fp32": np.float32, "fp16": np.float16}


def _as(array: np.ndarray, precision: str) -> np.ndarray:
    return array.astype(PRECISIONS[precision]) if array.dtype == np.float32 else array


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """All cases of a precision in one package, since writing a package takes a third of a second."""
    root = tmp_path_factory.mktemp("ops")
    result = {}
    for precision in PRECISIONS:
        arrays = {f"{case.name}__{n}": _as(a, precision) for case in CASES for n, a in case.arrays.items()}

        def body(precision=precision, **values):
            return {
                f"out__{case.name}": case.make(
                    PRECISIONS[precision], **{n: values[f"{case.name}__{n}"] for n in case.arrays}
                )
                for case in CASES
            }

        result[precision] = build(root / f"{precision}.mlpackage", arrays, body)
    return result


@pytest.fixture(scope="module")
def answers(packages) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    result = {}
    for precision, path in packages.items():
        inputs = {f"{case.name}__{n}": a for case in CASES for n, a in case.arrays.items()}
        for mode in ("lifted", "typed"):
            result[precision, mode] = MilModel.load(path, mode).predict(inputs)
    return result


@pytest.mark.parametrize("mode", ["lifted", "typed"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_op_equals_torch_or_numpy(case: Case, precision: str, mode: str, answers):
    answer = answers[precision, mode][f"out__{case.name}"]
    expected = np.asarray(case.expect(*case.arrays.values()))
    assert answer.shape == expected.shape
    if expected.dtype.kind != "f":
        assert np.array_equal(answer, expected)
        return
    assert answer.dtype == (PRECISIONS[precision] if mode == "typed" else np.float32)
    tolerance = FP16_ULP if (precision, mode) == ("fp16", "typed") else FP32_TOLERANCE
    assert np.allclose(answer.astype(np.float32), expected, rtol=tolerance, atol=tolerance)


def test_every_op_has_a_case(packages):
    tested = {case.op for case in CASES}
    assert tested | STATE_OPS == set(OPS)
    written = MilModel.load(packages["fp32"]).op_counts()
    assert tested <= written.keys()


def test_the_table_is_what_the_exporter_emits(tiny_dirs, tmp_path):
    """No op without a use: each one stands in an export of some decoder, recipe or fold."""
    written: set[str] = set()
    for n, (checkpoint, recipe, fold) in enumerate(
        [
            (tiny_dirs["qwen2"], "int4", "exact"),
            (tiny_dirs["internlm2"], "fp16", "rank:8"),
            (tiny_dirs["phi3"], "fp32", "off"),
        ]
    ):
        folder = tmp_path / str(n)
        folder.mkdir()
        write(quantized(checkpoint, recipe, fold), folder)
        for package in sorted(folder.glob("*.mlpackage")):
            model = MilModel.load(package)
            written.update(*(model.op_counts(name) for name in model.functions))
    assert written == set(OPS) | {"const", BLOCKWISE}
