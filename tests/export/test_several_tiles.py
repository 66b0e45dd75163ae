"""Vision encoders for several sizes of tiles in one artifact of every format, beside torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from phantom_edge import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions, all_graphs
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.targets import FORMATS, format_for

CONTEXT, CHUNK = 96, 64
SIZES = (56, 28, 84)
FORMS = [name for name, known in FORMATS.items() if known.several_tiles]
NEEDS = {"coreai": "coreai_torch"}
STORED = ("onnx", "onnx-webgpu", "coreml")
"""Formats whose position embeddings are read back; others are compared as the exporter writes them."""
TOLERANCE = {"coreml": 0.03, "coreai": 1e-4, "onnx-webgpu": 1e-4}


def several(checkpoint: Path, recipe: str = "fp32") -> FoldedModel:
    """A tiny model for all of ``SIZES``."""
    source = Pretrained.open(checkpoint)
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    return model.with_tiles(source.checkpoint, SIZES[1:]).quantized(load_recipe(recipe))


def options_of(name: str, recipe: str) -> ExportOptions:
    return ExportOptions(CONTEXT, CHUNK, "fp16" if recipe != "fp32" else "fp32", (2,), name == "onnx")


def tiles(size: int, count: int = 2) -> np.ndarray:
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    noise = np.random.default_rng(size).random((count, 3, size, size), dtype=np.float32)
    return 0.7 * ramp[:, None] * ramp + 0.3 * noise


def relative(values: np.ndarray, expected: np.ndarray) -> float:
    assert values.shape == expected.shape
    return float(np.abs(values - expected).max() / np.sqrt(np.square(expected).mean()))


def test_torch_computes_each_size_as_a_model_of_that_size_alone(tiny_dirs):
    source, model = Pretrained.open(tiny_dirs["qwen2"]), several(tiny_dirs["qwen2"])
    for size in SIZES:
        own = source.at_tile(size)
        alone = FoldedModel.of(own.config, own.checkpoint, Fold(), own.first_id)
        pixels = torch.from_numpy(tiles(size))
        assert model.encode_image(pixels).shape[1] == own.config.tokens_per_tile == (size // 28) ** 2
        assert torch.equal(model.encode_image(pixels), alone.encode_image(pixels))
    assert list(all_graphs(model.spec).items())[3:] == [("vision_encoder_28", 28), ("vision_encoder_84", 84)]


@pytest.fixture(scope="module")
def exports(tiny_dirs, tmp_path_factory):
    """The folder of each format's artifact, and the model it was made of."""
    made: dict[str, tuple[Path, FoldedModel]] = {}

    def export(name: str, recipe: str = "fp32") -> tuple[Path, FoldedModel]:
        if name in NEEDS:
            pytest.importorskip(NEEDS[name], reason=f"needs {NEEDS[name]}")
        key = f"{name} {recipe}"
        if key not in made:
            out, model = tmp_path_factory.mktemp("tiles"), several(tiny_dirs["qwen2"], recipe)
            exported = format_for(name).export(model, options_of(name, recipe), out, lambda _: None)
            assert {"vision_encoder_28", "vision_encoder_84"} <= exported.files.keys()
            made[key] = out, model
        return made[key]

    return export


@pytest.mark.parametrize("name", FORMS)
def test_every_size_gives_torchs_image_tokens(exports, name):
    folder, model = exports(name)
    backend = format_for(name).load(folder, context=CONTEXT, chunk=CHUNK)
    for size in SIZES:
        pixels = tiles(size)
        expected = model.encode_image(torch.from_numpy(pixels)).numpy()
        assert relative(backend.encode_image(pixels), expected) < TOLERANCE.get(name, 1e-4), size
    with pytest.raises(InputError, match=re.escape("[2, 3, 112, 112]") if name != "coreml" else "112"):
        backend.encode_image(tiles(112))


@pytest.mark.parametrize("name", FORMS)
def test_one_size_may_be_loaded_at_once(exports, name):
    folder, model = exports(name)
    backend = format_for(name).load(folder, context=CONTEXT, chunk=CHUNK, tile_size=28)
    expected = model.encode_image(torch.from_numpy(tiles(28))).numpy()
    assert relative(backend.encode_image(tiles(28)), expected) < TOLERANCE.get(name, 1e-4)
    assert backend.encode_image(tiles(56)).shape[1] == 4


@pytest.mark.parametrize(
    ("name", "recipe"), [(name, "fp32") for name in FORMS] + [(name, "int8") for name in FORMS[:2]]
)
def test_what_is_read_back_is_what_was_written(exports, name, recipe):
    folder, model = exports(name, recipe)
    form = format_for(name)
    assert form.differences(folder, model, options_of(name, recipe)) == []
    assert set(form.graph_files(folder)) == set(all_graphs(model.spec))
    if name in STORED:
        floats = form.stored_floats(folder)
        for size in SIZES:
            table = model.spec.positions(size)
            assert torch.equal(floats[table].float(), model.weights[table].float()), table
        return
    other = dict(model.weights.items())  # as an artifact that holds another table would differ
    other[model.spec.positions(28)] = other[model.spec.positions(28)] + 0.5
    spoiled = FoldedModel(model.spec, other, model.fold, model.first_id, recipe=model.recipe)
    lines = form.differences(folder, spoiled, options_of(name, recipe))
    assert any("position_embedding_28" in line and "values" in line for line in lines), lines


def test_data_files_grow_by_the_position_embeddings_alone(exports):
    """Of ONNX, also for browsers, where each other graph has data of its own."""
    for name in ("onnx", "onnx-webgpu"):
        folder, model = exports(name, "int8")
        tables = [model.weights[model.spec.positions(size)] for size in SIZES[1:]]
        room = sum(table.numel() * table.element_size() + 64 for table in tables)
        data = [path.stat().st_size for path in (folder / "onnx").glob("vision_encoder_[0-9]*_data")]
        assert 0 < sum(data) <= room


def test_a_graph_that_reads_another_place_is_noticed(exports, tmp_path):
    """A further vision encoder whose weights are not the shared ones."""
    import onnx

    folder, model = exports("onnx")
    copy = tmp_path / "onnx"
    copy.mkdir()
    for path in (folder / "onnx").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    graph = onnx.load(str(copy / "vision_encoder_28.onnx"), load_external_data=False)
    moved = next(t for t in graph.graph.initializer if t.name.endswith("layers.0.qkv.weight"))
    offset = next(entry for entry in moved.external_data if entry.key == "offset")
    offset.value = str(int(offset.value) + 64)
    onnx.save_model(graph, str(copy / "vision_encoder_28.onnx"))
    lines = format_for("onnx").differences(tmp_path, model, options_of("onnx", "fp32"))
    assert lines == [
        "vision_encoder_28: constant vision_encoder.layers.0.qkv.weight is not that of vision_encoder"
    ]
