"""Where a checkpoint came from is recorded, and opens the same one again, from any folder."""

import shutil

import pytest

from phantom_edge.bundle.manifest import ModelSource
from phantom_edge.checkpoint.origin import Origin
from phantom_edge.checkpoint.pretrained import NANO, NANO_NAME, Pretrained
from phantom_edge.errors import InputError
from phantom_edge.records import from_json, to_json

OLD, NEW = "0" * 40, "1" * 40


@pytest.fixture
def hub(tmp_path, tiny_dirs, monkeypatch):
    """The hub's cache with two commits of one model, ``v1`` and what ``main`` is now, and no network."""
    cache = tmp_path / "hub" / "models--someone--phantom-tiny"
    (cache / "refs").mkdir(parents=True)
    for commit, names, family in ((OLD, ("v1",), "qwen2"), (NEW, ("main",), "phi3")):
        shutil.copytree(tiny_dirs[family], cache / "snapshots" / commit)
        for name in names:
            (cache / "refs" / name).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return cache


def test_a_revision_is_recorded_with_its_commit_and_opened_again(hub):
    source = Pretrained.open("someone/phantom-tiny", revision="v1")
    assert source.origin == Origin("hub", "someone/phantom-tiny", "v1", OLD)
    assert Pretrained.reopen(source.origin).config == source.config
    (hub / "refs" / "v1").write_text(NEW)  # the tag has moved since
    assert Pretrained.reopen(source.origin).sha256() == source.sha256()
    assert Pretrained.open("someone/phantom-tiny").config.decoder.type == "phi3"


def test_what_is_not_in_the_cache_is_not_asked_for(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="nor in the local cache of the hub; give it with --model"):
        Pretrained.reopen(Origin("hub", "someone/else", None, OLD))


def test_a_relative_folder_is_found_from_another_one(tiny_dirs, tmp_path, monkeypatch):
    shutil.copytree(tiny_dirs["qwen2"], tmp_path / "my" / "model")
    monkeypatch.chdir(tmp_path)
    source = Pretrained.open("my/model")
    assert source.origin == Origin("folder", str(tmp_path / "my" / "model"))
    hashes = source.sha256()
    monkeypatch.chdir("/")
    assert Pretrained.reopen(source.origin).sha256() == hashes
    shutil.rmtree(tmp_path / "my")
    with pytest.raises(InputError, match="no such folder on this machine"):
        Pretrained.reopen(source.origin)


def test_the_embedded_model_is_found_wherever_it_is_installed():
    for model in (None, NANO_NAME, NANO):
        assert Pretrained.open(model).origin == Origin("embedded", NANO_NAME)


def test_an_earlier_manifest_without_an_origin_is_read():
    source = ModelSource("tiny", 1, {}, Origin("hub", "a/b", "v1", OLD))
    data = to_json(source)
    assert from_json(ModelSource, data) == source
    del data["origin"]
    assert from_json(ModelSource, data).origin is None
    with pytest.raises(InputError, match="name is missing"):
        from_json(ModelSource, {"parameters": 1, "sha256": {}})
