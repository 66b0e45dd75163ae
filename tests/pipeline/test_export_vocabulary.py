"""Exports for a measured vocabulary: the rows, ids and files follow, and verify finds what is not so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import correct_hashes, edit_json
from folded_models import folded

from phantom_edge.bundle.folder import TOKENIZER, Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.bundle.vocabulary import KEPT, read_kept
from phantom_edge.checkpoint.pretrained import KEPT_IDS, Pretrained
from phantom_edge.errors import InputError
from phantom_edge.evaluate.job import build_suite, evaluate_models
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize import store
from phantom_edge.quantize.job import quantize
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.runtime.inspect import inspect
from phantom_edge.runtime.verify import verify
from phantom_edge.runtime.verify.questions import VOCABULARY
from phantom_edge.targets import format_for
from recipes.synthetic import TEXT

pytestmark = pytest.mark.slow
ROWS = ("token_embedding", "text_decoder.head")
TOKENS = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "questions.txt"
    path.write_text("".join(TEXT.splitlines(keepends=True)[:3]))
    return path


@pytest.fixture(scope="module", params=["qwen2", "internlm2"])
def pair(request, tiny_dirs, corpus, tmp_path_factory) -> tuple[Bundle, Bundle]:
    """A bundle with the whole vocabulary and one with a trimmed one: a tied head, and one of its own."""
    root = tmp_path_factory.mktemp(f"{request.param}-bundles")
    whole = ExportRequest("desktop", str(tiny_dirs[request.param]), output=root / "whole", context=256)
    export(replace(whole, verify=False))
    result = export(replace(whole, output=root / "trimmed", vocab=(str(corpus),)))
    assert result.report is not None
    names = [check.name for check in result.report.groups[VOCABULARY]]
    assert "texts that are encoded otherwise" in names
    return Bundle.open(root / "whole"), result.bundle


@pytest.fixture
def trimmed(pair) -> Bundle:
    return pair[1]


def test_integers_are_those_of_the_whole_vocabularys_rows(pair):
    whole, trimmed = (format_for("onnx").stored_weights(bundle.folder) for bundle in pair)
    kept = read_kept(pair[1])
    rows = torch.tensor(kept)
    assert 256 < len(kept) < whole["text_decoder.head"].shape[0]
    for name, weight in whole.items():
        expected = weight.rows(rows) if name in ROWS else weight
        assert torch.equal(trimmed[name].values, expected.values), name
        assert torch.equal(trimmed[name].scales, expected.scales), name


def test_ids_follow_in_every_file(pair):
    """The config files of stock runtimes name the tokens that they name in the whole bundle, by new ids."""
    whole, trimmed = pair
    kept = read_kept(trimmed)
    m, n = whole.manifest, trimmed.manifest
    assert [kept[i] for i in (n.ids.first, n.ids.image, *n.ids.end)] == [m.ids.first, m.ids.image, *m.ids.end]
    assert (n.vocabulary.kept, n.vocabulary.checkpoint) == (len(kept), m.shape.vocabulary)
    assert n.shape.vocabulary == n.config.decoder.vocab_size == len(kept)
    assert n.source.sha256.keys() - m.source.sha256.keys() == {KEPT_IDS}
    for name in ("genai_config.json", "generation_config.json", "config.json"):
        old, new = (json.loads((bundle.folder / name).read_text()) for bundle in pair)
        assert _with_ids(new, kept, m.shape.vocabulary) == old, name
    texts = [json.loads((bundle.folder / TOKENIZER).read_text()) for bundle in pair]
    assert len(texts[1]["model"]["merges"]) < len(texts[0]["model"]["merges"])
    report = inspect(str(trimmed.folder))
    assert report.facts["vocabulary"].startswith(f"{len(kept)} rows of {m.shape.vocabulary}")


def _with_ids(value, kept: tuple[int, ...], rows: int, name: str = ""):
    """A config with the checkpoint's ids again."""
    if isinstance(value, dict):
        return {key: _with_ids(item, kept, rows, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_ids(item, kept, rows, name) for item in value]
    if name == "vocab_size":
        return rows
    return kept[value] if name.endswith(("token_id", "token_index")) and value != -1 else value


def test_it_verifies_again_without_the_texts(trimmed):
    report = verify(Bundle.open(trimmed.folder), tokens=TOKENS)
    assert report.ok, report.verdict
    checks = {check.name: check for check in report.groups[VOCABULARY]}
    assert checks["pieces that are kept"].value == trimmed.manifest.vocabulary.kept
    assert 0 <= checks["original's choices that are gone"].value <= 1
    assert [table.title for table in report.tables] == ["Tokens per 1,000 characters"]


def changed(trimmed: Bundle, folder: Path, change) -> Bundle:
    """A copy that was changed by somebody who makes the hashes right again."""
    shutil.copytree(trimmed.folder, folder)
    change(folder)
    correct_hashes(folder)
    return Bundle.open(folder)


def test_another_list_of_ids_is_another_checkpoint(trimmed, tmp_path):
    def exchange(folder: Path) -> None:
        kept = read_kept(trimmed)
        gone = next(n for n in range(kept[-1]) if n not in kept)
        other = sorted({*kept, gone} - {next(n for n in kept if n > gone)})
        edit_json(folder / KEPT, lambda data: data.update(kept=[[n, n] for n in other]))

    bundle = changed(trimmed, tmp_path / "b", exchange)
    with pytest.raises(InputError):
        verify(bundle, tokens=TOKENS)


def test_exchanged_pieces_and_other_numbers_are_noticed(trimmed, tmp_path):
    def exchange(folder: Path) -> None:
        def swap(data) -> None:
            a, b = [piece for piece in data["model"]["vocab"] if len(piece) > 2][-2:]
            vocabulary = data["model"]["vocab"]
            vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]

        edit_json(folder / TOKENIZER, swap)
        edit_json(folder / MANIFEST, lambda m: m["vocabulary"].update(checkpoint=999))

    report = verify(changed(trimmed, tmp_path / "b", exchange), tokens=TOKENS)
    assert {"tokenizer rules that differ", "manifest fields that differ"} <= {c.name for c in report.failures}


def test_a_vocabulary_without_a_merge_is_noticed(pair, tmp_path, tiny_dirs, monkeypatch):
    """Verify finds what is wrong with the kept ids themselves, were an export to choose them wrongly."""
    from phantom_edge.pipeline import export as pipeline
    from phantom_edge.pipeline import vocabulary
    from phantom_edge.text.pieces import Pieces

    whole = Pretrained.reopen(pair[1].manifest.source.origin)
    pieces = Pieces.of(whole.tokenizer)
    kept = read_kept(pair[1])
    long = max((n for n in kept if n not in pieces.always), key=lambda n: len(pieces.constituents(n)))
    lost = max(pieces.constituents(long) - pieces.always - {long})
    right = vocabulary.measure

    def wrong(*args, **options):
        measured = right(*args, **options)
        return replace(measured, kept_ids=tuple(n for n in measured.kept_ids if n != lost))

    monkeypatch.setattr(vocabulary, "measure", wrong)
    model = str(whole.checkpoint.folder)
    request = ExportRequest("desktop", model, output=tmp_path / "b", context=256, vocab=("en",), verify=False)
    bundle = pipeline.export(request).bundle
    failures = {check.name for check in verify(bundle, tokens=TOKENS).failures}
    assert "kept pieces that lack one that makes them" in failures


def test_a_finished_quantisation_gives_its_rows(tiny_dirs, corpus, tmp_path):
    """Integers that were chosen for the whole vocabulary serve a smaller one, row by row."""
    source = Pretrained.open(tiny_dirs["qwen2"])
    options = QuantizeOptions("int4", method="rtn", samples=8, kv_cache=False)
    model = ExportRequest("desktop", str(tiny_dirs["qwen2"]), context=256, output=tmp_path / "b")
    quantization = quantize(source, folded(tiny_dirs["qwen2"]), options)
    file = store.save(tmp_path / "whole.safetensors", quantization)
    request = replace(model, quantize=QuantizeOptions(str(file)), vocab=(str(corpus),))
    bundle = export(request).bundle
    kept = read_kept(bundle)
    stored = format_for("onnx").stored_weights(bundle.folder)
    for name in ROWS:
        expected = quantization.integers[name].rows(torch.tensor(kept))
        assert torch.equal(stored[name].values, expected.values)
    sizes = {row.name: row.bytes for row in bundle.manifest.quantization.modules}
    assert sizes["text_decoder.head"] == stored["text_decoder.head"].nbytes
    other = source.trimmed(kept)
    assert store.for_source(quantization, source) is quantization
    with pytest.raises(InputError, match="made from another checkpoint"):
        store.for_source(store.for_source(quantization, other), source)
    with pytest.raises(InputError, match="made from another checkpoint"):
        store.for_source(quantization, Pretrained.open().trimmed(tuple(range(768))))


def test_eval_counts_what_of_other_replies_is_gone(trimmed, pair):
    suite = build_suite(tasks=["colour", "sign"], samples=2)
    results = evaluate_models([trimmed.folder, pair[0].folder], suite)
    ((gone,), none) = (result.gone for result in results)
    assert not none
    whole, kept = Pretrained.reopen(trimmed.manifest.source.origin).tokenizer, set(read_kept(trimmed))
    ids = [index for record in results[1].records for index in whole.encode(record.reply)]
    assert (gone.model, gone.tokens) == (results[1].model, len(ids))
    assert gone.gone == sum(index not in kept for index in ids)
    assert results[0].to_dict()["gone"][0]["tokens"] == len(ids)


def test_nothing_is_written_for_bad_input(tiny_dirs, tmp_path):
    binary = tmp_path / "texts"
    binary.mkdir()
    (binary / "a.png").write_bytes(b"\x89PNG\0")
    before = sorted(tmp_path.iterdir())
    for vocab, size, message in (
        (("nolang",), None, "no file, folder or preset"),
        ((str(binary),), None, "not UTF-8 text at byte 0"),
        ((), 100, "--vocab-size goes with --vocab"),
        (("en",), 100, "allow that many"),
    ):
        request = ExportRequest(
            "desktop", str(tiny_dirs["qwen2"]), output=tmp_path / "b", vocab=vocab, vocab_size=size
        )
        with pytest.raises(InputError, match=message):
            export(request)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("target", ["web", "webgpu", "android", "ios"])
@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
def test_every_format_takes_it(family, target, tiny_dirs, corpus, tmp_path):
    model = str(tiny_dirs[family])
    result = export(ExportRequest(target, model, output=tmp_path / "b", context=128, vocab=(str(corpus),)))
    assert result.report is not None
    assert result.report.ok
    assert verify(Bundle.open(tmp_path / "b"), tokens=TOKENS).ok
