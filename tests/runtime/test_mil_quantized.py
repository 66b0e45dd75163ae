"""Compressed weights: stored integers bit for bit, and the tensors they stand for by coremltools' own arithmetic."""

from __future__ import annotations

from pathlib import Path

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_blockwise_shift_scale
from coremltools.optimize._utils import lut_to_dense
from mil_programs import FP32_TOLERANCE, build, convert

from phantom_edge.runtime.mil import MilModel

RANDOM = np.random.default_rng(5)
BOUNDS = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}
ONE = np.zeros((1, 1), np.float32)


def _integers(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    values = RANDOM.integers(*BOUNDS[kind], shape)
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(kind)))


def _weights(path: Path, make, target=ct.target.iOS18) -> Path:
    """A package that adds nothing to one compressed weight and gives it out; `make` builds the constexpr op."""
    return build(path, {"x": np.zeros(1, np.float32)}, lambda x: {"y": mb.add(x=mb.cast(x=make(), dtype="fp32"), y=x)},
                 target)


@pytest.mark.parametrize("with_offset", [False, True])
@pytest.mark.parametrize("scale_shape", [(8, 2), (8, 1), (1, 1), (4, 4)])
@pytest.mark.parametrize("kind", BOUNDS)
def test_blockwise_integers_are_exact(tmp_path, kind, scale_shape, with_offset):
    data, scale = _integers(kind, (8, 64)), RANDOM.uniform(0.01, 0.1, scale_shape).astype(np.float16)
    offset = _integers(kind, scale_shape) if with_offset else None
    extra = {"offset": offset} if with_offset else {}
    path = _weights(
        tmp_path / "m.mlpackage", lambda: mb.constexpr_blockwise_shift_scale(data=data, scale=scale, **extra)
    )
    model = MilModel.load(path, "typed")
    ((got_data, got_scale, got_offset),) = model.quantized_weights().values()
    assert got_data.dtype == (np.uint8 if kind.startswith("u") else np.int8)
    assert np.array_equal(got_data, data.astype(np.int16))
    assert got_scale.dtype == np.float16
    assert np.array_equal(got_scale, scale)
    assert np.array_equal(got_offset, offset.astype(np.int16)) if with_offset else got_offset is None
    signed = None if offset is None else offset.astype(np.float16)
    want = constexpr_blockwise_shift_scale.decompress(data, scale, signed)
    assert np.array_equal(model.predict({"x": np.zeros(1)})["y"], want.astype(np.float32))
    exact = MilModel.load(path, "lifted").predict({"x": np.zeros(1)})["y"]
    wide = constexpr_blockwise_shift_scale.decompress(data, scale.astype(np.float32), signed)
    assert np.array_equal(exact, wide)


def test_integers_of_coremltools_quantiser_survive_the_file(tmp_path):
    path = convert(torch.nn.Linear(64, 32), (torch.ones(2, 64),), tmp_path / "m.mlpackage", "fp16")
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=32, weight_threshold=0))
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


@pytest.mark.parametrize(("bits", "groups", "vector"), [(4, (1, 1), 1), (4, (2, 1), 1), (6, (1, 4), 1), (3, (2, 2), 1),
                                                        (2, (1, 2), 3), (1, (4, 1), 2), (8, (1, 1), 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_table_lookup_equals_coremltools(tmp_path, bits, groups, vector, axis):
    kind = types.nptype_from_builtin(types.string_to_builtin(f"uint{bits}"))
    indices = RANDOM.integers(0, 2**bits, (8, 12)).astype(kind)
    lut = RANDOM.normal(size=(*groups, 2**bits, vector)).astype(np.float16)
    extra = {"vector_axis": axis} if vector > 1 else {}
    path = _weights(tmp_path / "m.mlpackage", lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut, **extra))
    want = lut_to_dense(indices, lut, axis)
    assert np.array_equal(MilModel.load(path).predict({"x": np.zeros(1)})["y"], want.astype(np.float32))


def test_scaled_table_of_integers(tmp_path):
    """A palette of int8 scaled per channel: one constexpr op inside another."""
    kind = types.nptype_from_builtin(types.string_to_builtin("uint4"))
    indices, lut = RANDOM.integers(0, 16, (6, 8)).astype(kind), _integers("int8", (1, 1, 16, 1))
    scale = RANDOM.uniform(0.01, 0.1, (6, 1)).astype(np.float16)
    path = _weights(tmp_path / "m.mlpackage", lambda: mb.constexpr_blockwise_shift_scale(
        data=mb.constexpr_lut_to_dense(indices=indices, lut=lut), scale=scale))
    model = MilModel.load(path)
    ((data, _, _),) = model.quantized_weights().values()
    want = lut_to_dense(indices, lut)
    assert np.array_equal(data, want)
    assert np.array_equal(model.predict({"x": np.zeros(1)})["y"], (want.astype(np.float16) * scale).astype(np.float32))


def test_forms_of_ios16(tmp_path):
    """Up to iOS 17 the parameters are attributes, and a table's indices are packed by hand."""
    data, zero = _integers("int8", (6, 10)), _integers("int8", (6,))
    scale = RANDOM.uniform(0.01, 0.1, 6).astype(np.float32)
    indices, lut = RANDOM.integers(0, 4, 60).astype(np.uint8), RANDOM.normal(size=4).astype(np.float32)
    two_bits = np.unpackbits(indices[:, None], axis=1, bitorder="little")[:, :2]
    packed = np.packbits(two_bits.reshape(-1), bitorder="little")
    half = RANDOM.normal(size=(6, 10)).astype(np.float16)
    made = {
        "affine": lambda: mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=0),
        "lut": lambda: mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=np.uint32([6, 10])),
        "cast": lambda: mb.constexpr_cast(source_val=half, output_dtype="fp32"),
    }
    want = {
        "affine": scale[:, None] * (data.astype(np.float32) - zero.astype(np.float32)[:, None]),
        "lut": lut[indices].reshape(6, 10),
        "cast": half.astype(np.float32),
    }
    for name, make in made.items():
        model = MilModel.load(_weights(tmp_path / f"{name}.mlpackage", make, ct.target.iOS16))
        got = model.predict({"x": np.zeros(1)})["y"]
        assert np.allclose(got, want[name], rtol=FP32_TOLERANCE)
    weights = MilModel.load(tmp_path / "affine.mlpackage").quantized_weights()
    ((got_data, got_scale, got_zero),) = weights.values()
    assert np.array_equal(got_data, data)
    assert np.array_equal(got_scale, scale)
    assert np.array_equal(got_zero, zero)
