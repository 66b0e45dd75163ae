"""The vision encoder given back after a picture: its memory falls, and no answer changes."""

from __future__ import annotations

import gc
import os
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from phantom_edge.bench.machine import status_bytes
from phantom_edge.bundle.backend import Trimmable
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.export.base import ExportOptions
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Session
from phantom_edge.targets import format_for
from recipes.synthetic import TINY_FAMILIES, write_checkpoint

FORMATS = ("onnx", "executorch")
CONTEXT, CHUNK = 256, 64
VISION = "vision_encoder"
QUESTIONS = ("What colour is it?", "And how many?")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A checkpoint whose vision encoder is by far the largest part."""
    sizes = replace(TINY_FAMILIES["qwen2"], vision_hidden=256, vision_ffn=1024, vision_layers=12)
    return Pretrained.open(write_checkpoint(tmp_path_factory.mktemp("trim"), sizes, seed=3, dtype="float32"))


@pytest.fixture(scope="module", params=FORMATS)
def load(request, source, tmp_path_factory):
    """Opens the bundle's graphs in their own runtime, behind a session of these options."""
    kind, folder = format_for(request.param), tmp_path_factory.mktemp(request.param)
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    options = ExportOptions(CONTEXT, CHUNK, "fp32", source.config.end_ids)
    kind.export(model.quantized(load_recipe("fp32")), options, folder, lambda _: None)

    def opened(**options) -> Session:
        backend = kind.load(folder, context=CONTEXT, chunk=CHUNK, threads=1)
        return Session(backend, source.tokenizer, PromptSpec.of_source(source, folded=True), **options)

    return opened


@pytest.fixture(scope="module")
def pictures(source):
    """Two of one tile."""
    side = source.config.tile_size
    plain, drawn = (Image.new("RGB", (side, side), colour) for colour in ("navy", "white"))
    ImageDraw.Draw(drawn).rectangle((10, 10, side // 2, side // 3), fill="red")
    return plain, drawn


def loaded(session: Session) -> dict:
    """The runtime's objects of the graphs that are loaded, by name."""
    backend = session.backend
    return backend._sessions if hasattr(backend, "_sessions") else backend._methods


def answers(session: Session, pictures) -> list[str]:
    chats = [session.chat(picture) for picture in pictures]
    return ["".join(chat.ask(question, max_tokens=8)) for chat in chats for question in QUESTIONS]


def test_answers_are_the_same_without_the_vision_encoder_in_memory(load, pictures):
    kept, trimmed = load(), load(keep_vision=False)
    expected = answers(kept, pictures)
    assert VISION in loaded(kept)
    assert answers(trimmed, pictures) == expected
    assert VISION not in loaded(trimmed)
    assert len(set(expected)) > 1


def test_the_runtime_lets_the_vision_encoder_go_and_loads_another(load, pictures):
    session = load()
    assert isinstance(session.backend, Trimmable)
    tokens = session.encode_image(pictures[0])
    first = weakref.ref(loaded(session)[VISION])
    session.trim()
    session.trim()  # nothing is there any more
    gc.collect()
    assert first() is None
    assert sorted(loaded(session)) == ["text_decoder", "token_embedding"]
    assert np.array_equal(session.encode_image(pictures[0]), tokens)
    assert len(loaded(session)) == 3


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_resident_memory_falls_by_the_vision_encoder(load, pictures, source):
    """By its weights in fp32, less a tenth for what else moves meanwhile."""
    session, model = load(), FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    weights = sum(4 * weight.numel() for name, weight in model.weights.items() if name.startswith("vision"))
    session.encode_image(pictures[0])
    before = status_bytes("VmRSS")["VmRSS"]
    session.trim()
    after = status_bytes("VmRSS")["VmRSS"]
    assert weights > 30e6
    assert before - after > 0.9 * weights
