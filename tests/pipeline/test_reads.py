"""One export runs the original as seldom as it can, and hashes each of the checkpoint's files once."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from phantom_edge.checkpoint import pretrained
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.original import PhantomModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.quantize.options import QuantizeOptions


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many sequences each pass over the original's decoder was made for."""
    counts, run = [], PhantomModel.hidden_of_all

    def counted(self, embeds, caches):
        counts.append(len(embeds))
        return run(self, embeds, caches)

    monkeypatch.setattr(PhantomModel, "hidden_of_all", counted)
    return counts


@pytest.fixture
def hashed(monkeypatch) -> Counter[str]:
    """How often each file of a checkpoint was read to be hashed."""
    names: Counter[str] = Counter()
    sha256 = pretrained.file_sha256
    monkeypatch.setattr(pretrained, "file_sha256", lambda path: [names.update([path.name]), sha256(path)][1])
    return names


@pytest.mark.parametrize("fold", ["exact", "rank:8"])
def test_the_original_runs_for_the_fold_and_for_verify(tiny_dirs, tmp_path, passes, fold):
    """One pass for the first token and the certificate's probe, one for the tokens that an artifact chose."""
    export(ExportRequest("desktop", str(tiny_dirs["qwen2"]), output=tmp_path / "b", context=160, fold=fold))
    assert passes == [2, 3]


def test_without_verify_it_runs_once(tiny_dirs, tmp_path, passes):
    export(
        ExportRequest("desktop", str(tiny_dirs["qwen2"]), output=tmp_path / "b", context=160, verify=False)
    )
    assert passes == [2]


def test_one_pass_reads_every_weight_once(tiny_dirs):
    source, names = Pretrained.open(tiny_dirs["qwen2"]), Counter()

    class Counted(dict):
        def __getitem__(self, name):
            names.update([name])
            return super().__getitem__(name)

    model = PhantomModel(source.config, Counted(source.checkpoint.items()), keep=False)
    embeds = [model.embed(source_ids) for source_ids in _prompts(source)]
    names.clear()
    model.hidden_of_all(embeds, [model.make_cache() for _ in embeds])
    layers = {name: n for name, n in names.items() if name.startswith("text_decoder.layers.")}
    assert layers
    assert set(layers.values()) == {1}


def _prompts(source: Pretrained):
    import torch

    return [torch.tensor([[source.first_id, *range(5, 5 + n)]]) for n in (0, 3, 7)]


def test_a_calibrated_export_hashes_the_checkpoint_once(tiny_dirs, tmp_path, hashed):
    request = ExportRequest(
        "desktop",
        str(tiny_dirs["qwen2"]),
        output=tmp_path / "b",
        context=160,
        quantize=QuantizeOptions(method="rtn", samples=8),
    )
    assert export(request).report.ok
    assert set(hashed) == {"config.json", "model.safetensors"}
    assert set(hashed.values()) == {1}


def test_a_file_that_changed_is_hashed_again(tiny_dirs, tmp_path):
    folder = Path(shutil.copytree(tiny_dirs["qwen2"], tmp_path / "model"))
    source = Pretrained.open(folder)
    before = source.sha256()
    assert source.sha256() == before
    with (folder / "model.safetensors").open("r+b") as file:  # same size, same inode
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    after = source.sha256()
    assert after["config.json"] == before["config.json"]
    assert after["model.safetensors"] != before["model.safetensors"]
