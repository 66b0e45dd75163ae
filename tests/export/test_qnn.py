"""Graphs for a Snapdragon's NPU: all of them there, the same integers, and what a chip's compiler makes."""

from __future__ import annotations

import re
import shutil

import numpy as np
import onnx
import pytest
import torch
from folded_models import backend_logits, folded, integers, quantized, random_ids, torch_logits
from onnx_models import embed, tile
from qnn_bundles import CONTEXT, emulator, made

from phantom_edge.bundle.folder import Bundle
from phantom_edge.errors import InputError
from phantom_edge.export import qnn_provider
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx import qnn
from phantom_edge.export.onnx.qnn import graphs, memory
from phantom_edge.export.onnx.readback import floats_of
from phantom_edge.export.onnx_layout import FOLDER, NPU_GRAPHS, npu_file
from phantom_edge.export.qnn_chips import ARCHITECTURES, CHIPS
from phantom_edge.model.rounded_ops import Rounding
from phantom_edge.numbers.ranges import fingerprint
from phantom_edge.pipeline.npu import GRAPHS
from phantom_edge.quantize.kv import KVScales
from phantom_edge.runtime.npu_process import NpuProcess
from phantom_edge.runtime.qnn_backend import QnnBackend
from phantom_edge.runtime.verify import verify
from phantom_edge.runtime.verify.questions import STRUCTURE

CHUNK = 128
RECIPE = "int4"
LPBQ = ("text_decoder.layers.*=int4:32:lpbq",)
"""What an NPU's decoder has by default."""


@pytest.fixture(scope="module")
def bundles(tiny_dirs, tmp_path_factory):
    """A folder by family and options, made when it is first asked for."""
    root, folders = tmp_path_factory.mktemp("qnn"), {}

    def make(family, **options):
        key = (family, *sorted(options.items()))
        if key not in folders:
            folders[key] = made(tiny_dirs[family], root / str(len(folders)), **options)
        return folders[key]

    return make


def stored(checkpoint, bundle, fold="exact"):
    """The torch model with a bundle's recipe, and constants as an NPU's decoder stores them, in fp16."""
    model = folded(checkpoint, fold).quantized(Bundle.open(bundle).manifest.recipe)
    return qnn.reference(model.with_rounding(Rounding(GRAPHS["all"]))).unrounded


def model_in(folder, name):
    return onnx.load(folder / FOLDER / npu_file(name), load_external_data=False)


@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
def test_one_set_of_integers_in_all_graphs(bundles, tiny_dirs, family):
    folder = bundles(family, parts="all")
    read = qnn.stored_weights(folder)
    expected = integers(stored(tiny_dirs[family], folder))
    assert read.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(read[name].values, weight.values), name
        assert torch.equal(read[name].scales, weight.scales), name


@pytest.mark.parametrize("activations", ["uint16", "fp16"])
def test_lifted_it_is_the_torch_model(bundles, tiny_dirs, activations):
    """The same files in fp32 on the CPU: a short piece is filled up in front, and a mask hides it."""
    folder = bundles("qwen2", parts="all", activations=activations)
    model = stored(tiny_dirs["qwen2"], folder)
    backend = QnnBackend(folder, context=CONTEXT, chunk=CHUNK, mode="lifted")
    pixels = tile(model)
    expected = model.encode_image(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(backend.encode_image(pixels), expected, atol=1e-4 * expected.std())
    embeds = embed(model, random_ids(model, 40))
    logits = torch_logits(model, embeds)
    for pieces in ([40], [30, 7, 1, 1, 1], [1] * 5 + [35]):
        np.testing.assert_allclose(backend_logits(backend, embeds, pieces), logits, atol=1e-4 * logits.std())


@pytest.mark.parametrize("fold", ["exact", "rank:8"])
def test_an_int8_cache_lifted_is_the_torch_model(bundles, tiny_dirs, fold):
    """Scales meet again within a product, those of the phantom's channels with their powers of two."""
    folder = bundles("qwen2", parts="all", kv_cache="int8", fold=fold)
    model = stored(tiny_dirs["qwen2"], folder, fold)
    backend = QnnBackend(folder, context=CONTEXT, chunk=CHUNK, mode="lifted")
    embeds = embed(model, random_ids(model, 40))
    logits = torch_logits(model, embeds)
    for pieces in ([40], [30, 7, 1, 1, 1]):
        np.testing.assert_allclose(backend_logits(backend, embeds, pieces), logits, atol=1e-4 * logits.std())


def test_an_int8_cache_is_a_byte_with_its_own_scales(bundles, tiny_dirs):
    folder = bundles("qwen2", parts="all", kv_cache="int8")
    graph = model_in(folder, "decode").graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output]}
    cache = {kind for name, kind in types.items() if name.startswith(("past_key_values.", "present."))}
    assert cache == {onnx.TensorProto.INT8}
    scales, manifest = qnn.stored_cache(folder), Bundle.open(folder).manifest
    assert (manifest.kv_cache, manifest.cache_scales) == ("int8", scales.fingerprint())
    assert any("in int8" in note for note in manifest.notes)
    quantized(tiny_dirs["qwen2"], RECIPE).with_kv(scales)  # refuses other shapes
    assert qnn.stored_cache(bundles("qwen2", parts="all")) is None


def test_an_int8_cache_of_the_cpus_decoder(bundles):
    """With the vision encoder alone on the NPU the decoder is a desktop's."""
    folder = bundles("qwen2", kv_cache="int8")
    assert qnn.stored_cache(folder).fingerprint() == Bundle.open(folder).manifest.cache_scales


def test_the_scales_of_phantom_channels_are_moved_as_the_channels_are(bundles, tiny_dirs):
    """Integers of the cache are those that torch has, but where a quotient lies between two of them."""
    folder = bundles("qwen2", parts="all", kv_cache="int8")
    scales = qnn.stored_cache(folder)
    model = stored(tiny_dirs["qwen2"], folder)
    cache, embeds = model.make_cache(CONTEXT), embed(model, random_ids(model, 40))
    model.decode(torch.from_numpy(embeds), cache)
    path = folder / FOLDER / npu_file("prefill")
    powers = {name: maker.make() for name, maker in floats_of(path, model_in(folder, "prefill").graph)}
    backend = QnnBackend(folder, context=CONTEXT, chunk=CHUNK, mode="lifted")
    own, moved = backend.make_cache(), False
    backend.decode(embeds, own)
    for n in range(model.config.decoder.layers):
        for kind, values, steps in (("key", cache.keys, scales.keys), ("value", cache.values, scales.values)):
            integers = own.buffers[f"past_key_values.{n}.{kind}"][:, :, :40].transpose(0, 2, 1, 3)
            expected = (values[n][:, :40] / steps[n]).numpy()
            assert abs(expected).max() > 20
            np.testing.assert_allclose(integers, expected, atol=1e-2)
            moved |= powers[f"cache.{n}.{kind}.powers"][-1].item() != 1
    assert moved


def test_two_caches_are_two(bundles, tiny_dirs):
    folder = bundles("qwen2", parts="all")
    model = stored(tiny_dirs["qwen2"], folder)
    backend = QnnBackend(folder, context=CONTEXT, chunk=CHUNK, mode="lifted")
    embeds = [embed(model, random_ids(model, 9, seed)) for seed in (1, 2)]
    caches = [backend.make_cache() for _ in embeds]
    for cache, one in zip(caches, embeds, strict=True):
        backend.decode(one[:, :8], cache)
    for cache, one in zip(caches, embeds, strict=True):
        expected = torch_logits(model, one)
        np.testing.assert_allclose(backend.decode(one[:, 8:], cache), expected, atol=1e-4 * expected.std())


def test_calls_that_do_not_fit_are_refused(bundles, tiny_dirs):
    folder = bundles("qwen2", parts="all")
    model = quantized(tiny_dirs["qwen2"], RECIPE)
    backend = QnnBackend(folder, context=16, chunk=12, mode="lifted")
    embeds = embed(model, random_ids(model, 20))
    with pytest.raises(InputError, match="one decoder call takes 1 to 12 tokens, not 13"):
        backend.decode(embeds[:, :13], backend.make_cache())
    cache = backend.make_cache()
    backend.decode(embeds[:, :12], cache)
    with pytest.raises(InputError, match="17 tokens do not fit a context of 16"):
        backend.decode(embeds[:, :5], cache)
    with pytest.raises(InputError, match=f"exported for {CONTEXT} tokens"):
        QnnBackend(folder, context=CONTEXT + 1, chunk=12, mode="lifted")


def test_every_range_is_used_and_recorded(bundles):
    folder = bundles("qwen2", parts="all")
    ranges, npu = qnn.stored_ranges(folder), Bundle.open(folder).manifest.npu
    assert npu.ranges == fingerprint(ranges)
    assert npu.activations == "uint16"
    assert any(site.startswith("text_decoder.") for site in ranges)
    of_vision = qnn.stored_ranges(bundles("qwen2"))
    assert all(site.startswith("vision_encoder.") for site in of_vision)
    half = bundles("qwen2", activations="fp16")
    assert not qnn.stored_ranges(half)
    assert Bundle.open(half).manifest.npu.ranges is None


def test_attention_multiplies_no_two_values_in_uint16(bundles):
    """Hexagon keeps eight bits of one of them."""
    graph = model_in(bundles("qwen2"), "vision_encoder").graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul" and makers[node.input[1]].op_type != "DequantizeLinear":
            assert makers[node.input[1]].op_type in ("Transpose", "Mul")
        elif node.op_type == "MatMul":
            assert makers[node.input[1]].input[0] in constants


def test_shapes_are_fixed(bundles, tiny_dirs):
    folder, model = bundles("qwen2", parts="all"), quantized(tiny_dirs["qwen2"], RECIPE)
    heads, width = model.config.decoder.kv_heads, model.spec.width(0)
    for name, steps in (("prefill", CHUNK), ("decode", 1)):
        graph = model_in(folder, name).graph
        shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.output]
        }
        assert shapes["attention_mask"] == [1, 1, steps, CONTEXT + steps]
        assert shapes["past_key_values.0.key"] == [1, heads, CONTEXT, width]
        assert shapes["present.0.key"] == [1, heads, steps, width]
        assert all(size > 0 for shape in shapes.values() for size in shape)


def test_the_decoders_share_their_weights(bundles):
    folder = bundles("qwen2", parts="all") / FOLDER
    sizes = {name: (folder / f"npu_{name}.onnx_data").stat().st_size for name in ("prefill", "decode")}
    assert sizes["decode"] < sizes["prefill"] / 3


def room(model, options):
    """Tokens that fit, by what the refusal says."""
    with pytest.raises(InputError) as refused:
        memory.check_memory(model, options)
    return int(re.search(r"at most (\d+) tokens fit", str(refused.value))[1])


def test_a_decoder_that_does_not_fit_says_what_does(tiny_dirs, monkeypatch):
    model = quantized(tiny_dirs["qwen2"], RECIPE).with_rounding(Rounding(GRAPHS["all"]))
    options = ExportOptions(1 << 16, CHUNK, "fp32", (2,))
    monkeypatch.setattr(memory, "LIMIT", 2_000_000)
    with pytest.raises(InputError, match=r"--context 65536: the decoder takes .* at most \d+ tokens fit"):
        memory.check_memory(model, options)
    memory.check_memory(model.with_rounding(Rounding(GRAPHS["vision"])), options)
    ones = [torch.ones(model.config.decoder.kv_heads, model.spec.width(n)) for n in range(2)]
    int8 = model.with_kv(KVScales(ones, ones))
    monkeypatch.setattr(memory, "LIMIT", 1_000_000)
    assert room(int8, options) > room(model, options)
    monkeypatch.setattr(memory, "LIMIT", 1000)
    with pytest.raises(InputError, match="leave the decoder to the CPU, or use --npu vision"):
        memory.check_memory(model, options)


def test_options_of_the_provider_are_few(bundles):
    metadata = {p.key: p.value for p in model_in(bundles("qwen2"), "vision_encoder").metadata_props}
    assert qnn_provider.switches_of(metadata) == {qnn_provider.FP16: "1"}
    for value in ('{"dump_json_qnn_graph": "1"}', '{"enable_htp_fp16_precision": "/tmp/x"}', "[]", "{"):
        with pytest.raises(InputError, match=r"this toolkit does not set|not readable as JSON"):
            qnn_provider.switches_of({qnn_provider.METADATA: value})


@emulator
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("options", [{}, {"activations": "fp16"}, {"kv_cache": "int8"}], ids=str)
def test_every_architecture_takes_every_graph_whole(bundles, architecture, options):
    """The provider refuses a graph of which a node would run on the CPU."""
    folder = bundles("qwen2", parts="all", **options)
    chip = next(chip for chip in CHIPS.values() if chip.architecture == architecture)
    process = NpuProcess(folder)
    for name in NPU_GRAPHS:
        switches = qnn_provider.switches_of({p.key: p.value for p in model_in(folder, name).metadata_props})
        process.open(name, folder / FOLDER / npu_file(name), chip, switches)


@emulator
@pytest.mark.slow
@pytest.mark.parametrize("parts", ["all", "vision"])
def test_an_int8_cache_is_verified_in_the_emulator(bundles, parts):
    report = verify(Bundle.open(bundles("qwen2", parts=parts, kv_cache="int8")), tokens=2)
    assert report.ok, report.failures
    assert "cache scales that differ" in {check.name for check in report.groups[STRUCTURE]}


@emulator
@pytest.mark.slow
def test_the_emulators_integers_are_torchs_to_one_step(bundles, tiny_dirs):
    """What the NPU rounds in fp16 may fall to the other side of a boundary, and no further."""
    folder = bundles("qwen2", parts="all", activations="fp16", kv_cache="int8")
    scales = qnn.stored_cache(folder)
    model = stored(tiny_dirs["qwen2"], folder).with_rounding(Rounding(GRAPHS["all"])).with_kv(scales)
    cache, embeds = model.make_cache(CONTEXT), embed(model, random_ids(model, 40))
    model.decode(torch.from_numpy(embeds), cache)
    backend = QnnBackend(folder, context=CONTEXT, chunk=CHUNK)
    own = backend.make_cache()
    backend.decode(embeds, own)
    for kind, values, steps in (("key", cache.keys, scales.keys), ("value", cache.values, scales.values)):
        expected = (values[0][:, :40] / steps[0]).round().numpy()
        buffer = own.buffers[f"past_key_values.0.{kind}"]
        assert buffer.dtype == np.int8
        integers = buffer[:, :, :40].transpose(0, 2, 1, 3)
        off = abs(integers - expected)
        assert off.max() <= 1
        assert off.mean() < 0.1


@emulator
@pytest.mark.slow
def test_a_node_for_the_cpu_is_refused(bundles, tmp_path):
    model = model_in(bundles("qwen2"), "vision_encoder")
    model.graph.node[-1].op_type = "Cosh"  # in place of Identity
    onnx.save(model, tmp_path / "graph.onnx")
    for file in (bundles("qwen2") / FOLDER).glob("*_data"):
        shutil.copy(file, tmp_path)
    with pytest.raises(InputError, match="fallback to CPU EP has been explicitly disabled"):
        NpuProcess(tmp_path).open("x", tmp_path / "graph.onnx", CHIPS["SM8750"], {qnn_provider.FP16: "1"})


@emulator
@pytest.mark.slow
@pytest.mark.parametrize("kv_cache", ["float", "int8"])
def test_compiled_files_are_what_the_graphs_give(bundles, tiny_dirs, kv_cache):
    """One binary for both decoders, the same again each time; the vision encoder answers bit for bit."""
    folder = bundles("qwen2", parts="all", soc=("sm8650",), kv_cache=kv_cache)
    npu = Bundle.open(folder).manifest.npu
    assert npu.compiled["SM8650"].architecture == 75
    files = {path.name for path in (folder / "npu/sm8650").iterdir()}
    assert files == {
        "vision_encoder.onnx",
        "vision_encoder_qnn.bin",
        "prefill.onnx",
        "prefill_qnn.bin",
        "decode.onnx",
    }
    again = qnn.compiled.decoders_again(folder, NPU_GRAPHS, [CHIPS["SM8650"]])
    assert len(again) == 3
    for path, data in again.items():
        assert (folder / path).read_bytes() == data, path
    pixels = tile(quantized(tiny_dirs["qwen2"], RECIPE))
    own = QnnBackend(folder, context=CONTEXT, chunk=CHUNK)
    assert own.name.endswith("as SM8650, compiled")
    compiled = own.encode_image(pixels)
    for file in (folder / "npu/sm8650").iterdir():
        file.rename(file.with_suffix(".away"))
    try:
        plain = QnnBackend(folder, context=CONTEXT, chunk=CHUNK, chip="sm8650")
        np.testing.assert_array_equal(plain.encode_image(pixels), compiled)
    finally:
        for file in (folder / "npu/sm8650").iterdir():
            original = file.name.removesuffix(".away")
            suffix = ".bin" if original.endswith("_qnn") else ".onnx"
            file.rename(file.with_name(original + suffix))


def test_names_of_graphs(tiny_dirs):
    model = quantized(tiny_dirs["qwen2"], RECIPE)
    assert graphs.names(model.with_rounding(Rounding(GRAPHS["vision"]))) == ("vision_encoder",)
    assert graphs.names(model.with_rounding(Rounding(GRAPHS["all"]))) == NPU_GRAPHS
