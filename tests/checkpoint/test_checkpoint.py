"""Loading: lazily, in any dtype, sharded or not; and every way a folder can be wrong, found before any
work.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from phantom_edge.checkpoint.loading import INDEX, Checkpoint, resolve
from phantom_edge.errors import InputError
from recipes.synthetic import TINY, TINY_FAMILIES, write_checkpoint

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path, tiny_dirs):
    return shutil.copytree(tiny_dirs["qwen2"], tmp_path / "checkpoint")


def edit(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_every_tensor_has_its_canonical_shape(tiny_dirs, family):
    checkpoint = Checkpoint.open(tiny_dirs[family])
    d = checkpoint.config.decoder
    qkv = checkpoint["text_decoder.layers.0.qkv.weight"]
    assert qkv.shape == ((d.heads + 2 * d.kv_heads) * d.head_dim, d.hidden_size)
    assert checkpoint["text_decoder.layers.1.gate_up.weight"].shape == (
        2 * d.intermediate_size,
        d.hidden_size,
    )
    assert all(checkpoint[name].isfinite().all() for name in checkpoint)


def test_internlm2_rows_are_laid_out_per_kv_head(tiny_dirs):
    checkpoint = Checkpoint.open(tiny_dirs["internlm2"])
    d = checkpoint.config.decoder
    stored = load_file(tiny_dirs["internlm2"] / WEIGHTS)[
        "language_model.model.layers.0.attention.wqkv.weight"
    ]
    q, k, v = checkpoint["text_decoder.layers.0.qkv.weight"].split([64, 32, 32])
    # The second kv head's block begins after 2 queries, k and v of 16 rows each; its first query is query 2.
    block = (d.heads // d.kv_heads + 2) * d.head_dim
    assert torch.equal(q[2 * d.head_dim : 3 * d.head_dim], stored[block : block + d.head_dim])
    assert torch.equal(k[d.head_dim :], stored[block + 2 * d.head_dim : block + 3 * d.head_dim])
    assert torch.equal(v[: d.head_dim], stored[3 * d.head_dim : 4 * d.head_dim])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_shards_and_dtypes_give_the_same_numbers(tmp_path, dtype):
    one = Checkpoint.open(write_checkpoint(tmp_path / "one", TINY, dtype=dtype))
    three = Checkpoint.open(write_checkpoint(tmp_path / "three", TINY, dtype=dtype, shards=3))
    assert len(three.files) == 3
    assert all(
        torch.equal(one[name], three[name]) and one[name].dtype == getattr(torch, dtype) for name in one
    )


def test_opening_reads_no_weights(folder, monkeypatch):
    monkeypatch.setattr(Checkpoint, "_read", lambda self, key: pytest.fail(f"read {key}"))
    assert len(Checkpoint.open(folder)) > 80


def test_a_missing_and_an_extra_key_are_both_listed(folder):
    edit(folder, lambda t: t.update(surprise=t.pop("vision_proj.1.bias")))
    with pytest.raises(InputError, match=r"missing: vision_proj.1.bias; not part of a Phantom: surprise"):
        Checkpoint.open(folder)


def test_a_wrong_shape_is_named_with_both_shapes(folder):
    edit(folder, lambda t: t.update({"vision_proj.1.bias": torch.zeros(3)}))
    with pytest.raises(InputError, match=r"vision_proj.1.bias is \[3\], expected \[64\]"):
        Checkpoint.open(folder)


def test_integers_are_refused(folder):
    edit(folder, lambda t: t.update({"vision_proj.1.bias": torch.zeros(64, dtype=torch.int32)}))
    with pytest.raises(InputError, match=r"not fp32, fp16 or bf16: vision_proj\.1\.bias is I32"):
        Checkpoint.open(folder)


def test_recomputed_buffers_and_a_second_tied_head_are_ignored(folder):
    def add(tensors):
        tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
        tensors["language_model.lm_head.weight"] = tensors["language_model.model.embed_tokens.weight"].clone()

    before = Checkpoint.open(folder).parameters
    edit(folder, add)
    assert Checkpoint.open(folder).parameters == before


@pytest.mark.parametrize("keep", [0, 5, 1000, -1000])
def test_a_truncated_file_is_refused(folder, keep):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])
    with pytest.raises(InputError, match="truncated, or no safetensors file"):
        Checkpoint.open(folder)


def test_a_pickle_is_refused(folder):
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickled weights"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, i: (f / "model-00002-of-00002.safetensors").unlink(), "shard missing: model-00002"),
        (lambda f, i: i["weight_map"].update({"x": "../../secrets.safetensors"}), "not the plain name"),
        (lambda f, i: i["weight_map"].update({"x": "model-00001-of-00002.safetensors"}), "disagree about x"),
        (lambda f, i: i.pop("weight_map"), "weight_map is missing"),
    ],
)
def test_a_bad_index_is_refused(tmp_path, change, message):
    folder = write_checkpoint(tmp_path / "two", TINY, shards=2)
    index = json.loads((folder / INDEX).read_text())
    change(folder, index)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        Checkpoint.open(folder)


def test_what_is_no_folder_and_no_hub_id(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="not a Hugging Face id"):
        resolve(tmp_path / "nowhere" / "at" / "all")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        resolve(tmp_path / "file")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the hub gave no checkpoint"):
        resolve("nobody/phantom-none")


def test_a_hub_id_comes_from_the_offline_cache(tmp_path, tiny_dirs, monkeypatch):
    """The cache's own layout: refs/main names a snapshot; nothing is asked of the network."""
    cache = tmp_path / "hub" / "models--someone--phantom-tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tiny_dirs["phi3"], cache / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Checkpoint.open("someone/phantom-tiny").config.decoder.type == "phi3"
