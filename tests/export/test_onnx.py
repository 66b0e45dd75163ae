"""What the exporter writes: names, counts, integers bit for bit, each quantised operation in place, what it
reads.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from folded_models import Exports, folded, integers, quantized, random_ids
from onnx_models import embed, tile, write

from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.base import GRAPHS, ExportOptions, require_counts
from phantom_edge.export.onnx import activation_grid, export, packing, reference, stored_cache, stored_weights
from phantom_edge.export.onnx.checks import count_ops, expected_counts
from phantom_edge.export.onnx_layout import find
from phantom_edge.model.weights import shape_of
from phantom_edge.numbers.activations import fake_quantize
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.quantize.kv import KVScales
from phantom_edge.runtime.onnx_backend import OnnxBackend
from phantom_edge.runtime.torch_backend import TorchBackend

# One integer product against fp32 torch on the same grid: only the order of fp32 sums differs.
PRODUCT_TOLERANCE = 1e-5
# Every quantised operation that the exporter has, in one model each.
RECIPES = {
    "int8": ("int8", ()),
    "int4": ("int4", ()),
    "int4 of other groups": (
        "int4",
        ("text_decoder.layers.*.down=int8", "text_decoder.layers.*.qkv=int4:64"),
    ),
    "int4 embedding and head": ("fp16", ("token_embedding=int4", "text_decoder.head=int4")),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("onnx"), write)


@pytest.fixture(scope="module")
def qwen(checkpoint_dirs):
    """The checkpoint with biases in its qkv."""
    return next(iter(checkpoint_dirs.values()))


class TestGraphs:
    def test_inputs_and_outputs_have_the_names_that_other_runtimes_expect(self, exports, qwen):
        folder, exported = exports(qwen)
        model = folded(qwen)
        d, spec = model.config.decoder, model.spec
        loaded = {
            name: onnx.load(folder / path, load_external_data=False) for name, path in exported.files.items()
        }
        found = {
            name: ({v.name: _dims(v) for v in m.graph.input}, {v.name: _dims(v) for v in m.graph.output})
            for name, m in loaded.items()
        }
        side = model.config.tile_size
        assert found["vision_encoder"] == (
            {"pixel_values": ["batch_size", 3, side, side]},
            {"image_features": ["batch_size", model.config.tokens_per_tile, d.hidden_size]},
        )
        assert found["token_embedding"] == (
            {"input_ids": ["batch_size", "sequence_length"]},
            {"inputs_embeds": ["batch_size", "sequence_length", d.hidden_size]},
        )
        past, present = (
            {
                f"{prefix}.{n}.{kind}": ["batch_size", d.kv_heads, length, spec.width(n)]
                for n in range(d.layers)
                for kind in ("key", "value")
            }
            for prefix, length in (
                ("past_key_values", "past_sequence_length"),
                ("present", "total_sequence_length"),
            )
        )
        assert found["text_decoder"] == (
            {
                "inputs_embeds": ["batch_size", "sequence_length", d.hidden_size],
                "attention_mask": ["batch_size", "total_sequence_length"],
                "position_ids": ["batch_size", "sequence_length"],
                **past,
            },
            {"logits": ["batch_size", 1, d.vocab_size], **present},
        )
        assert next(iter(found["text_decoder"][1])) == "logits"

    @pytest.mark.parametrize("recipe", ["fp32", "int4"])
    def test_the_checker_accepts_them(self, exports, qwen, recipe):
        folder, exported = exports(qwen, recipe)
        for name, path in exported.files.items():
            model = onnx.load(folder / path)
            for node in model.graph.node:
                if (
                    node.op_type == "SimplifiedLayerNormalization"
                ):  # ORT's own, although in the standard's domain
                    node.domain = "com.microsoft"
            onnx.checker.check_model(model, full_check=name != "text_decoder")

    def test_a_batch_of_tiles_is_each_tile_alone(self, exports, qwen):
        folder, exported = exports(qwen)
        session = ort.InferenceSession(folder / exported.files["vision_encoder"])
        tiles = [tile(folded(qwen), seed) for seed in (1, 2)]
        alone = [session.run(None, {"pixel_values": one})[0] for one in tiles]
        together = session.run(None, {"pixel_values": np.concatenate(tiles)})[0]
        np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)

    def test_float_weights_keep_the_recipes_type(self, exports, qwen):
        sizes = {}
        for recipe in ("fp32", "fp16"):
            folder, _ = exports(qwen, recipe)
            sizes[recipe] = sum(file.stat().st_size for file in (folder / "onnx").glob("*.onnx_data"))
        # Biases, norms, phantom constants and RoPE tables stay fp32; in these tiny models they are a part one
        # sees.
        assert 0.5 * sizes["fp32"] < sizes["fp16"] < 0.65 * sizes["fp32"]


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


class TestIntegers:
    @pytest.mark.parametrize("name", RECIPES)
    def test_the_files_hold_the_models_integers_bit_for_bit(self, exports, checkpoint_dirs, name):
        recipe, overrides = RECIPES[name]
        for checkpoint in checkpoint_dirs.values():
            folder, _ = exports(checkpoint, recipe, "exact", overrides)
            wanted = integers(quantized(checkpoint, recipe, "exact", overrides))
            found = stored_weights(folder)
            assert found.keys() == wanted.keys()
            assert wanted
            for module, weight in wanted.items():
                assert torch.equal(found[module].values, weight.values), module
                assert torch.equal(found[module].scales, weight.scales), module
                assert (found[module].bits, found[module].group) == (weight.bits, weight.group), module

    def test_a_tied_head_and_the_embedding_share_their_bytes(self, tiny_dirs, tmp_path):
        """Half as many bytes of both, the same answers; without leave to share each graph has files of its
        own.
        """
        model = quantized(tiny_dirs["qwen2"], "int4")
        sizes, answers, places = [], [], []
        for share in (False, True):
            out = tmp_path / str(share)
            export(model, ExportOptions(96, 64, "fp32", (2,), share), out, lambda _: None)
            sizes.append(sum(file.stat().st_size for file in (out / "onnx").glob("*.onnx_data")))
            backend = OnnxBackend(out, context=96, chunk=64)
            embeds = backend.embed(random_ids(model, 9))
            answers.append([embeds, backend.decode(embeds, backend.make_cache())])
            graph = onnx.load(find(out, "text_decoder"), load_external_data=False).graph
            places.append(
                {e.value for t in graph.initializer for e in t.external_data if e.key == "location"}
            )
            assert all(_same(stored_weights(out)[name], weight) for name, weight in integers(model).items())
        assert sizes[0] - sizes[1] > 0.9 * model.weights["text_decoder.head.weight"].values.numel()
        own, table = "decoder_model_merged_q4.onnx_data", "embed_tokens_q4.onnx_data"
        assert places == [{own}, {own, table}]
        for alone, shared in zip(*answers, strict=True):
            np.testing.assert_array_equal(alone, shared)

    @pytest.mark.parametrize("fold", ["exact", "rank:8"])
    def test_an_int8_cache_is_torchs_on_the_same_grid(self, tiny_dirs, tmp_path, fold):
        """Prefill in two pieces and steps, in fp32 otherwise: rounding the cache is all that differs."""
        model = quantized(tiny_dirs["qwen2"], "fp32", fold)
        held = model.with_kv(_scales_of(model))
        write(held, tmp_path)
        found = _logits(OnnxBackend(tmp_path, context=96, chunk=64), model)
        kept, plain = (_logits(TorchBackend(m, 96, 64), model) for m in (held, model))
        assert np.abs(found - kept).max() < 1e-4 * kept.std()
        assert np.abs(found - plain).max() > 1e-3 * plain.std()
        lifted = _logits(OnnxBackend(tmp_path, context=96, chunk=64, mode="lifted"), model)
        assert np.abs(lifted - plain).max() < 1e-4 * plain.std()
        stored = stored_cache(tmp_path)
        assert all(
            torch.equal(a, b)
            for a, b in zip((*stored.keys, *stored.values), (*held.kv.keys, *held.kv.values), strict=True)
        )

    def test_scales_of_another_fold_are_refused(self, tiny_dirs):
        exact, small = (quantized(tiny_dirs["qwen2"], "fp32", fold) for fold in ("exact", "rank:8"))
        with pytest.raises(InputError, match="not those of this model and fold"):
            exact.with_kv(_scales_of(small))

    def test_layouts_byte_by_byte(self):
        """By hand from the operations' documentation: value + 8 in four bits, low half first; columns
        transposed.
        """
        row = torch.tensor([[-8, 7, 0, 1] * 8], dtype=torch.int8)
        blocks = packing.pack_blocks(QuantizedTensor(row, torch.ones(1, 1), bits=4, group=32))
        assert blocks.tolist() == [[[0xF0, 0x98] * 8]]
        columns = packing.pack_columns(
            QuantizedTensor(torch.tensor([[1, 2], [3, -4]], dtype=torch.int8), torch.ones(2, 1), 8)
        )
        assert columns.tolist() == [[1, 3], [2, -4]]

    @pytest.mark.parametrize("graph", ["vision_encoder", "text_decoder"])
    @pytest.mark.parametrize("name", RECIPES)
    def test_each_quantised_operation_is_its_torch_product_on_the_same_grid(
        self, exports, qwen, name, graph, tmp_path
    ):
        """Inside the saved graph, with the inputs that it really meets, so that no rounding adds up to
        another.
        """
        recipe, overrides = RECIPES[name]
        model = quantized(qwen, recipe, "exact", overrides)
        folder, _ = exports(qwen, recipe, "exact", overrides)
        checked, held = [], reference(model)
        for module, x, y in _products(folder, graph, model, tmp_path):
            weight, bias = held.weights[f"{module}.weight"], model.weights.get(f"{module}.bias")
            expected = fake_quantize(x, activation_grid(weight), weight.group) @ weight.dequantize().T
            plain = x @ weight.dequantize().T
            if weight.group is None and bias is not None:  # for groups the bias is a node of its own
                expected, plain = expected + bias, plain + bias
            assert (y - expected).abs().max() <= PRODUCT_TOLERANCE * expected.abs().max(), module
            assert (y - plain).abs().max() > 10 * PRODUCT_TOLERANCE * plain.abs().max(), module
            checked.append(module)
        assert sorted(checked) == sorted(module for module in integers(model) if module.startswith(graph))

    def test_an_integer_type_that_onnx_lacks_is_refused(self, qwen, tmp_path):
        model = quantized(qwen, "int8")
        name = "text_decoder.layers.0.o.weight"
        whole = QuantizedTensor(model.weights[name].values.clamp(-8, 7), model.weights[name].scales, bits=4)
        with pytest.raises(InputError, match=r"layers\.0\.o.*not int4, group None"):
            write(replace(model, weights={**model.weights, name: whole}), tmp_path)


def _scales_of(model) -> KVScales:
    """By hand from one cache: the largest value of each channel is 100 steps."""
    cache = model.make_cache(96)
    model.decode(torch.from_numpy(embed(model, random_ids(model, 40))), cache)
    keys, values = (
        [(x[0].abs().amax(0) / 100).clamp_min(1e-4) for x in half] for half in (cache.keys, cache.values)
    )
    return KVScales(tuple(keys), tuple(values))


def _logits(backend, model) -> np.ndarray:
    embeds, cache = embed(model, random_ids(model, 40)), backend.make_cache()
    pieces = np.split(embeds, [20, 37, 38, 39], axis=1)
    return np.stack([backend.decode(piece, cache) for piece in pieces])


def _same(a: QuantizedTensor, b: QuantizedTensor) -> bool:
    return a.bits == b.bits and torch.equal(a.values, b.values) and torch.equal(a.scales, b.scales)


def _products(folder, graph, model, tmp_path):
    """(module, input, output) of every quantised matmul of a graph during one call."""
    work = shutil.copytree(folder, tmp_path / "work") / "onnx"
    proto = onnx.load(find(tmp_path / "work", graph), load_external_data=False)
    nodes = [n for n in proto.graph.node if n.op_type in ("MatMulNBits", "DynamicQuantizeMatMul")]
    seen = {name for n in nodes for name in (n.input[0], n.output[0])} - {v.name for v in proto.graph.output}
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(s, onnx.TensorProto.FLOAT, None) for s in sorted(seen)
    )
    onnx.save(proto, work / "opened.onnx")
    session = ort.InferenceSession(work / "opened.onnx")
    feed = {"pixel_values": tile(model)} if graph == "vision_encoder" else _decoder_feed(session, model)
    values = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
    for node in nodes:
        x, y = (torch.from_numpy(values[name]) for name in (node.input[0], node.output[0]))
        yield node.input[1].removesuffix(".weight.values"), x, y


def _decoder_feed(session, model) -> dict[str, np.ndarray]:
    embeds = embed(model, random_ids(model, 12))
    inputs = [i for i in session.get_inputs() if i.name.startswith("past")]
    past = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in inputs}
    positions = np.arange(12, dtype=np.int64)[None]
    return {
        "inputs_embeds": embeds,
        "attention_mask": np.ones((1, 12), np.int64),
        "position_ids": positions,
        **past,
    }


class TestChecks:
    def test_counts_are_those_of_the_saved_files(self, exports, checkpoint_dirs):
        for checkpoint in checkpoint_dirs.values():
            _, exported = exports(checkpoint, "int4")
            model = quantized(checkpoint, "int4")
            config, kinds = model.config, [w.bits for w in integers(model).values()]
            vision, embedding, decoder = (exported.counts[name] for name in GRAPHS)
            assert vision["MultiHeadAttention"] == config.vision.layers
            assert decoder["GroupQueryAttention"] == config.decoder.layers
            assert decoder["Softmax"] == 3 * config.decoder.layers  # the phantom's: query, key, value
            assert (
                decoder["MatMulNBits"] - 1 == kinds.count(4) == 4 * config.decoder.layers
            )  # one is the head
            assert embedding["Gather int8"] == 1
            assert "DynamicQuantizeMatMul" not in decoder
            assert vision["DynamicQuantizeMatMul"] + 2 == kinds.count(8)

    @pytest.mark.parametrize(
        ("graph", "op"),
        [
            ("text_decoder", "GroupQueryAttention"),
            ("text_decoder", "MatMulNBits"),
            ("text_decoder", "Softmax"),
            ("vision_encoder", "DynamicQuantizeMatMul"),
        ],
    )
    def test_a_missing_operation_is_noticed(self, exports, qwen, graph, op, tmp_path):
        folder, exported = exports(qwen, "int4")
        model = onnx.load(folder / exported.files[graph], load_external_data=False)
        model.graph.node.remove(next(node for node in model.graph.node if node.op_type == op))
        onnx.save(model, tmp_path / "damaged.onnx")
        found, wanted = count_ops(tmp_path / "damaged.onnx"), exported.counts[graph]
        with pytest.raises(CheckError, match=rf"{graph}.*{op} {wanted[op] - 1} \(expected {wanted[op]}\)"):
            require_counts(graph, found, {name: wanted.get(name, 0) for name in _checked(qwen)})

    def test_a_weight_that_no_graph_reads_is_noticed(self, qwen, tmp_path):
        model = folded(qwen)
        extra = replace(model, weights={**model.weights, "text_decoder.layers.0.o.bias2": torch.zeros(2)})
        with pytest.raises(CheckError, match=r"layers\.0\.o\.bias2"):
            write(extra, tmp_path)

    def test_positions_beyond_static_tables_are_refused(self, qwen, tmp_path):
        model = folded(qwen)
        with pytest.raises(InputError, match="--context"):
            write(model, tmp_path, context=model.config.decoder.rope.original_context + 1)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ("truncated", "it is incomplete"),
            ("missing", "must be a file in the same folder"),
            ("not a model", "not an ONNX model"),
            ("other data", "must be a file in the same folder"),
        ],
    )
    def test_reading_back_a_damaged_artifact(self, exports, qwen, damage, message, tmp_path):
        folder, _ = exports(qwen, "int4")
        work = shutil.copytree(folder, tmp_path / "work") / "onnx"
        data = work / "decoder_model_merged_q4.onnx_data"
        if damage == "truncated":
            data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        elif damage == "missing":
            data.unlink()
        elif damage == "not a model":
            (work / "vision_encoder_q4.onnx").write_bytes(b"\xff" * 100)
        else:
            data.rename(tmp_path / "elsewhere")
            data.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match=message):
            dict(stored_weights(tmp_path / "work"))


def _checked(checkpoint) -> dict[str, int]:
    kinds = {"a": "MatMulNBits", "b": "DynamicQuantizeMatMul"}
    return expected_counts("text_decoder", folded(checkpoint).spec, kinds)


class Streamed(Mapping):
    """Weights that come one at a time; knows which were asked for and how many were alive at once."""

    def __init__(self, weights):
        self.weights, self.asked, self.alive, self.most = weights, [], weakref.WeakSet(), 0

    def __getitem__(self, name):
        weight = self.weights[name]
        self.asked.append(name)
        if isinstance(weight, torch.Tensor):
            weight = weight.clone()
            self.alive.add(weight)
            self.most = max(self.most, len(self.alive))
        return weight

    def shape(self, name):
        return shape_of(self.weights, name)

    def __contains__(self, name):
        return name in self.weights

    def __iter__(self):
        return iter(self.weights)

    def __len__(self):
        return len(self.weights)


@pytest.mark.parametrize("recipe", ["fp32", "int8"])
def test_each_weight_is_read_once_and_let_go(qwen, recipe, tmp_path):
    """So that a model larger than memory can stream through; and the files are the same."""
    model = quantized(qwen, recipe)
    streamed = Streamed(model.weights)
    write(replace(model, weights=streamed), tmp_path / "streamed")
    assert sorted(streamed.asked) == sorted(model.weights)
    assert streamed.most <= 3
    write(model, tmp_path / "whole")
    written = [
        sorted(p.relative_to(tmp_path / at) for p in (tmp_path / at).rglob("*.*"))
        for at in ("streamed", "whole")
    ]
    assert written[0] == written[1]
    for name in written[0]:
        one, other = ((tmp_path / at / name).read_bytes() for at in ("streamed", "whole"))
        assert one == other, name
