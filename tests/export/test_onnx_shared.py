"""A tied head that reads its integers out of the embedding's data file."""

from __future__ import annotations

import numpy as np
import pytest
from folded_models import backend_logits, integers, quantized, random_ids
from onnx_models import CHUNK, CONTEXT, embed, write

from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx import export, stored_weights
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.runtime.onnx_backend import OnnxBackend

LENGTH = 9


def data_bytes(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.onnx_data"))


@pytest.fixture
def both(tiny_dirs, tmp_path):
    """The model with a tied head, its files with the head stored twice, and its files that share."""
    model = quantized(tiny_dirs["qwen2"], "int4")
    plain, shared = tmp_path / "plain", tmp_path / "shared"
    for folder in (plain, shared):
        folder.mkdir()
    write(model, plain)
    export(model, ExportOptions(CONTEXT, CHUNK, "fp32", (2,), share_data=True), shared, lambda _: None)
    return model, plain, shared


def test_the_head_is_stored_once(both):
    model, plain, shared = both
    head = integers(model)["text_decoder.head"]
    assert isinstance(head, QuantizedTensor)
    assert data_bytes(plain) - data_bytes(shared) >= 0.9 * head.shape[0] * head.shape[1]


def test_integers_and_answers_are_the_same(both):
    model, plain, shared = both
    stored = stored_weights(shared)
    wanted = integers(model)
    assert set(stored) == set(wanted)
    for name, weight in wanted.items():
        assert bool((stored[name].values == weight.values).all()), name
    embeds = embed(model, random_ids(model, LENGTH))
    runs = [
        backend_logits(OnnxBackend(folder, context=CONTEXT, chunk=CHUNK, threads=1), embeds, [LENGTH])
        for folder in (plain, shared)
    ]
    np.testing.assert_array_equal(*runs)
