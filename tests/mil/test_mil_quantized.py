"""Compressed weights: stored integers bit for bit, and the tensors they stand for by coremltools' own
arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_blockwise_shift_scale
from mil_programs import FP16_ULP, FP32_TOLERANCE, build, convert

from phantom_edge.mil import MilModel
from phantom_edge.model import linear_by_rows

RANDOM = np.random.default_rng(5)
BOUNDS = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}


def _integers(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    values = RANDOM.integers(*BOUNDS[kind], shape)
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(kind)))


def _weights(path: Path, makers: dict[str, Callable[[], Any]], target: Any = ct.target.iOS18) -> Path:
    """A package that gives out each compressed weight in fp32; the makers build the constexpr ops."""

    def body(x):
        return {
            f"out_{name}": mb.add(x=mb.cast(x=make(), dtype="fp32"), y=x) for name, make in makers.items()
        }

    return build(path, {"x": np.zeros(1, np.float32)}, body, target)


def _outputs(path: Path, mode: str = "typed") -> dict[str, np.ndarray]:
    return MilModel.load(path, mode).predict({"x": np.zeros(1)})


@dataclass(frozen=True)
class _Blocks:
    data: np.ndarray
    scale: np.ndarray
    offset: np.ndarray | None

    def make(self, name: str) -> Any:
        extra = {} if self.offset is None else {"offset": self.offset}
        return mb.constexpr_blockwise_shift_scale(data=self.data, scale=self.scale, name=name, **extra)

    def expect(self, scale: np.ndarray) -> np.ndarray:
        offset = None if self.offset is None else self.offset.astype(np.float16)
        return constexpr_blockwise_shift_scale.decompress(self.data, scale, offset).astype(np.float32)


BLOCKS = {
    f"{kind}_{groups[0]}_{groups[1]}{'_offset' if offset else ''}": _Blocks(
        _integers(kind, (8, 64)),
        RANDOM.uniform(0.01, 0.1, groups).astype(np.float16),
        _integers(kind, groups) if offset else None,
    )
    for kind in BOUNDS
    for groups in [(8, 2), (8, 1), (1, 1), (4, 4)]
    for offset in (False, True)
}


@pytest.fixture(scope="module")
def blocks(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("blocks") / "m.mlpackage"
    return _weights(path, {name: lambda name=name: BLOCKS[name].make(name) for name in BLOCKS})


@pytest.fixture(scope="module")
def stored(blocks) -> dict:
    return MilModel.load(blocks).quantized_weights()


@pytest.fixture(scope="module")
def dequantised(blocks) -> dict[str, dict[str, np.ndarray]]:
    return {mode: _outputs(blocks, mode) for mode in ("lifted", "typed")}


@pytest.mark.parametrize("name", BLOCKS)
def test_blockwise_integers_are_exact(stored, dequantised, name):
    blocks = BLOCKS[name]
    data, scale, offset = stored[name]
    assert data.dtype == (np.uint8 if name.startswith("u") else np.int8)
    assert np.array_equal(data, blocks.data.astype(np.int16))
    assert scale.dtype == np.float16
    assert np.array_equal(scale, blocks.scale)
    if blocks.offset is None:
        assert offset is None
    else:
        assert np.array_equal(offset, blocks.offset.astype(np.int16))
    assert np.array_equal(dequantised["typed"][f"out_{name}"], blocks.expect(blocks.scale))
    assert np.array_equal(
        dequantised["lifted"][f"out_{name}"], blocks.expect(blocks.scale.astype(np.float32))
    )


def test_integers_of_coremltools_quantiser_survive_the_file(tmp_path):
    path = convert(torch.nn.Linear(64, 32), (torch.ones(2, 64),), tmp_path / "m.mlpackage", "fp16")
    config = cto.OptimizationConfig(
        global_config=cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=32, weight_threshold=0
        )
    )
    model = cto.linear_quantize_weights(ct.models.MLModel(str(path), skip_model_load=True), config)
    model.save(str(tmp_path / "q.mlpackage"))
    (op,) = model._mil_program.functions["main"].find_ops(op_type="constexpr_blockwise_shift_scale")
    mil = MilModel.load(tmp_path / "q.mlpackage")
    assert mil.op_counts()["constexpr_blockwise_shift_scale"] == 1
    ((data, scale, offset),) = mil.quantized_weights().values()
    assert data.shape == (32, 64)
    assert scale.shape == (32, 2)
    assert offset is None
    assert np.array_equal(data, op.data.val.astype(np.int8))
    assert np.array_equal(scale, op.scale.val)


LINEAR = {
    "int4": lambda: BLOCKS["int4_8_2"].make("int4"),
    "int4_offset": lambda: BLOCKS["int4_8_2_offset"].make("int4_offset"),
    "uint8_one_scale": lambda: BLOCKS["uint8_1_1_offset"].make("uint8_one_scale"),
    "int8_blocks_of_rows": lambda: BLOCKS["int8_4_4"].make(
        "int8_blocks_of_rows"
    ),  # cannot be cut: made whole
    "fp16": lambda: (RANDOM.normal(size=(8, 64)) * 0.1).astype(np.float16),
}


@pytest.mark.parametrize("mode", ["lifted", "typed"])
def test_stored_matrices_give_what_dense_ones_give(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(linear_by_rows, "PIECE", 3 * 64)  # three rows, which do not divide eight

    def body(x):
        given = {name: make() for name, make in LINEAR.items()}
        out = {
            f"out_{n}": mb.linear(x=mb.cast(x=x, dtype="fp16"), weight=w, name=f"l_{n}")
            for n, w in given.items()
        }
        shared = mb.add(x=given["int4"], y=np.float16(1))  # a weight that is used otherwise too
        return {name: mb.cast(x=var, dtype="fp32") for name, var in (out | {"shared": shared}).items()}

    path = build(tmp_path / "m.mlpackage", {"x": RANDOM.normal(size=(2, 64)).astype(np.float32)}, body)
    x = RANDOM.normal(size=(2, 64)).astype(np.float32)
    whole, apart = MilModel.load(path, mode), MilModel.load(path, mode, dense_bytes=0)
    assert whole.keeps_dense
    assert not apart.keeps_dense
    expected, answers = whole.predict({"x": x}), apart.predict({"x": x})
    # Dense in both: the one that is used otherwise too, and the one whose scales span rows.
    assert whole.constant_bytes - apart.constant_bytes == 3 * 4 * 8 * 64
    for name in expected:
        unit = (FP16_ULP if mode == "typed" else FP32_TOLERANCE) * np.abs(expected[name]).max()
        assert np.allclose(answers[name], expected[name], rtol=0, atol=unit), (
            name
        )  # sums of 64 in another order
