"""Loading: lazily, in any dtype, sharded or not; and every way a folder can be wrong, found before any
work.
"""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from phantom_edge.checkpoint.hub import resolve
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.stored import INDEX, StoredTensor
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
    monkeypatch.setattr(StoredTensor, "read", lambda self: pytest.fail(f"read {self.key}"))
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


HEAD, EMBEDDING = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recomputed_buffers_and_a_repeated_tied_head_are_left_out(folder, dtype):
    def add(tensors):
        tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
        tensors[EMBEDDING] = tensors[EMBEDDING].bfloat16()
        tensors[HEAD] = tensors[EMBEDDING].to(dtype)

    before = Checkpoint.open(folder).parameters
    edit(folder, add)
    if dtype == torch.float64:
        with pytest.raises(InputError, match=r"lm_head.weight differs"):
            Checkpoint.open(folder)
    else:
        assert Checkpoint.open(folder).parameters == before


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_a_tied_head_of_its_own_is_refused_and_untied_used(folder, value):
    def add(tensors):
        tensors[HEAD] = tensors[EMBEDDING].clone()
        tensors[HEAD][-1, -1] = value

    edit(folder, add)
    with pytest.raises(InputError, match=r"lm_head.weight differs .* set tie_word_embeddings to false"):
        Checkpoint.open(folder)
    config = json.loads((folder / "config.json").read_text())
    config["llm_config"]["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    if value == 1.5:
        assert Checkpoint.open(folder)["text_decoder.head.weight"][-1, -1] == 1.5


def test_a_large_tied_head_is_compared_to_its_end(folder, monkeypatch):
    monkeypatch.setattr("phantom_edge.checkpoint.stored._COMPARED", 1000)
    test_a_tied_head_of_its_own_is_refused_and_untied_used(folder, 1.5)


def test_the_same_tensor_in_two_shards_and_weights_beside_the_index_are_refused(tmp_path):
    folder = write_checkpoint(tmp_path / "two", TINY, shards=2)
    first, second = (folder / f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    whole = load_file(second)
    save_file(whole | {EMBEDDING: torch.zeros(320, 64)}, second)
    with pytest.raises(InputError, match=r"in more than one shard: .*embed_tokens"):
        Checkpoint.open(folder)
    save_file(whole, second)
    shutil.copy(first, folder / WEIGHTS)
    with pytest.raises(InputError, match=r"model.safetensors beside the weights, not in model"):
        Checkpoint.open(folder)
    (folder / INDEX).unlink()
    with pytest.raises(InputError, match=r"model-00001-of-00002.*beside the weights, without an index"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_that_a_training_wrapper_prefixed_are_read(tmp_path, folder, prefix):
    expected = {name: tensor.clone() for name, tensor in Checkpoint.open(folder).items()}
    tensors = load_file(folder / WEIGHTS)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / WEIGHTS)
    checkpoint = Checkpoint.open(folder)
    assert all(torch.equal(checkpoint[name], tensor) for name, tensor in expected.items())


def test_a_value_that_is_not_finite_is_named_in_any_tensor(folder):
    for key in ("language_model.model.norm.weight", "vision_model.encoder.layers.0.ls1", EMBEDDING):
        for value in (float("nan"), float("inf")):
            whole = load_file(folder / WEIGHTS)
            spoiled = whole[key].clone()
            spoiled.view(-1)[3] = value
            save_file(whole | {key: spoiled}, folder / WEIGHTS)
            with pytest.raises(InputError, match=f"{key} holds a value that is not finite"):
                list(Checkpoint.open(folder).values())
            save_file(whole, folder / WEIGHTS)
    largest = torch.full((64,), torch.finfo(torch.float32).max)  # their sum is infinite, they are not
    save_file(whole | {"language_model.model.norm.weight": largest}, folder / WEIGHTS)
    assert Checkpoint.open(folder)["text_decoder.norm.weight"].isfinite().all()


def test_unreadable_weights_are_not_called_truncated(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/proc/self/mem")  # a file that opens and whose first byte cannot be read
    if not (folder / WEIGHTS).exists():
        pytest.skip("needs /proc")
    with pytest.raises(InputError, match="cannot be read") as caught:
        Checkpoint.open(folder)
    assert "download" not in str(caught.value)
    assert "truncated" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user with limits")
def test_weights_without_permission_are_named_so(folder):
    (folder / WEIGHTS).chmod(0)
    with pytest.raises(InputError, match="you may not read it"):
        Checkpoint.open(folder)


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
    with pytest.raises(InputError, match="not in the local cache, and HF_HUB_OFFLINE forbids"):
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
