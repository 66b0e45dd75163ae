"""The two forms of ONNX Runtime's attention: which a session takes, and that both give the same logits."""

from __future__ import annotations

import os
import platform

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from folded_models import Exports, backend_logits, folded, quantized, random_ids, torch_logits
from onnx_models import CHUNK, CONTEXT, embed, write

from phantom_edge.export.onnx_layout import find
from phantom_edge.runtime import onnx_backend
from phantom_edge.runtime.onnx_attention import DISABLE_TILED, MAX_SCORE_BYTES, suits_untiled, untiled
from phantom_edge.runtime.onnx_backend import OnnxBackend

TOLERANCE = 1e-4  # fp32 on both sides, as in test_onnx_backend.py


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("attention"), write)


@pytest.fixture(scope="module")
def checkpoint(checkpoint_dirs):
    return next(iter(checkpoint_dirs.values()))


def decoder(exports, checkpoint, recipe: str) -> onnx.ModelProto:
    return onnx.load(find(exports(checkpoint, recipe)[0], "text_decoder"), load_external_data=False)


def attributes(model: onnx.ModelProto) -> list[dict[str, onnx.AttributeProto]]:
    nodes = [node for node in model.graph.node if node.op_type == "GroupQueryAttention"]
    return [{attribute.name: attribute for attribute in node.attribute} for node in nodes]


def test_the_graph_for_the_cpu_scales_its_queries(exports, checkpoint):
    model, d = decoder(exports, checkpoint, "int4"), folded(checkpoint).config.decoder
    assert [a["scale"].f for a in attributes(model)] == [1.0] * d.layers
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in (n for n in model.graph.node if n.op_type == "GroupQueryAttention"):
        product = makers[makers[node.input[0]].input[0]]  # of the Reshape that puts the heads side by side
        (factor,) = [makers[name] for name in product.input if makers[name].op_type == "Constant"]
        assert product.op_type == "Mul"
        assert factor.attribute[0].f == pytest.approx(d.head_dim**-0.5)


@pytest.mark.parametrize("mode", ["lifted", "stock"])
def test_both_forms_give_the_same_logits(exports, checkpoint, mode, monkeypatch):
    model, folder = quantized(checkpoint, "int4", "exact"), exports(checkpoint, "int4")[0]
    embeds = embed(model, random_ids(model, 40))
    logits = {}
    for whole in (True, False):
        monkeypatch.setattr(onnx_backend, "suits_untiled", lambda *_, whole=whole: whole)
        backend = OnnxBackend(folder, context=CONTEXT, chunk=CHUNK, threads=1, mode=mode)
        logits[whole] = backend_logits(backend, embeds, [30, *[1] * 10])
    if mode == "lifted":
        assert np.abs(logits[True] - logits[False]).max() < TOLERANCE
        expected = torch_logits(model, embeds, [40])
        assert np.abs(logits[True] - expected).max() < TOLERANCE
    assert logits[True].argmax() == logits[False].argmax()


def test_the_untiled_form_is_for_x86_and_for_scores_of_a_size_to_hold(exports, checkpoint, monkeypatch):
    model = decoder(exports, checkpoint, "int4")
    heads = attributes(model)[0]["num_heads"].i
    most = MAX_SCORE_BYTES // (4 * heads * CHUNK)
    for machine, suits in (("x86_64", True), ("AMD64", True), ("aarch64", False)):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert suits_untiled(model, most, CHUNK) is suits
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert not suits_untiled(model, most + 1, CHUNK)
    assert not suits_untiled(decoder(exports, checkpoint, "int8"), CONTEXT, CHUNK)  # scaled by the attention


def test_only_the_decoders_session_is_made_with_it(exports, checkpoint, monkeypatch):
    seen, session = [], ort.InferenceSession
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    def recorded(*arguments, **options):
        seen.append(os.environ.get(DISABLE_TILED))
        return session(*arguments, **options)

    monkeypatch.setattr("phantom_edge.runtime.onnx_graphs.ort.InferenceSession", recorded)
    OnnxBackend(exports(checkpoint, "int4")[0], context=CONTEXT, chunk=CHUNK, threads=1)
    assert sorted(value or "" for value in seen) == ["", "", "1"]
    assert DISABLE_TILED not in os.environ


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv(DISABLE_TILED, "0")
    with untiled(True):
        assert os.environ[DISABLE_TILED] == "0"
    assert os.environ[DISABLE_TILED] == "0"
