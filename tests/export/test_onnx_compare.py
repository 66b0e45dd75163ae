"""What an ONNX artifact gives back beside its integers, and that no part of it can differ unseen."""

from __future__ import annotations

import random
import shutil
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from folded_models import Exports, quantized
from onnx import TensorProto, helper
from onnx_models import CHUNK, CONTEXT, write

from phantom_edge.errors import InputError
from phantom_edge.export import onnx as cpu
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx import webgpu
from phantom_edge.export.onnx_layout import find
from phantom_edge.model.rope import static_tables
from phantom_edge.model.weights import dense
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.quantize.kv import KVScales

OPTIONS = ExportOptions(CONTEXT, CHUNK, "fp32", (2,))
SHARED = ExportOptions(CONTEXT, CHUNK, "fp32", (2,), share_data=True)
HALF = ExportOptions(CONTEXT, CHUNK, "fp16", (2,))
# The package that writes, its options, and the recipe.
KINDS = {
    "fp32": (cpu, OPTIONS, "fp32"),
    "fp16": (cpu, SHARED, "fp16"),
    "int8": (cpu, OPTIONS, "int8"),
    "int4": (cpu, SHARED, "int4"),
    "webgpu int8": (webgpu, OPTIONS, "int8"),
    "webgpu int4": (webgpu, HALF, "int4"),
}


@pytest.fixture(scope="module")
def made(tiny_dirs, tmp_path_factory):
    """A function that gives the folder, the model and the options of one kind, exported once."""
    exports = {
        kind: Exports(tmp_path_factory.mktemp("compared"), partial(_export, package, options))
        for kind, (package, options, _) in KINDS.items()
    }

    def get(kind, family="qwen2", fold="exact"):
        package, options, recipe = KINDS[kind]
        folder, _ = exports[kind](tiny_dirs[family], recipe, fold)
        return package, folder, quantized(tiny_dirs[family], recipe, fold), options

    return get


def _export(package, options, model, out):
    return package.export(model, options, out, lambda _: None)


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the int4 artifact to damage, and a function that says how it differs."""
    package, folder, model, options = made("int4")
    work = shutil.copytree(folder, tmp_path / "work")
    return work, lambda: package.differences(work, model, options)


def edit(folder, change, graph="text_decoder"):
    path = find(folder, graph)
    model = onnx.load(path, load_external_data=False)
    change(model)
    onnx.save_model(model, path)


class TestWhatIsRight:
    @pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_floats_are_the_models_bit_for_bit(self, made, kind, family):
        package, folder, model, options = made(kind, family)
        stored, weights = package.stored_floats(folder), model.weights
        floats = {name for name in weights if not isinstance(weights[name], QuantizedTensor)}
        assert set(stored) == {*floats, "rope.cos", "rope.sin"}
        for name in floats:
            assert stored.shape(name) == tuple(weights[name].shape), name
            assert torch.equal(stored[name].float(), dense(weights[name])), name
        d = model.config.decoder
        for name, table in zip(
            ("rope.cos", "rope.sin"), static_tables(d.rope, d.head_dim, options.context), strict=True
        ):
            assert torch.equal(stored[name], table)

    @pytest.mark.parametrize("fold", ["exact", "rank:8"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_differs_and_every_file_is_known(self, made, kind, fold):
        package, folder, model, options = made(kind, "qwen2", fold)
        assert package.differences(folder, model, options) == []
        derived = package.derived_files(model, options, folder)
        for name, content in derived.items():
            assert (folder / name).read_bytes() == content, name
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert files == package.artifact_files(folder) | set(derived)
        assert not package.artifact_files(folder) & set(derived)

    def test_an_int8_cache_has_no_files_for_others(self, tiny_dirs, tmp_path):
        model = quantized(tiny_dirs["qwen2"], "fp32")
        d = model.config.decoder
        ones = tuple(torch.ones(d.kv_heads, model.spec.width(n)) for n in range(d.layers))
        model = model.with_kv(KVScales(ones, ones))
        write(model, tmp_path)
        assert cpu.differences(tmp_path, model, OPTIONS) == []
        assert cpu.derived_files(model, OPTIONS, tmp_path) == {}
        edit(tmp_path, lambda m: _attribute(m, "GroupQueryAttention", "v_quant_type", "PER_TENSOR"))
        (line,) = cpu.differences(tmp_path, model, OPTIONS)
        assert line.startswith("text_decoder: node GroupQueryAttention_")
        assert line.endswith(": v_quant_type")

    def test_small_graphs_follow_the_graphs_that_are_there(self, copy, made):
        work, _ = copy
        package, folder, model, options = made("int4")
        edit(work, lambda m: setattr(m, "doc_string", "another"), "vision_encoder")
        before, after = (package.derived_files(model, options, at) for at in (folder, work))
        assert {name for name in before if before[name] != after[name]} == {"onnx/genai_vision.onnx"}


def _attribute(model, op, name, value):
    node = next(node for node in model.graph.node if node.op_type == op)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _without_attribute(model):
    node = next(node for node in model.graph.node if node.op_type == "MatMulNBits")
    node.attribute.remove(next(a for a in node.attribute if a.name == "accuracy_level"))


def _other_input(model):
    node = next(node for node in model.graph.node if node.op_type == "RotaryEmbedding")
    node.input[2], node.input[3] = node.input[3], node.input[2]


def _without_node(model):
    model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "Softmax"))


def _other_constant(model):
    (tensor,) = (t for t in model.graph.initializer if t.name == "ints_-1")
    tensor.raw_data = np.array([-2], dtype=np.int64).tobytes()


def _further_constant(model):
    model.graph.initializer.append(helper.make_tensor("more", TensorProto.FLOAT, [1], [0.0]))


def _other_shape(model):
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "sequence_length"


def _other_type(model):
    next(t for t in model.graph.initializer if t.name == "rope.cos").data_type = TensorProto.INT32


CHANGES = {
    "text_decoder: node MatMulNBits_7: block_size": partial(
        _attribute, op="MatMulNBits", name="block_size", value=64
    ),
    "text_decoder: node MatMulNBits_7: accuracy_level": _without_attribute,
    "text_decoder: node Cast_2: to": partial(_attribute, op="Cast", name="to", value=TensorProto.INT64),
    "text_decoder: node RotaryEmbedding_11: input": _other_input,
    "text_decoder: node 18 is MatMul_21, not Softmax_20": _without_node,
    "text_decoder: constant ints_-1: raw_data": _other_constant,
    "text_decoder: constant rope.cos: data_type": _other_type,
    "is more, not there": _further_constant,
    "text_decoder: output logits: type": _other_shape,
    "text_decoder: model: opset_import": lambda m: setattr(m.opset_import[0], "version", 18),
    "text_decoder: model: metadata_props": lambda m: m.metadata_props.add(key="a", value="b"),
    "text_decoder: model: producer_name": lambda m: setattr(m, "producer_name", "other"),
    "text_decoder: graph: value_info": lambda m: m.graph.value_info.add(name="x"),
}


class TestWhatDiffers:
    @pytest.mark.parametrize("line", CHANGES)
    def test_it_is_named(self, copy, line):
        work, differences = copy
        edit(work, CHANGES[line])
        assert any(line in other for other in differences()), differences()

    def test_a_matrix_that_lies_the_other_way_is_another(self, made, tmp_path):
        """Of a square one only the operation that reads it tells the layout."""
        package, folder, model, _ = made("fp32")
        work = shutil.copytree(folder, tmp_path / "work")
        name = "text_decoder.layers.0.o.weight"
        assert model.weights[name].shape[0] == model.weights[name].shape[1]

        def turn(proto):
            node = next(node for node in proto.graph.node if name in node.input)
            node.op_type = "Mul"

        edit(work, turn)
        assert torch.equal(package.stored_floats(work)[name], model.weights[name].T)

    def test_data_in_another_graphs_file(self, made):
        """A browser does not fetch it; where graphs share their data, an earlier one's is right."""
        package, folder, model, _ = made("int4")
        lines = package.differences(folder, model, OPTIONS)
        assert (
            "text_decoder: constant text_decoder.head.weight.values lies in embed_tokens_q4.onnx_data"
            in lines
        )

    def test_another_context_end_or_model(self, made):
        package, folder, model, _ = made("int4")
        other = ExportOptions(CONTEXT - 1, CHUNK, "fp32", (2,), share_data=True)
        assert set(package.differences(folder, model, other)) == {
            "text_decoder: constant rope.cos: dims",
            "text_decoder: constant rope.sin: dims",
        }
        ends = ExportOptions(CONTEXT, CHUNK, "fp32", (2, 5), share_data=True)
        files = package.derived_files(model, ends, folder)
        assert {name for name in files if (folder / name).read_bytes() != files[name]} == {
            "genai_config.json",
            "generation_config.json",
        }


class TestDamage:
    def test_a_graph_without_its_output_cannot_be_made_smaller(self, copy, made):
        work, _ = copy
        package, _, model, options = made("int4")
        edit(work, lambda m: setattr(m.graph.output[0], "name", "other"), "vision_encoder")
        with pytest.raises(InputError, match="no output image_features"):
            package.derived_files(model, options, work)

    def test_a_name_that_is_no_text(self, copy):
        work, _ = copy
        path = find(work, "text_decoder")
        path.write_bytes(path.read_bytes().replace(b"text_decoder.layers.0.norm1", b"\xff" * 27))
        for read in (cpu.stored_weights, cpu.stored_floats):
            with pytest.raises(InputError, match=path.name):
                read(work)

    def test_a_place_that_is_described_otherwise(self, copy, made):
        work, _ = copy

        def rename(model):
            tensor = next(t for t in model.graph.initializer if t.name == "rope.cos")
            next(e for e in tensor.external_data if e.key == "offset").key = "offsets"

        edit(work, rename)
        with pytest.raises(InputError, match="described otherwise"):
            made("int4")[0].stored_floats(work)["rope.cos"]

    @pytest.mark.parametrize("seed", range(4))
    def test_whatever_is_changed_is_seen_or_refused(self, copy, made, seed):
        """Bytes of the graphs flipped, cut, doubled: differences, other numbers, or one line."""
        work, _ = copy
        package, _, model, options = made("int4")
        chance, unseen = random.Random(seed), []
        for _ in range(25):
            path = chance.choice([find(work, name) for name in ("vision_encoder", "text_decoder")])
            whole = path.read_bytes()
            place, kind = chance.randrange(len(whole)), chance.choice(("flip", "cut", "double"))
            rest = {"flip": bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]}
            rest |= {"cut": b"", "double": whole[place : place + 9] + whole[place:]}
            path.write_bytes(whole[:place] + rest[kind])
            if not _is_seen(package, work, model, options):
                unseen.append((path.name, kind, place))
            path.write_bytes(whole)
        assert unseen == []


def _is_seen(package, folder, model, options) -> bool:
    try:
        if package.differences(folder, model, options):
            return True
        floats, integers = package.stored_floats(folder), package.stored_weights(folder)
        return not all(
            _same(integers[name.removesuffix(".weight")], weight)
            if isinstance(weight, QuantizedTensor)
            else torch.equal(floats[name].float(), dense(weight))
            for name, weight in model.weights.items()
        ) or any(
            not torch.equal(floats[name], table)
            for name, table in zip(("rope.cos", "rope.sin"), _tables(model, options), strict=True)
        )
    except InputError as error:
        return "\n" not in str(error)


def _tables(model, options):
    d = model.config.decoder
    return static_tables(d.rope, d.head_dim, options.context)


def _same(a: QuantizedTensor, b: QuantizedTensor) -> bool:
    return a.shape == b.shape and torch.equal(a.values, b.values) and torch.equal(a.scales, b.scales)
