"""What people give in place of a checkpoint is named for what it is."""

import json
import shutil

import pytest

from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


@pytest.fixture
def folder(tmp_path, tiny_dirs):
    return shutil.copytree(tiny_dirs["qwen2"], tmp_path / "checkpoint")


def refused(folder) -> str:
    with pytest.raises(InputError) as caught:
        Checkpoint.open(folder)
    line = str(caught.value)
    assert len(line) < 300, line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer(folder, name):
    (folder / name).write_text(POINTER)
    assert f"{name}: is a Git LFS pointer, not the file; run `git lfs pull`" in refused(folder)


def test_a_bundle(folder):
    (folder / "manifest.json").write_text(json.dumps({"schema": 2, "graphs": {}}))
    assert "is a bundle, which is exported already; give the checkpoint" in refused(folder)
    (folder / "manifest.json").write_text(json.dumps({"name": "of another tool"}))
    assert Checkpoint.open(folder)


def test_a_lora_adapter(folder):
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "BK-Lee/Phantom-0.5B"})
    )
    assert "holds a LoRA adapter of BK-Lee/Phantom-0.5B" in refused(folder)  # beside whole weights
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / "config.json").unlink()
    assert "merge it into its checkpoint first" in refused(folder)


def test_gguf(folder):
    (folder / WEIGHTS).unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")
    assert "model-q4.gguf is GGUF for llama.cpp" in refused(folder)
    (folder / "config.json").unlink()
    assert "model-q4.gguf is GGUF for llama.cpp" in refused(folder)
    assert "is GGUF for llama.cpp" in refused(folder / "model-q4.gguf")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "last.ckpt"])
def test_pickles(folder, name):
    (folder / WEIGHTS).unlink()
    (folder / name).write_bytes(b"PK")
    line = refused(folder)
    assert f"only pickled weights ({name}), which can run code" in line
    assert "model.safetensors" in line


def test_a_folder_around_a_checkpoint_and_an_empty_one(folder, tmp_path):
    assert "checkpoint in it has one; give that folder" in refused(folder.parent)
    (tmp_path / "empty").mkdir()
    assert "no config.json; give the folder of a Phantom checkpoint" in refused(tmp_path / "empty")


def test_a_revision_of_a_folder_or_of_nano(folder):
    for model in (folder, None):
        with pytest.raises(InputError, match="--revision"):
            Pretrained.open(model, revision="v1")
