"""Packages: several functions, what they tell about themselves, and files that are damaged or hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.proto import Model_pb2
from mil_programs import FP32_TOLERANCE, build

from phantom_edge.errors import InputError
from phantom_edge.mil import MilModel, TensorType

WEIGHT = np.arange(48, dtype=np.float32).reshape(4, 12) / 64
X = np.arange(24, dtype=np.float32).reshape(2, 12) / 8


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """y = silu(x W^T), its weight in weight.bin."""
    path = tmp_path_factory.mktemp("good") / "m.mlpackage"
    return build(path, {"x": X}, lambda x: {"y": mb.silu(x=mb.linear(x=x, weight=WEIGHT))})


@pytest.fixture
def package(good, tmp_path) -> Path:
    """A copy of it to be spoiled."""
    return Path(shutil.copytree(good, tmp_path / "m.mlpackage"))


def _edit(package: Path, change: Any) -> None:
    path = package / "Data/com.apple.CoreML/model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())


def _operations(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def _operation(model: Any, kind: str) -> Any:
    return next(op for op in _operations(model) if op.type == kind)


def _set_model_path(package: Path, item: object) -> None:
    path = package / "Manifest.json"
    manifest = json.loads(path.read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = item
    path.write_text(json.dumps(manifest))


def _refused(package: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MilModel.load(package)
    assert "\n" not in str(caught.value)


def test_tells_what_it_is(good):
    model = MilModel.load(good)
    assert model.functions == ("main",)
    assert model.inputs() == {"x": TensorType("fp32", (2, 12))}
    assert model.outputs() == {"y": TensorType("fp32", (2, 4))}
    assert model.states() == {}
    assert model.op_counts()["linear"] == 1
    stored = [value for value in model.constants() if value.shape == (4, 12)]
    assert [value.op for value in stored] == ["const"]
    assert np.array_equal(stored[0].fields["val"], WEIGHT)
    product = X @ WEIGHT.T
    assert np.allclose(model.predict({"x": X})["y"], product / (1 + np.exp(-product)), rtol=FP32_TOLERANCE)


def test_functions_share_weights(tmp_path):
    first = build(tmp_path / "a.mlpackage", {"x": X}, lambda x: {"y": mb.linear(x=x, weight=WEIGHT)})
    second = build(tmp_path / "b.mlpackage", {"x": X[:1]}, lambda x: {"y": mb.linear(x=x, weight=WEIGHT)})
    both = ct.utils.MultiFunctionDescriptor()
    both.add_function(str(first), "main", "prefill")
    both.add_function(str(second), "main", "decode")
    both.default_function_name = "prefill"
    ct.utils.save_multifunction(both, str(tmp_path / "both.mlpackage"))
    model = MilModel.load(tmp_path / "both.mlpackage")
    assert model.functions == ("prefill", "decode")
    assert model.inputs("decode") == {"x": TensorType("fp32", (1, 12))}
    assert np.array_equal(model.predict({"x": X})["y"], X @ WEIGHT.T)
    assert np.array_equal(model.predict({"x": X[:1]}, function="decode")["y"], X[:1] @ WEIGHT.T)
    keys = {
        function: [c.key for c in model.constants(function) if c.shape == (4, 12)]
        for function in model.functions
    }
    assert keys["prefill"] == keys["decode"]
    with pytest.raises(InputError, match=r"no function 'encode'; there is decode, prefill"):
        model.predict({"x": X}, function="encode")


@pytest.mark.parametrize(
    "item", ["../outside.mlmodel", "/etc/hostname", "com.apple.CoreML/../../../outside.mlmodel"]
)
def test_refuses_a_model_outside_the_package(package, item):
    shutil.copy(package / "Data/com.apple.CoreML/model.mlmodel", package.parent / "outside.mlmodel")
    shutil.copy(package / "Data/com.apple.CoreML/model.mlmodel", package / "outside.mlmodel")
    _set_model_path(package, item)
    _refused(package, "leads outside the package")


def test_refuses_a_link_out_of_the_package(package):
    model = package / "Data/com.apple.CoreML/model.mlmodel"
    shutil.move(model, package.parent / "outside.mlmodel")
    model.symlink_to(package.parent / "outside.mlmodel")
    _refused(package, "leads outside the package")


@pytest.mark.parametrize(
    "name", ["@model_path/../../../secret.bin", "/etc/hostname", "@model_path//etc/hostname"]
)
def test_refuses_weights_outside_the_package(package, name):
    (package.parent / "secret.bin").write_bytes(bytes(256))

    def change(model):
        for op in _operations(model):
            if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue":
                op.attributes["val"].blobFileValue.fileName = name

    _edit(package, change)
    _refused(package, "leads outside the package|does not begin with @model_path/")


@pytest.mark.parametrize("keep", [0, 63, 100, 130])
def test_refuses_truncated_weights(package, keep):
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:keep])
    _refused(package, "too short|no blob can start|claims bytes")


def test_refuses_a_truncated_model(package):
    path = package / "Data/com.apple.CoreML/model.mlmodel"
    path.write_bytes(path.read_bytes()[:-7])
    _refused(package, "not a Core ML model, or a damaged one")


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": 3}}}']
)
def test_refuses_a_manifest_without_a_model(package, manifest):
    (package / "Manifest.json").write_text(manifest)
    _refused(package, "Manifest.json: ")


def test_refuses_what_is_no_package(tmp_path):
    _refused(tmp_path, "no Manifest.json")
    _refused(tmp_path / "missing", "no Manifest.json")


def test_refuses_what_is_no_program(package):
    _edit(package, lambda model: model.neuralNetwork.SetInParent())
    _refused(package, "neuralNetwork, not an ML Program")


def test_names_all_missing_ops_at_once(package):
    def change(model):
        _operation(model, "silu").type = "whirl"
        _operation(model, "linear").type = "lstm"

    _edit(package, change)
    _refused(package, "no implementation of lstm, whirl;")


def test_refuses_a_parameter_it_does_not_know(package):
    def change(model):
        silu = _operation(model, "silu")
        silu.inputs["alpha"].CopyFrom(silu.inputs["x"])

    _edit(package, change)
    _refused(package, "silu 'y' has parameters unknown alpha")


def test_refuses_an_undefined_name(package):
    def change(model):
        _operation(model, "silu").inputs["x"].arguments[0].name = "nobody"

    _edit(package, change)
    _refused(package, "uses 'nobody', which is not defined")


@pytest.mark.parametrize("size", [13, 2**40, 2**63])
def test_refuses_a_shape_that_the_weights_do_not_have(package, size):
    def change(model):
        for op in _operations(model):
            if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue":
                for value_type in (op.attributes["val"].type, op.outputs[0].type):
                    value_type.tensorType.dimensions[1].constant.size = size

    _edit(package, change)
    _refused(package, "not fp32|not a possible size")


def test_finds_a_result_of_another_shape_than_declared(package):
    def change(model):
        _operation(model, "silu").outputs[0].type.tensorType.dimensions[1].constant.size = 5

    _edit(package, change)
    with pytest.raises(InputError, match=r"silu 'y': it gives shape \[2, 4\], \[2, 5\] is declared"):
        MilModel.load(package).predict({"x": X})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes x; given none"),
        ({"x": X, "z": X}, "takes x; given x, z"),
        ({"x": X[:1]}, r"takes fp32 \[2, 12\], not shape \[1, 12\]"),
        ({"x": X[0]}, r"not shape \[12\]"),
        ({"x": X.astype(object)}, "not object"),
    ],
)
def test_refuses_inputs_that_do_not_fit(good, inputs, message):
    with pytest.raises(InputError, match=message):
        MilModel.load(good).predict(inputs)


def test_refuses_an_unknown_mode(good):
    with pytest.raises(InputError, match="'exact' is not one of lifted, typed"):
        MilModel.load(good, "exact")


def test_integers_are_taken_only_where_they_fit(tmp_path):
    path = build(
        tmp_path / "i.mlpackage", {"i": np.int32([1, 2])}, lambda i: {"y": mb.add(x=i, y=np.int32(1))}
    )
    model = MilModel.load(path)
    assert model.predict({"i": np.int64([5, 6])})["y"].tolist() == [6, 7]
    for wrong in (np.float32([1, 2]), np.int64([2**40, 0])):
        with pytest.raises(InputError, match="'i' takes int32"):
            model.predict({"i": wrong})


def test_an_index_out_of_range_is_an_error(tmp_path):
    path = build(
        tmp_path / "g.mlpackage", {"x": X, "i": np.int32([0])}, lambda x, i: {"y": mb.gather(x=x, indices=i)}
    )
    for place in (2, -1):
        with pytest.raises(InputError, match=f"gather .*: index {place} in a dimension of size 2"):
            MilModel.load(path).predict({"x": X, "i": np.int32([place])})
