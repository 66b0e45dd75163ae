"""Names and values of the GGUF that llama.cpp gets; a stand-in serves for its package, which is not one of
ours.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.make_checkpoint import make_checkpoint
from phantom_edge.checkpoint.loading import Checkpoint
from recipes.synthetic import TINY


@pytest.fixture
def gguf(monkeypatch):
    stub = ModuleType("gguf")
    stub.GGMLQuantizationType = SimpleNamespace(BF16=30, Q8_0=8, F32=0)
    stub.GGUFWriter = object
    monkeypatch.setitem(sys.modules, "gguf", stub)
    monkeypatch.delitem(sys.modules, "benchmarks.gguf", raising=False)
    import benchmarks.gguf as module

    yield module
    sys.modules.pop("benchmarks.gguf", None)


def test_every_tensor_but_phantoms_has_a_name_of_llama_cpp(gguf, tmp_path):
    stored = Checkpoint.open(make_checkpoint(tmp_path, TINY)).stored
    named = {key: gguf.names_of(key) for key in stored}
    assert {key for key, names in named.items() if not names} == {key for key in stored if "phantom" in key}
    names = [name for found in named.values() for name in found]
    assert len(names) == len(set(names))
    # As in llama.cpp's gguf-py/gguf/constants.py and tools/mtmd/clip-impl.h.
    assert {"token_embd.weight", "blk.1.attn_q.bias", "blk.0.ffn_down.weight", "output_norm.weight"} <= set(
        names
    )
    assert {"v.class_embd", "v.blk.1.attn_k.weight", "v.blk.0.ls2.weight", "mm.model.mlp.3.bias"} <= set(
        names
    )


def test_bf16_is_read_exactly(gguf, tmp_path):
    folder = make_checkpoint(tmp_path, TINY)
    ours, theirs = gguf.Bf16Checkpoint(folder), Checkpoint.open(folder)
    key = "language_model.model.layers.0.mlp.down_proj.weight"
    np.testing.assert_array_equal(ours[key], theirs._read(key).to(torch.float32).numpy())
