"""What a Core ML package gives back beside its integers, and that no part of it can differ unseen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from coreml_models import write
from faults_coreml import change_numbers, put
from folded_models import Exports, quantized
from onnx_models import CHUNK, CONTEXT

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.coreml import NOT_STORED, artifact_files, differences, reference, stored_floats
from phantom_edge.export.coreml.package import MODEL
from phantom_edge.export.coreml.readback import mil_name
from phantom_edge.export.half_constants import alike
from phantom_edge.model.rope import static_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("compared"), write, "fp16")


@pytest.fixture(scope="module")
def qwen(tiny_dirs):
    """The checkpoint with biases in its qkv and a tied head."""
    return tiny_dirs["qwen2"]


class TestFloats:
    @pytest.mark.parametrize(
        ("family", "recipe", "fold"),
        [
            ("qwen2", "fp32", "exact"),
            ("qwen2", "int4", "exact"),
            ("internlm2", "fp16", "rank:8"),
            ("phi3", "int8", "off"),
        ],
    )
    def test_are_read_back_as_the_reference_has_them(self, exports, tiny_dirs, family, recipe, fold):
        model = quantized(tiny_dirs[family], recipe, fold)
        floats = stored_floats(exports(tiny_dirs[family], recipe, fold)[0])
        weights = {n: w for n, w in reference(model).weights.items() if isinstance(w, torch.Tensor)}
        names = {n for n in weights if not any(fnmatchcase(n, pattern) for pattern in NOT_STORED)}
        assert floats.keys() == names | {"rope.cos", "rope.sin"}
        for name in names:
            assert torch.equal(floats[name].float(), weights[name].float()), name
            assert floats.shape(name) == floats[name].shape == weights[name].shape, name
        d = model.config.decoder
        for name, table in zip(("cos", "sin"), static_tables(d.rope, d.head_dim, CONTEXT), strict=True):
            assert torch.equal(floats[f"rope.{name}"], table)

    @pytest.mark.parametrize("name", ["rope_cos", "text_decoder__layers__1__norm1__weight"])
    def test_a_constant_that_stands_twice_is_read_twice(self, exports, qwen, tmp_path, name):
        shutil.copytree(exports(qwen, "int4")[0], tmp_path, dirs_exist_ok=True)
        dtype = "<f4" if name == "rope_cos" else "<f2"
        change_numbers(tmp_path / "text_decoder.mlpackage", name, dtype, put(-1, 0.75))
        floats = stored_floats(tmp_path)
        with pytest.raises(InputError, match=f"{name} (is not one weight twice|does not rotate)"):
            floats[name.replace("rope_", "rope.").replace("__", ".")]


class TestDifferences:
    """A package beside the program that the exporter builds; see ``faults_coreml`` for what it must see."""

    @pytest.mark.parametrize(
        ("family", "recipe", "fold"),
        [
            ("qwen2", "int4", "exact"),
            ("qwen2", "fp32", "exact"),
            ("internlm2", "fp16", "rank:8"),
            ("phi3", "int8", "off"),
        ],
    )
    def test_an_export_differs_in_nothing_from_an_export(self, exports, tiny_dirs, family, recipe, fold):
        folder, model = (
            exports(tiny_dirs[family], recipe, fold)[0],
            quantized(tiny_dirs[family], recipe, fold),
        )
        assert differences(folder, model, options_of(model)) == []
        files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert artifact_files(folder) == files

    def test_another_context_chunk_and_weight_are_noticed(self, exports, qwen):
        folder, model = exports(qwen, "int4")[0], quantized(qwen, "int4")
        lines = differences(folder, model, replace(options_of(model), chunk=CHUNK + 1))
        assert "text_decoder: 'prefill': declared inputs, outputs or states" in lines
        assert "text_decoder: prefill: other inputs or states" in lines
        assert "token_embedding: the model's description" in lines
        lines = differences(folder, model, replace(options_of(model), context=CONTEXT - 1))
        assert "text_decoder: decode: other inputs or states" in lines
        name = "text_decoder.layers.1.phantom.key.scale"
        other = {n: w * 1.01 if n == name else w for n, w in model.weights.items()}
        assert differences(folder, replace(model, weights=other), options_of(model)) == [
            f"text_decoder: {function}: const '{mil_name(name)}': val"
            for function in ("decode", "main", "prefill")
        ]

    def test_last_bits_of_floats_may_differ_and_no_more(self):
        for dtype, bit, more in ((np.float16, 2.0**-10, 2.0**-9), (np.float32, 2.0**-23, 1e-5)):
            ones = np.ones(3, dtype)
            assert alike(ones, ones + dtype(bit))
            assert not alike(ones, ones + dtype(more))
            assert not alike(ones, np.full(3, np.nan, dtype))
        assert not alike(np.int8([1, 2]), np.int8([1, 3]))

    def test_a_damaged_package_is_refused(self, exports, qwen, tmp_path):
        shutil.copytree(exports(qwen, "int4")[0], tmp_path, dirs_exist_ok=True)
        model = quantized(qwen, "int4")
        path = tmp_path / "vision_encoder.mlpackage" / MODEL
        path.write_bytes(path.read_bytes()[:-7])
        with pytest.raises(InputError, match="not a Core ML model, or a damaged one"):
            differences(tmp_path, model, options_of(model))


def options_of(model) -> ExportOptions:
    return ExportOptions(CONTEXT, CHUNK, str(model.recipe.float_type), (2,))
