"""Verify on real bundles: it passes what is right in every format, and notices each thing that is not."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.golden import Golden
from phantom_edge.bundle.manifest import MANIFEST, SCHEMA_FILE
from phantom_edge.checkpoint.pretrained import Pretrained, file_sha256
from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.onnx import stored_cache
from phantom_edge.export.onnx_layout import find
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.kv import KVScales
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.self_test import self_test
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import default_images, prompts, trace_prompt
from phantom_edge.runtime.verify import STRUCTURE, UNROUNDED, verify
from phantom_edge.runtime.verify.quality import divergence
from phantom_edge.targets import FORMATS, format_for

pytestmark = pytest.mark.slow

TOKENS = 8
# One of each format that is made and run by this toolkit alone; those made of several have tests of their
# own.
BUNDLES = {
    "onnx": ("qwen2", "int4"),
    "onnx-webgpu": ("phi3", "int8"),
    "executorch": ("phi3", "int8"),
    "coreml": ("internlm2", "int4"),
}


@pytest.fixture(scope="module")
def bundles(tiny_dirs, tmp_path_factory):
    """A small bundle of each format, unverified: what verify says of it is what is tested."""
    root = tmp_path_factory.mktemp("bundles")
    made = {}
    for name, (family, quant) in BUNDLES.items():
        request = ExportRequest(
            target="desktop",
            format=name,
            model=str(tiny_dirs[family]),
            quantize=QuantizeOptions(quant),
            output=root / name,
            context=128,
            verify=False,
        )
        made[name] = export(request).bundle
    return made


@pytest.fixture
def copy(bundles, tmp_path):
    """A copy of the ONNX bundle that a test may damage, with the means to make its hashes right again."""
    folder = shutil.copytree(bundles["onnx"].folder, tmp_path / "copy")

    def rehash(**changes):
        manifest = json.loads((folder / MANIFEST).read_text())
        for name, entry in manifest["files"].items():
            path = folder / name
            entry.update(bytes=path.stat().st_size, sha256=file_sha256(path))
        manifest.update(changes)
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return Bundle.open(folder)

    return folder, rehash


def edit_decoder(folder, change):
    path = find(folder, "text_decoder")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        change(tensor)
    data = path.with_suffix(".onnx_data")
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name)


def scaled(tensor, factor):
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((array * factor).astype(array.dtype), tensor.name))


@pytest.mark.parametrize("name", BUNDLES)
def test_a_right_bundle_passes(bundles, name):
    report = verify(bundles[name], tokens=TOKENS)
    assert report.ok, report.failures
    assert (UNROUNDED in report.groups) == bool(format_for(name).unrounded)
    names = [check.name for check in report.groups[STRUCTURE]]
    assert names[0] == "integers that differ"
    assert {"image tokens", "embeddings", "greedy tokens that differ"} <= set(names)
    assert any("prefill" in name for name in names)
    assert any("cached decode" in name for name in names)
    assert all(
        check.reason for checks in report.groups.values() for check in checks if check.limit is not None
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_a_real_manifest_keeps_to_the_published_schema(bundles, name):
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    manifest = json.loads((bundles[name].folder / MANIFEST).read_text(encoding="utf-8"))
    jsonschema.validate(manifest, schema)


def test_an_artifact_without_phantom_fails(copy):
    folder, rehash = copy

    def silence(tensor):
        if tensor.name.endswith("gate.scale"):
            scaled(tensor, 0)

    edit_decoder(folder, silence)
    failed = {check.name for check in verify(rehash(), tokens=TOKENS).failures}
    assert {"phantom dimension present", "logits, prefill and cached decode"} <= failed


def test_one_wrong_integer_fails(copy):
    folder, rehash = copy
    found = []

    def flip(tensor):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.uint8 and array.size > 64 and not found:
            found.append(tensor.name)
            changed = array.copy()
            changed.flat[0] ^= 1
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))

    edit_decoder(folder, flip)
    report = verify(rehash(), tokens=TOKENS)
    assert found
    assert report.groups[STRUCTURE][0].value == 1
    assert not report.ok


def test_one_norm_two_percent_off_fails_the_structure(copy):
    """The quantisation hides this; the run without the platform's rounding does not."""
    folder, rehash = copy

    def nudge(tensor):
        if tensor.name.endswith("layers.1.norm2.weight"):
            scaled(tensor, 1.02)

    edit_decoder(folder, nudge)
    report = verify(rehash(), tokens=TOKENS)
    assert "prefill logits" in {check.name for check in report.groups[UNROUNDED] if check.passed is False}


def test_an_int8_cache_is_held_to_its_own_grid(tiny_dirs, tmp_path):
    """Its rounding is the artifact's own, so the structure stays tight; a scale that is not the model's is
    found.
    """
    options = {"quantize": QuantizeOptions("int4"), "kv_cache": "int8", "context": 128, "verify": False}
    bundle = export(
        ExportRequest("desktop", str(tiny_dirs["qwen2"]), output=tmp_path / "b", **options)
    ).bundle
    assert bundle.manifest.kv_cache == "int8"
    assert not bundle.browser
    assert not list(bundle.folder.rglob("*config.json")), "what other packages read says that they can run it"
    report = verify(bundle, tokens=TOKENS)
    assert report.ok, report.failures
    assert "cache scales that differ" in {check.name for check in report.groups[STRUCTURE]}
    source = Pretrained.open(tiny_dirs["qwen2"])
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id).quantized(
        load_recipe("int4")
    )
    own = stored_cache(bundle.folder)
    scales = KVScales(tuple(1.5 * keys for keys in own.keys), own.values)
    report = verify(bundle, model=model.with_kv(scales), tokens=TOKENS)
    failed = {check.name: check.value for check in report.failures}
    assert failed["cache scales that differ"] == model.config.decoder.layers


def test_another_checkpoint_is_refused(bundles, tiny_dirs):
    with pytest.raises(InputError, match="not the checkpoint that"):
        verify(bundles["onnx"], Pretrained.open(tiny_dirs["phi3"]))


def test_a_checkpoint_that_has_moved_is_asked_for(copy):
    folder, rehash = copy
    source = json.loads((folder / MANIFEST).read_text())["source"] | {"name": "gone/for/good"}
    moved = source["origin"] | {"name": "/gone/for/good"}
    for origin in (moved, {**moved, "kind": "hub", "name": "gone/good", "commit": "0" * 40}, None):
        bundle = rehash(source=source | {"origin": origin})
        with pytest.raises(InputError, match=r"made from 'gone/for/good'.*give the checkpoint with --model"):
            verify(bundle)


def test_a_hub_id_in_a_manifest_is_not_looked_up_on_the_network(copy, monkeypatch):
    def connected(*arguments: object) -> None:
        raise AssertionError(f"connected to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", connected)
    folder, rehash = copy
    source = json.loads((folder / MANIFEST).read_text())["source"] | {"name": "someone/model"}
    bundle = rehash(source=source | {"origin": None})
    with pytest.raises(InputError, match=r"nor in the local cache of the hub.*with --model"):
        verify(bundle)


def test_your_own_picture_and_question(bundles):
    picture = default_images(56)["square"].resize((90, 61))
    report = verify(bundles["onnx"], tokens=4, image=picture, question="Which shape?")
    assert report.ok
    assert report.facts["prompts"].startswith("yours")


def test_a_failed_verification_discards_the_export(tiny_dirs, tmp_path, monkeypatch):
    from phantom_edge.runtime import tolerances

    impossible = {32: tolerances.Tolerance(-1.0, "nothing can be below")}
    monkeypatch.setattr(tolerances, "QUALITY", impossible)
    request = ExportRequest(
        target="web",
        model=str(tiny_dirs["qwen2"]),
        quantize=QuantizeOptions("fp32"),
        output=tmp_path / "out",
        context=128,
    )
    with pytest.raises(CheckError, match="discarded, because verification failed: KL divergence"):
        export(request)
    assert list(tmp_path.iterdir()) == []


def test_the_result_is_in_the_manifest_and_on_a_page(tiny_dirs, tmp_path):
    request = ExportRequest(target="web", model=str(tiny_dirs["phi3"]), output=tmp_path / "out", context=128)
    result = export(request)
    assert result.bundle.manifest.verification.ok
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Right: " in page
    assert "http" not in page.replace("http-equiv", "")
    assert Bundle.open(tmp_path / "out").manifest.recipe.name == "int8"


@pytest.mark.parametrize("name", FORMATS)
def test_a_session_on_a_bundle_answers_as_the_original_does(tiny_dirs, tmp_path, name):
    """fp32, so that the text must be equal: two turns about a picture, and one without."""
    request = ExportRequest(
        format=name,
        model=str(tiny_dirs["qwen2"]),
        quantize=QuantizeOptions("fp32"),
        output=tmp_path / name,
        context=160,
        verify=False,
    )
    sessions = (
        Session.of_source(Pretrained.open(tiny_dirs["qwen2"])),
        Session.open(export(request).bundle.folder),
    )
    answers = []
    for session in sessions:
        chat = session.chat(default_images(56)["wide"])
        turns = ["".join(chat.ask(question, max_tokens=12)) for question in ("What colour?", "And how many?")]
        answers.append([*turns, "".join(session.generate("What is 2+2?", max_tokens=12))])
    assert answers[0] == answers[1]
    assert all(answers[0])


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_passes_its_own_test(bundles, name):
    """What an app does on the device: the recorded inputs through the artifact give the recorded outputs."""
    session, golden = Session.of_bundle(bundles[name]), Golden.read(bundles[name].folder)
    checks = self_test(session, golden)
    assert all(check.passed for check in checks), checks
    spoiled = replace(golden, image_features=golden.image_features[:, ::-1])
    failing = [check.name for check in self_test(session, spoiled) if not check.passed]
    assert {name.partition(".")[0] for name in failing} == {"image_features"}


def test_divergence_by_hand():
    """KL of (3/4, 1/4) from (1/2, 1/2) is 3/4 ln(3/2) + 1/4 ln(1/2)."""
    truth, model = np.log([[3.0, 1.0]]), np.zeros((1, 2))
    assert divergence(truth, model) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert divergence(truth, truth + 5.0) == pytest.approx(0.0, abs=1e-12)


def test_prompts_that_do_not_fit_are_left_out_or_refused(tiny_dirs):
    source = Pretrained.open(tiny_dirs["qwen2"])
    spec = PromptSpec.of_source(source, folded=True)
    assert [p.name for p in prompts(spec, source.tokenizer, 10_000)] == ["square", "wide", "text"]
    shortest = min(len(p.ids) for p in prompts(spec, source.tokenizer, 10_000))
    assert len(prompts(spec, source.tokenizer, shortest)) == 1
    with pytest.raises(InputError, match="no prompt fits"):
        prompts(spec, source.tokenizer, shortest - 1)


def test_chunks_do_not_change_a_trace(tiny_dirs):
    from phantom_edge.model.original import PhantomModel

    source = Pretrained.open(tiny_dirs["qwen2"])
    prompt = prompts(PromptSpec.of_source(source, folded=True), source.tokenizer, 10_000)[1]
    traces = []
    for chunk in (7, 10_000):
        backend = TorchBackend(PhantomModel(source.config, source.checkpoint), 10_000, chunk)
        traces.append(trace_prompt(backend, prompt, source.config.image_token_id, 3))
    assert np.abs(traces[0][0].logits - traces[1][0].logits).max() < 1e-4
    assert traces[0][1] == traces[1][1]


def test_a_run_that_has_no_room_is_said_to_be_left_out(bundles, monkeypatch):
    from phantom_edge.errors import NoRoomError
    from phantom_edge.runtime.onnx_backend import OnnxBackend

    make = OnnxBackend.__init__

    def no_room(self, folder, *, mode="stock", **options):
        if mode == "lifted":
            raise NoRoomError("the lifted weights need 28 GB, 24 are free")
        make(self, folder, mode=mode, **options)

    monkeypatch.setattr(OnnxBackend, "__init__", no_room)
    report = verify(bundles["onnx"], tokens=4)
    assert report.ok
    assert [(c.name, c.passed, c.detail) for c in report.groups[UNROUNDED]] == [
        ("left out", None, "the lifted weights need 28 GB, 24 are free")
    ]
