"""One ``.pte`` with a Core ML vision encoder and an XNNPACK decoder, run here but for Core ML itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from executorch_models import CHUNK, CONTEXT, random_tiles
from folded_models import folded, integers, quantized

from phantom_edge.errors import InputError
from phantom_edge.export import executorch_coreml
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.coreml.programs import float32_vision_encoder
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.readback import StoredProgram
from phantom_edge.export.executorch_coreml import payload as coreml_payload
from phantom_edge.model.rope import static_tables
from phantom_edge.runtime.executorch_backend import ExecutorchBackend
from phantom_edge.runtime.executorch_coreml_backend import ExecutorchCoremlBackend
from phantom_edge.runtime.torch_backend import TorchBackend

pytestmark = pytest.mark.slow

OPTIONS = ExportOptions(CONTEXT, CHUNK, "fp16", (2, 5))

pytest.importorskip(
    "executorch.backends.apple.coreml.executorchcoreml", reason="needs an ExecuTorch with the Core ML backend"
)


@pytest.fixture(scope="module")
def model(tiny_dirs):
    return quantized(tiny_dirs["qwen2"], "int4")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("combined")
    return folder, executorch_coreml.export(model, OPTIONS, folder, lambda _: None)


def answer(backend, tiles, ids):
    """Image tokens, prefill logits and the logits of one cached step."""
    image, cache = np.asarray(backend.encode_image(tiles)), backend.make_cache()
    prefill = backend.decode(np.asarray(backend.embed(ids)), cache)
    return image, prefill, backend.decode(np.asarray(backend.embed(ids[:, :1])), cache)


def test_lifted_it_is_the_torch_model_with_the_same_integers(model, exported):
    held = executorch_coreml.reference(model).on_grid(None)
    tiles, ids = random_tiles(model, 2), np.array([[1, 7, 9, 4]])
    found = answer(
        ExecutorchCoremlBackend(exported[0], context=CONTEXT, chunk=CHUNK, mode="lifted"), tiles, ids
    )
    for stage, wanted in zip(found, answer(TorchBackend(held, CONTEXT, CHUNK), tiles, ids), strict=True):
        np.testing.assert_allclose(stage, wanted, rtol=0, atol=1e-4 * np.sqrt(np.mean(wanted**2)))


def test_as_it_ships_only_the_platforms_roundings_are_added(model, exported):
    held = executorch_coreml.reference(model)
    tiles, ids = random_tiles(model), np.array([[1, 7, 9, 4]])
    backend = ExecutorchCoremlBackend(exported[0], context=CONTEXT, chunk=CHUNK)
    assert "mil-interpreter" in backend.name
    image, prefill, _ = answer(backend, tiles, ids)
    wanted, logits, _ = answer(TorchBackend(held, CONTEXT, CHUNK), tiles, ids)
    assert np.abs(image - wanted).max() < 0.03 * np.sqrt(np.mean(wanted**2))
    # Core ML rounds no activation to integers: on XNNPACK's grid the vision encoder's would lie elsewhere.
    on_grid = TorchBackend(model.on_grid(executorch_coreml.decoder_grid), CONTEXT, CHUNK).encode_image(tiles)
    assert np.abs(image - wanted).max() < 0.5 * np.abs(on_grid - wanted).max()
    plain = answer(TorchBackend(held.on_grid(None), CONTEXT, CHUNK), tiles, ids)[1]
    assert np.sqrt(np.mean((prefill - logits) ** 2)) < 2 * np.sqrt(np.mean((plain - logits) ** 2))


def test_every_integer_is_the_models(model, exported):
    wanted = {name.removesuffix(".weight"): w for name, w in integers(model).items()}
    stored = executorch_coreml.stored_weights(exported[0])
    assert stored.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert (stored[name].values == weight.values).all()
        assert (stored[name].scales == weight.scales).all()


def test_every_float_is_the_references(model, exported):
    floats = executorch_coreml.stored_floats(exported[0])
    weights = executorch_coreml.reference(model).weights
    names = {n for n in weights if isinstance(weights[n], torch.Tensor)}
    assert names <= floats.keys()
    for name in names:
        assert torch.equal(floats[name].float(), weights[name].float()), name
    d = model.config.decoder
    for name, table in zip(("cos", "sin"), static_tables(d.rope, d.head_dim, CONTEXT), strict=True):
        assert torch.equal(floats[f"rope.{name}"], table)


def test_an_export_differs_in_nothing_from_an_export(model, exported):
    """What must be seen is in ``faults_coreml_delegate``."""
    assert executorch_coreml.differences(exported[0], model, OPTIONS) == []
    assert executorch_coreml.artifact_files(exported[0]) == {p.name for p in exported[0].iterdir()}
    lines = executorch_coreml.differences(exported[0], model, replace(OPTIONS, end_ids=(2,)))
    assert any("get_eos_ids" in line for line in lines)
    name = "vision_encoder.layers.0.norm1.weight"
    other = {n: w * 1.01 if n == name else w for n, w in model.weights.items()}
    assert executorch_coreml.differences(exported[0], replace(model, weights=other), OPTIONS) == [
        "vision_encoder: values of vision_encoder__layers__0__norm1__weight"
    ]


def test_the_delegate_is_what_the_stock_runtime_reads(model, exported, tmp_path):
    from executorch.backends.apple.coreml import executorchcoreml

    stored = StoredProgram.open(exported[0] / FILE)
    (delegate,) = stored.plan("vision_encoder").delegates
    assert (delegate.id, [(s.key, bytes(s.value)) for s in delegate.compile_specs]) == (
        "CoreMLBackend",
        [("compute_units", b"all")],
    )
    payload = stored.segment(delegate.processed.index)
    assert executorchcoreml.unflatten_directory_contents(payload, str(tmp_path))
    mine = dict(coreml_payload.files(payload))
    (root,) = tmp_path.iterdir()  # it keeps the name of the folder that was packed
    theirs = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert mine == theirs
    metadata = json.loads(mine["metadata.json"])
    assert metadata["inputNames"] == ["pixel_values"]
    assert metadata["outputNames"] == ["image_features"]
    side, d = model.config.tile_size, model.config.decoder
    assert stored.input_shapes("vision_encoder") == [(1, 3, side, side)]
    plan = stored.plan("vision_encoder")
    assert plan.values[plan.outputs[0]].val.sizes == [1, model.config.tokens_per_tile, d.hidden_size]


def identifier(folder):
    """Under which a device keeps the compiled vision encoder."""
    stored = StoredProgram.open(folder / FILE)
    payload = stored.segment(stored.plan("vision_encoder").delegates[0].processed.index)
    return json.loads(dict(coreml_payload.files(payload))["metadata.json"])["identifier"]


def test_the_same_export_is_compiled_once(model, exported, tmp_path):
    executorch_coreml.export(model, OPTIONS, tmp_path, lambda _: None)
    assert identifier(exported[0]) == identifier(tmp_path)


def test_its_identifier_does_not_depend_on_what_the_process_built_before(model, exported, tmp_path):
    """coremltools numbers names over the whole process, and begins anew only after a conversion."""
    float32_vision_encoder(model, OPTIONS)  # never converted
    executorch_coreml.export(model, OPTIONS, tmp_path, lambda _: None)
    assert identifier(exported[0]) == identifier(tmp_path)


def test_its_identifier_does_not_depend_on_the_day(model, exported, tmp_path, monkeypatch):
    from coremltools.converters import _converters_entry

    class Day(date):
        @classmethod
        def today(cls):
            return cls(2031, 1, 1)

    monkeypatch.setattr(_converters_entry, "date", Day)
    executorch_coreml.export(model, OPTIONS, tmp_path, lambda _: None)
    assert identifier(exported[0]) == identifier(tmp_path)


def test_counts_and_notes_say_what_is_inside(model, exported):
    counts = exported[1].counts
    assert counts["vision_encoder"]["scaled_dot_product_attention"] == model.config.vision.layers
    assert counts["text_decoder"]["attention"] == model.config.decoder.layers * model.config.decoder.kv_heads
    assert any("Core ML package" in note for note in exported[1].notes)


def test_a_plain_program_is_refused(tiny_dirs, tmp_path):
    from executorch_models import write

    write(folded(tiny_dirs["qwen2"]), tmp_path)
    ExecutorchBackend(tmp_path, context=CONTEXT, chunk=CHUNK)
    with pytest.raises(InputError, match="its vision encoder is not Core ML's"):
        ExecutorchCoremlBackend(tmp_path, context=CONTEXT, chunk=CHUNK)


AB = {"kind": 0, "dataRegion": {"offset": 0, "size": 2}}
TABLE = {"nodes": [AB, {"kind": 1, "children": {"a": 0}}]}


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "a\0b", "é"])
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    nodes = [AB, {"kind": 1, "children": {name: 0}}]
    with pytest.raises(InputError, match="damaged"):
        coreml_payload.unpack(b"ab" + json.dumps({"nodes": nodes}).encode()[::-1], tmp_path)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ab",
        json.dumps({"nodes": []}).encode()[::-1],
        json.dumps({"nodes": [{"kind": 1, "children": {"a": 0}}]}).encode()[::-1],  # a folder inside itself
        json.dumps({"nodes": [{"kind": 0, "dataRegion": {"offset": 0, "size": 1 << 40}}]}).encode()[::-1],
        json.dumps({"nodes": [{"kind": 0, "dataRegion": {"offset": -1, "size": 1}}]}).encode()[::-1],
        json.dumps(TABLE).encode(),
    ],
)
def test_damaged_payloads_are_refused(payload, tmp_path):
    with pytest.raises(InputError):
        coreml_payload.unpack(payload, tmp_path)


def test_a_payload_without_a_package_is_refused(tmp_path):
    with pytest.raises(InputError, match="no package"):
        coreml_payload.unpack(b"ab" + json.dumps(TABLE).encode()[::-1], tmp_path)
    assert (tmp_path / "a").read_bytes() == b"ab"
    shutil.rmtree(tmp_path)
