"""Core AI: assets written by Apple's converter, read again, and run by its CPU runtime."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from executorch_models import random_tiles
from folded_models import Exports, backend_logits, integers, quantized, random_ids, torch_logits

from phantom_edge.errors import CheckError, InputError
from phantom_edge.export import coreai
from phantom_edge.export.base import ExportOptions
from phantom_edge.model.rope import static_tables
from phantom_edge.runtime.coreai_backend import CoreaiBackend

pytestmark = pytest.mark.slow

pytest.importorskip("coreai_torch", reason="needs coreai-torch (the extra `coreai`)")

CONTEXT, CHUNK = 40, 8
OPTIONS = ExportOptions(CONTEXT, CHUNK, "fp32", (2,))


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return Exports(
        tmp_path_factory.mktemp("coreai"),
        lambda model, out: coreai.export(model, OPTIONS, out, lambda _: None),
    )


@pytest.fixture(scope="module", params=["qwen2 int4", "phi3 int8"])
def case(request, exports, tiny_dirs):
    """Model, folder, what the exporter said, backend: grouped queries in int4, and plain ones in int8."""
    family, recipe = request.param.split()
    model = quantized(tiny_dirs[family], recipe)
    folder, exported = exports(tiny_dirs[family], recipe)
    return model, folder, exported, CoreaiBackend(folder, context=CONTEXT, chunk=CHUNK)


def random_embeds(model, count: int) -> np.ndarray:
    """Embeddings [1, count, hidden] of random ids that begin with the folded first token."""
    import torch

    return model.embed(torch.from_numpy(random_ids(model, count))).numpy()


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.sqrt(np.mean(wanted**2)))


def test_image_tokens_and_embeddings_are_the_torch_models(case):
    import torch

    model, _, _, backend = case
    tiles, ids = random_tiles(model, 2), random_ids(model, 2 * CHUNK + 3)
    close(backend.encode_image(tiles), model.encode_image(torch.from_numpy(tiles)).numpy())
    close(backend.embed(ids), model.embed(torch.from_numpy(ids)).numpy())


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNK, CHUNK, 1],
        [3, 1, 5, CHUNK, 2],  # calls of prefill that are filled up, and written over by the next
        [CHUNK, CHUNK, CHUNK, CHUNK, 3, 5],  # a last call that a whole prefill would carry past the context
    ],
)
def test_logits_are_the_torch_models_in_any_pieces(case, pieces):
    model, _, _, backend = case
    embeds = random_embeds(model, sum(pieces))
    close(backend_logits(backend, embeds, pieces), torch_logits(model, embeds, pieces))


def test_float16_matrices_and_a_compressed_phantom_keep_their_values(exports, tiny_dirs):
    model = quantized(tiny_dirs["internlm2"], "fp16", "rank:8")
    folder, _ = exports(tiny_dirs["internlm2"], "fp16", "rank:8")
    embeds = random_embeds(model, CHUNK + 1)
    found = backend_logits(CoreaiBackend(folder, context=CONTEXT, chunk=CHUNK), embeds, [CHUNK, 1])
    close(found, torch_logits(model, embeds, [CHUNK, 1]))
    assert not coreai.stored_weights(folder)


def test_two_caches_do_not_see_each_other(case):
    model, _, _, backend = case
    embeds = random_embeds(model, 6)
    first, second = backend.make_cache(), backend.make_cache()
    backend.decode(embeds[:, :5], first)
    backend.decode(embeds[:, 3:], second)
    close(backend.decode(embeds[:, 5:], first), torch_logits(model, embeds, [5, 1]))


def test_every_integer_is_the_models(case):
    model, folder, _, _ = case
    stored, wanted = coreai.stored_weights(folder), integers(model)
    assert stored.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert (stored[name].values == weight.values).all(), name
        assert (stored[name].scales == weight.scales).all(), name
        assert (stored[name].bits, stored[name].group) == (weight.bits, weight.group)


def test_counts_say_what_is_inside(case):
    model, _, exported, _ = case
    d = model.config.decoder
    assert exported.counts["vision_encoder"]["attention"] == model.config.vision.layers
    assert exported.counts["text_decoder"]["attention"] == d.layers
    assert exported.counts["text_decoder"]["states"] == 2 * d.layers


def test_an_export_differs_in_nothing_from_an_export(case, exports, tiny_dirs):
    model, folder, _, _ = case
    assert coreai.differences(folder, model, OPTIONS) == []
    stored = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert coreai.artifact_files(folder) == stored
    d = model.config.decoder
    for name, table in zip(("cos", "sin"), static_tables(d.rope, d.head_dim, CONTEXT), strict=True):
        assert (coreai.stored_floats(folder)[f"rope.{name}"] == table).all()
    compressed, _ = exports(tiny_dirs["internlm2"], "fp16", "rank:8")
    assert coreai.differences(compressed, quantized(tiny_dirs["internlm2"], "fp16", "rank:8"), OPTIONS) == []


def test_another_models_floats_context_and_chunk_are_noticed(case):
    model, folder, _, _ = case
    name = "text_decoder.layers.1.norm2.weight"
    other = {n: w * 1.001 if n == name else w for n, w in model.weights.items()}
    assert coreai.differences(folder, replace(model, weights=other), OPTIONS) == [
        f"text_decoder: {function}: {what}"
        for function in ("prefill", "decode")
        for what in (f"values of {name}", "1 float constants that are none of the model's")
    ]
    for options in (replace(OPTIONS, chunk=CHUNK + 1), replace(OPTIONS, context=CONTEXT - 1)):
        assert "text_decoder: prefill: declared inputs, outputs or states" in coreai.differences(
            folder, model, options
        )


def test_the_decoders_functions_share_their_weights(case):
    model, folder, _, _ = case
    size = (folder / "text_decoder.aimodel" / "main.mlirb").stat().st_size
    weights = [model.weights[n] for n in model.weights if n.startswith("text_decoder.")]
    stored = sum(w.nbytes if hasattr(w, "bits") else 4 * w.numel() for w in weights)
    assert size < 1.3 * stored + 120_000  # the operations of both


def test_functions_that_differ_are_refused(case):
    from phantom_edge.export.coreai.asset import Asset

    asset = Asset.open(case[1] / "text_decoder.aimodel")
    asset.counts()
    name = next(reversed(asset.functions))
    ops = asset.functions[name]
    position = next(n for n, op in enumerate(ops) if op.name == "coreai.blockwise_shift_scale")
    asset.functions[name] = ops[:position] + ops[position + 1 :]
    with pytest.raises(CheckError, match="at another length"):
        asset.counts()


def test_a_prompt_that_does_not_fit_is_refused(case):
    model, folder, _, backend = case
    embeds = random_embeds(model, CHUNK)
    cache = backend.make_cache()
    for _ in range(CONTEXT // CHUNK):
        backend.decode(embeds, cache)
    with pytest.raises(InputError, match="do not fit a context"):
        backend.decode(embeds[:, :1], cache)
    with pytest.raises(InputError, match="export again"):
        CoreaiBackend(folder, context=CONTEXT + 1, chunk=CHUNK)


def test_damaged_and_foreign_assets_are_refused(case, tmp_path):
    import shutil

    with pytest.raises(InputError, match="not a Core AI asset"):
        coreai.stored_weights(tmp_path)
    for name in ("vision_encoder", "token_embedding", "text_decoder"):
        shutil.copytree(case[1] / f"{name}.aimodel", tmp_path / f"{name}.aimodel")
    metadata = tmp_path / "token_embedding.aimodel" / "metadata.json"
    content = json.loads(metadata.read_text())
    content["creatorDefinedMetadata"]["phantom_edge.weights"] *= 2
    metadata.write_text(json.dumps(content))
    with pytest.raises(InputError, match="1 quantised weights, 2 described"):
        coreai.stored_weights(tmp_path)
    program = tmp_path / "vision_encoder.aimodel" / "main.mlirb"
    program.write_bytes(program.read_bytes()[:1000])
    readers = (coreai.stored_weights, lambda folder: CoreaiBackend(folder, context=CONTEXT, chunk=CHUNK))
    for read in readers:
        with pytest.raises(InputError, match="SHA-256 differs"):
            read(tmp_path)
    # Apple's reader ends the process over this one, whose hash is right.
    digest = hashlib.sha256(program.read_bytes()).digest()
    program.with_name("main.hash").write_bytes(digest)
    metadata.write_text((case[1] / "token_embedding.aimodel" / "metadata.json").read_text())
    for read in readers:
        with pytest.raises(InputError, match="not a Core AI program"):
            read(tmp_path)
