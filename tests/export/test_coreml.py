"""What the exporter writes: interfaces, counts, integers bit for bit, constants that float16 can hold."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from coreml_models import write
from folded_models import Exports, folded, integers, quantized
from onnx_models import CHUNK, CONTEXT

from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.base import GRAPHS, ExportOptions
from phantom_edge.export.coreml import activation_grid, export, reference, stored_weights
from phantom_edge.export.coreml.toolkit import coremltools
from phantom_edge.export.half_constants import FloatConstants, factors
from phantom_edge.mil import MilModel
from phantom_edge.model.spec import ETA
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles

pytestmark = pytest.mark.slow

NORMAL = 2.0**-14  # float16's smallest normal number: hardware may take anything below for zero
FP16 = 2.0**-11  # half a unit in float16's last place, relative
RECIPES = {
    "int8": ("int8", ()),
    "int4": ("int4", ()),
    "int4 of other groups": (
        "int4",
        ("text_decoder.layers.*.down=int8", "text_decoder.layers.*.qkv=int4:64"),
    ),
    "int4 embedding and head": ("fp32", ("token_embedding=int4", "text_decoder.head=int4")),
}
FLOAT16, FLOAT32, INT32 = 65552, 65568, 131104  # ArrayFeatureType.ArrayDataType


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("coreml"), write, "fp16")


@pytest.fixture(scope="module")
def qwen(tiny_dirs):
    """The checkpoint with biases in its qkv and a tied head."""
    return tiny_dirs["qwen2"]


def spec_of(folder, graph: str):
    return coremltools().utils.load_spec(str(folder / f"{graph}.mlpackage"))


def weight_bytes(folder, graph: str) -> bytes:
    return (folder / f"{graph}.mlpackage/Data/com.apple.CoreML/weights/weight.bin").read_bytes()


class TestInterface:
    @pytest.mark.parametrize(("recipe", "float_type"), [("fp16", FLOAT16), ("fp32", FLOAT32)])
    def test_inputs_outputs_and_states(self, exports, qwen, recipe, float_type):
        model = folded(qwen)
        d, size = model.config.decoder, model.config.tile_size
        descriptions = {graph: spec_of(exports(qwen, recipe)[0], graph).description for graph in GRAPHS}
        functions = {entry.name: entry for entry in descriptions["text_decoder"].functions}
        assert descriptions["text_decoder"].defaultFunctionName == "main"
        descriptions["text_decoder"] = functions["main"]
        found = {
            graph: (
                {v.name: _array(v.type.multiArrayType) for v in entry.input},
                [v.name for v in entry.output],
            )
            for graph, entry in descriptions.items()
        }
        assert found == {
            "vision_encoder": (
                {"pixel_values": (float_type, [(1, 1), (3, 3), (size, size), (size, size)])},
                ["image_features"],
            ),
            "token_embedding": ({"input_ids": (INT32, [(1, 1), (1, CHUNK)])}, ["inputs_embeds"]),
            "text_decoder": (
                {
                    "inputs_embeds": (float_type, [(1, 1), (1, CHUNK), (d.hidden_size, d.hidden_size)]),
                    "position_ids": (INT32, [(1, CHUNK)]),
                },
                ["logits"],
            ),
        }
        wanted = {
            f"{kind}_cache_{n}": (FLOAT16, (1, d.kv_heads, CONTEXT, model.spec.width(n)))
            for n in range(d.layers)
            for kind in ("key", "value")
        }
        for entry in functions.values():
            states = {v.name: v.type.stateType.arrayType for v in entry.state}
            assert {name: (s.dataType, tuple(s.shape)) for name, s in states.items()} == wanted
        for name, steps in (("prefill", CHUNK), ("decode", 1)):
            fixed = {v.name: _array(v.type.multiArrayType)[1] for v in functions[name].input}
            assert fixed == {
                "inputs_embeds": [(1, 1), (steps, steps), (d.hidden_size, d.hidden_size)],
                "position_ids": [(steps, steps)],
            }

    def test_targets_ios_18_and_says_what_it_is(self, exports, qwen):
        spec = spec_of(exports(qwen)[0], "text_decoder")
        assert spec.specificationVersion == 9
        assert "logits" in spec.description.metadata.shortDescription

    def test_no_activation_is_rounded_to_integers(self, exports, qwen):
        assert {activation_grid(w) for w in integers(quantized(qwen, "int4")).values()} == {
            ActivationGrid.NONE
        }


def _array(array) -> tuple[int, list[tuple[int, int]]]:
    ranges = [(r.lowerBound, r.upperBound) for r in array.shapeRange.sizeRanges]
    return array.dataType, ranges or [(size, size) for size in array.shape]


class TestFunctions:
    """The decoder's functions of a fixed length, beside ``main``."""

    def test_a_filled_up_prefill_and_single_steps_give_the_same_as_main(self, exports, qwen):
        decoder = MilModel.load(exports(qwen, "fp32")[0] / "text_decoder.mlpackage", mode="lifted")
        hidden = decoder.inputs()["inputs_embeds"].shape[-1]
        embeds = np.random.default_rng(0).normal(0, 0.5, (1, CONTEXT, hidden)).astype(np.float32)
        expected, found = decoder.make_state(), decoder.make_state()
        # A call whose repetitions leave something behind, others that write over it, and a whole chunk.
        calls = ((0, 20, "prefill"), (20, 1, "decode"), (21, 9, "prefill"), (30, CHUNK, "prefill"))
        for start, count, function in calls:
            end = start + count
            wanted = run(decoder, embeds[:, start:end], range(start, end), expected, "main")
            rows = [
                *range(start, end),
                *[end - 1] * (decoder.inputs(function)["position_ids"].shape[0] - count),
            ]
            logits = run(decoder, embeds[:, rows], rows, found, function)
            np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5)
        last = [run(decoder, embeds[:, -1:], [30 + CHUNK], state, "decode") for state in (expected, found)]
        np.testing.assert_allclose(*last, rtol=0, atol=1e-5)
        assert np.abs(last[0] - wanted).max() > 1e-2

    def test_weights_are_stored_once(self, exports, qwen):
        folder = exports(qwen, "int8")[0]
        decoder = MilModel.load(folder / "text_decoder.mlpackage")
        assert decoder.functions[0] == "main"
        assert set(decoder.functions) == {"main", "prefill", "decode"}
        stored = sum(data.size + scale.nbytes for data, scale, _ in decoder.quantized_weights().values())
        assert stored < len(weight_bytes(folder, "text_decoder")) < 1.5 * stored

    @pytest.mark.parametrize("recipe", ["int4", "int8", "fp16"])
    def test_matrices_that_stay_in_the_file_answer_the_same(self, exports, qwen, recipe):
        """What an interpreted 7B does; no matrix of ours is of a form that has to be made whole."""
        path = exports(qwen, recipe)[0] / "text_decoder.mlpackage"
        whole, apart = MilModel.load(path, mode="lifted"), MilModel.load(path, mode="lifted", dense_bytes=0)
        hidden = whole.inputs()["inputs_embeds"].shape[-1]
        embeds = np.random.default_rng(0).normal(0, 0.5, (1, 9, hidden)).astype(np.float32)
        states = {model: model.make_state() for model in (whole, apart)}
        for rows, function in ((range(9), "main"), ([9], "decode")):
            expected, answer = (
                run(m, embeds[:, : len(rows)], rows, states[m], function) for m in (whole, apart)
            )
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)
        assert apart.constant_bytes < 0.2 * whole.constant_bytes

    def test_functions_that_store_their_own_are_refused(self, qwen, tmp_path, monkeypatch):
        from phantom_edge.export.coreml import programs

        monkeypatch.setattr(
            programs.MilOps, "array", lambda self, array, name, key: programs.mb.const(val=array, name=name)
        )
        with pytest.raises(CheckError, match="function decode is not main at another length"):
            write(quantized(qwen, "fp16"), tmp_path)


def run(decoder: MilModel, embeds: np.ndarray, positions, state, function: str) -> np.ndarray:
    inputs = {"inputs_embeds": embeds, "position_ids": np.array(list(positions), dtype=np.int32)}
    return decoder.predict(inputs, state, function)["logits"]


class TestCounts:
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_one_attention_per_layer_and_every_integer_weight(self, exports, qwen, recipe):
        name, overrides = RECIPES[recipe]
        counts = exports(qwen, name, overrides=overrides)[1].counts
        model = quantized(qwen, name, overrides=overrides)
        assert counts["vision_encoder"]["scaled_dot_product_attention"] == model.config.vision.layers
        assert counts["text_decoder"]["scaled_dot_product_attention"] == model.config.decoder.layers
        for bits in (4, 8):
            expected = sum(w.bits == bits for w in integers(model).values())
            assert sum(c.get(f"int{bits} weight", 0) for c in counts.values()) == expected

    def test_an_attention_that_is_not_fused_is_noticed(self, qwen, tmp_path, monkeypatch):
        from phantom_edge.export.coreml import ops

        def unfused(self, q, k, v):
            q, k, v = (ops.mb.transpose(x=x, perm=[0, 2, 1, 3]) for x in (q, k, v))
            scores = ops.mb.matmul(x=q, y=k, transpose_y=True)
            return ops.mb.transpose(x=ops.mb.matmul(x=ops.mb.softmax(x=scores), y=v), perm=[0, 2, 1, 3])

        monkeypatch.setattr(ops.MilOps, "full_attention", unfused)
        with pytest.raises(CheckError, match=r"vision_encoder: .*scaled_dot_product_attention 0"):
            write(quantized(qwen, "fp16"), tmp_path)

    def test_int4_that_is_stored_as_int8_is_noticed(self, qwen, tmp_path, monkeypatch):
        from phantom_edge.export.coreml import ops

        monkeypatch.setattr(ops.types, "np_int4_dtype", np.dtype(np.int8))
        with pytest.raises(CheckError, match=r"text_decoder: .*int4 weight 0"):
            write(quantized(qwen, "int4"), tmp_path)

    def test_a_weight_that_no_graph_uses_is_noticed(self, qwen, tmp_path):
        model = quantized(qwen, "fp16")
        with pytest.raises(CheckError, match=r"no graph used: text_decoder\.extra"):
            write(replace(model, weights={**model.weights, "text_decoder.extra": torch.ones(2)}), tmp_path)


class TestIntegers:
    @pytest.mark.parametrize(
        ("family", "recipe"), [*(("qwen2", recipe) for recipe in RECIPES), ("internlm2", "int4")]
    )
    def test_are_read_back_bit_for_bit(self, exports, tiny_dirs, family, recipe):
        name, overrides = RECIPES[recipe]
        path = tiny_dirs[family]
        expected = integers(quantized(path, name, overrides=overrides))
        found = stored_weights(exports(path, name, overrides=overrides)[0])
        assert found.keys() == expected.keys()
        for module, weight in expected.items():
            assert (found[module].bits, found[module].group) == (weight.bits, weight.group), module
            assert torch.equal(found[module].values, weight.values), module
            assert torch.equal(found[module].scales, weight.scales), module

    def test_lie_in_the_file_as_nibbles_and_bytes(self, exports, qwen):
        stored = weight_bytes(exports(qwen, "int4")[0], "text_decoder")
        weights = {n: w for n, w in integers(quantized(qwen, "int4")).items() if n.startswith("text_decoder")}
        assert {w.bits for w in weights.values()} == {4, 8}
        for name, weight in weights.items():
            values = pack_nibbles(weight.values) if weight.bits == 4 else weight.values
            assert values.numpy().tobytes() in stored, name
            assert weight.scales.numpy().astype(np.float16).tobytes() in stored, name

    def test_file_is_as_small_as_its_integers(self, exports, qwen):
        model = quantized(qwen, "int4")
        decoder = {n: w for n, w in model.weights.items() if n.startswith("text_decoder")}
        floats = sum(2 * w.numel() for w in decoder.values() if not isinstance(w, QuantizedTensor))
        whole = sum(w.nbytes for w in decoder.values() if isinstance(w, QuantizedTensor))
        d = model.config.decoder
        tables = 2 * 4 * CONTEXT * d.head_dim
        # coremltools gives every linear a bias, RMSNorm's weight stands twice, and blobs are aligned to 64
        # bytes.
        zeros = 2 * sum(w.shape[0] for w in decoder.values() if isinstance(w, QuantizedTensor))
        allowed = whole + 2 * floats + tables + zeros + 128 * 3 * len(decoder)
        assert whole < len(weight_bytes(exports(qwen, "int4")[0], "text_decoder")) < allowed


class TestConstants:
    @pytest.mark.parametrize("fold", ["exact", "rank:8"])
    @pytest.mark.parametrize(
        "size", [1.0, 1e-3, 2e-4]
    )  # of the phantom's output; 2e-4 as if it were not amplified
    def test_the_phantoms_factors_are_normal_float16_numbers(self, qwen, fold, size):
        """eta^2 = 1e-8 would be zero in float16; the products of the two sides stay what they are."""
        model, part = weak(folded(qwen, fold), size), "scale" if fold == "exact" else "basis"
        constants = FloatConstants(model.spec, model.weights, "fp16")
        at = "text_decoder.layers.0"
        sides = {kind: stored(constants, f"{at}.phantom.{kind}.{part}") for kind in ("query", "key", "value")}
        sides["gate"] = stored(constants, f"{at}.gate.{part}")
        for kind, (tensor, after) in sides.items():
            assert tensor.abs().max() >= NORMAL, kind
            assert after >= NORMAL, kind
            # A basis has small entries too; what is below normal carries next to nothing of it.
            assert tensor[tensor.abs() < NORMAL].float().norm() < 1e-2 * tensor.float().norm(), kind
        for pair, product in ((("query", "key"), ETA**2), (("value", "gate"), ETA)):
            (a, a_after), (b, b_after) = (sides[kind] for kind in pair)
            # Both are multiples of one scalar 1, or of one basis whose rows are orthonormal: |B|^2 = rank.
            ours = a.double().norm() * b.double().norm() * a_after * b_after / min(a.shape)
            assert ours.item() == pytest.approx(product, rel=2e-3)

    def test_the_gate_sees_the_same_z(self, qwen):
        """What the value side loses in powers of two, the gate's weight over z gains."""
        model = weak(folded(qwen), 2e-4)
        constants, at = FloatConstants(model.spec, model.weights, "fp16"), "text_decoder.layers.0"
        d = model.config.decoder.head_dim
        names = f"{at}.phantom.value.scale", f"{at}.gate.weight"
        value, gate = (stored(constants, name)[0] for name in names)
        assert value != model.weights[names[0]]
        expected = model.weights[names[0]].double() * model.weights[names[1]][:, d:].double()
        product = value.double() * gate[:, d:].double()
        assert torch.allclose(product, expected, rtol=2 * FP16, atol=1e-4 * expected.abs().max().item())
        assert torch.equal(gate[:, :d], model.weights[f"{at}.gate.weight"][:, :d].half())

    def test_reference_is_the_model_rounded_once(self, qwen):
        model = quantized(qwen, "int4")
        held = reference(model)
        for name, weight in model.weights.items():
            if isinstance(weight, QuantizedTensor):
                assert held.weights[name] is weight
            else:
                assert torch.allclose(held.weights[name].float(), weight.float(), rtol=FP16, atol=2.0**-25), (
                    name
                )

    def test_reference_in_fp32_is_the_model(self, qwen):
        model = quantized(qwen, "fp32")
        assert all(torch.equal(w, model.weights[n]) for n, w in reference(model).weights.items())

    def test_a_constant_beyond_float16_is_refused_by_name(self, qwen, tmp_path):
        name = "text_decoder.layers.1.phantom.key.mix"
        model = quantized(qwen, "fp16")
        model = replace(model, weights={**model.weights, name: model.weights[name] * 1e4})
        with pytest.raises(InputError, match=f"{name}: holds a value that float16 cannot"):
            write(model, tmp_path)

    @pytest.mark.parametrize("target", [2**0.5, 1.25**0.5, 1.0001, 1.5, 2.0])
    def test_factors_make_up_their_product(self, target):
        pair = factors(target)
        assert all(float(np.float16(f)) == f for f in pair)
        assert pair[0] * pair[1] == pytest.approx(target, rel=3e-6)


def weak(model, size: float):
    """``model`` with y ``size`` times smaller, and the powers of two that the fold then chooses."""
    step = 2.0 ** round(np.log2(size))
    factor = {"key": 1 / step, "query": step, "value": 1 / step, "gate": step}
    weights = dict(model.weights)
    for name, weight in model.weights.items():
        kind = next((k for k in factor if f".{k}." in name and name.endswith((".scale", ".basis"))), None)
        if kind:
            weights[name] = weight * factor[kind]
        if name.endswith(".gate.weight"):
            d = model.config.decoder.head_dim
            weights[name] = torch.cat([weight[:, :d], weight[:, d:] * step], dim=-1)
    return replace(model, weights=weights)


def stored(constants: FloatConstants, name: str) -> tuple[torch.Tensor, float]:
    return constants.stored(name), constants.scaling(name).after


class TestRmsNorm:
    @pytest.mark.parametrize("size", [1.0, 1e3, 6e4])
    def test_holds_where_squares_leave_float16(self, qwen, tmp_path, size):
        """Run from the saved file, all results rounded to float16; plain squares are infinite from 256 on."""
        from phantom_edge.export.coreml import ops
        from phantom_edge.export.coreml.package import write_package
        from phantom_edge.export.coreml.programs import BuiltProgram, _program
        from phantom_edge.mil import MilModel

        model, name = quantized(qwen, "fp16"), "text_decoder.layers.0.norm1"
        mil = ops.MilOps(model.spec, model.weights, "fp16")
        width = model.config.decoder.hidden_size
        x = torch.randn(1, 5, width, generator=torch.Generator().manual_seed(0))
        x = (x / x.abs().max() * size).half()
        assert torch.isfinite(x * x).all() == (size < 256)
        inputs = {"x": ops.mb.placeholder(shape=(1, 5, width), dtype=ops.types.fp16)}
        program = _program(inputs, lambda x: mil.rms_norm(x, name, 1e-6), "y")
        path = write_package(BuiltProgram(program, [], set()), "text_decoder", tmp_path)
        answer = MilModel.load(path, mode="typed").predict({"x": x.numpy()})["y"]
        weight = model.weights[f"{name}.weight"].half()
        expected = torch.nn.functional.rms_norm(x.double(), (width,), weight.double(), 1e-6)
        assert torch.allclose(torch.from_numpy(answer).double(), expected, rtol=2 * FP16, atol=1e-6)


class TestFiles:
    def test_an_export_leaves_its_packages_and_nothing_else(self, qwen, tmp_path, monkeypatch):
        temporary, out = tmp_path / "tmp", tmp_path / "out"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        model = quantized(qwen, "fp16")
        for _ in range(2):  # the second replaces the first
            exported = write(model, out)
        assert sorted(p.name for p in out.iterdir()) == sorted(f"{graph}.mlpackage" for graph in GRAPHS)
        assert {out / path for path in exported.files.values()} == set(out.iterdir())
        assert not list(temporary.iterdir())

    def test_the_same_model_gives_the_same_program_and_weights(self, exports, qwen, tmp_path):
        write(quantized(qwen, "fp16"), tmp_path)
        for graph in GRAPHS:
            assert weight_bytes(exports(qwen)[0], graph) == weight_bytes(tmp_path, graph)
            # Field by field: the byte order of a protobuf map is not fixed.
            assert spec_of(exports(qwen)[0], graph) == spec_of(tmp_path, graph)

    def test_a_context_beyond_the_rotary_tables_is_refused(self, qwen, tmp_path):
        limit = folded(qwen).config.decoder.rope.original_context
        with pytest.raises(InputError, match=f"--context {limit + 1}"):
            export(
                quantized(qwen, "fp16"), ExportOptions(limit + 1, 64, "fp16", (2,)), tmp_path, lambda _: None
            )

    def test_notes_name_the_deviations(self, exports, qwen):
        notes = {recipe: " ".join(exports(qwen, recipe)[1].notes) for recipe in ("fp16", "fp32")}
        assert all("layer_norm" in n and "-1e4" in n for n in notes.values())
        assert "powers of two" in notes["fp16"]
        assert "cache is float16" in notes["fp32"]

    def test_importing_coremltools_imports_nothing_to_convert_from(self):
        """What a process has imported by itself stays, and what it imports later is all there."""
        code = """
import sys
from phantom_edge.export.coreml.toolkit import OTHER_TOOLS, coremltools
coremltools()
assert not set(OTHER_TOOLS) & set(sys.modules)
import sklearn
assert sklearn.__version__
"""
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=600)

    def test_importing_is_light_and_using_it_is_silent(self, exports, qwen):
        """A user sees none of coremltools' import-time warnings, and --help does not wait for it."""
        code = f"""
import sys
from pathlib import Path
from phantom_edge.export.coreml import stored_weights
from phantom_edge.runtime.coreml_backend import CoremlBackend
assert "coremltools" not in sys.modules
CoremlBackend(Path({str(exports(qwen)[0])!r}), context=8, chunk=8)
import phantom_edge.export.coreml.programs
assert "coremltools" in sys.modules
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
