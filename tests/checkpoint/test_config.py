"""config.json: every dimension from the file, every missing or contradictory field named."""

import copy
import json
import math
import shutil

import pytest

from phantom_edge.checkpoint.config import PhantomConfig, knowledge, read_json
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.published import published_config
from phantom_edge.checkpoint.tailored import at_tile_size
from phantom_edge.errors import InputError
from recipes.synthetic import TINY_FAMILIES


def published(family="qwen2", **changes):
    config = published_config(TINY_FAMILIES[family], image_token_id=5, end_id=2)
    for path, value in changes.items():
        *sections, name = path.split("__")
        where = config
        for section in sections:
            where = where[section]
        where[name] = value
    return config


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_dimensions_come_from_the_file(family):
    sizes, config = TINY_FAMILIES[family], PhantomConfig.from_dict(published(family))
    assert (config.decoder.type, config.decoder.layers, config.decoder.kv_heads) == (
        family,
        sizes.layers,
        sizes.kv_heads,
    )
    assert config.tile_size == sizes.image_size
    assert config.tokens_per_tile == (sizes.image_size // sizes.patch_size // 2) ** 2
    assert config.decoder.rope.kind == {"qwen2": "default", "internlm2": "dynamic", "phi3": "su"}[family]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "llava"}, "llava"),
        ({"llm_config__model_type": "mamba"}, "mamba"),
        ({"llm_config__hidden_size": None}, "hidden_size is missing"),
        ({"vision_config__num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"llm_config__num_attention_heads": 7}, "no multiple of num_attention_heads"),
        ({"llm_config__num_key_value_heads": 3}, "no multiple of num_key_value_heads"),
        ({"llm_config__hidden_size": -64}, "hidden_size is -64"),
        ({"llm_config__hidden_size": 1 << 40}, "hidden_size is"),
        ({"llm_config__hidden_size": "64"}, "expected a number"),
        ({"llm_config__num_hidden_layers": True}, "expected a number"),
        ({"force_image_size": 224}, "contradicts"),
        ({"vision_config__image_size": 50}, "no multiple of twice patch_size"),
        ({"vision_config__qk_normalization": True}, "qk_normalization"),
        ({"vision_config__norm_type": "rms_norm"}, "norm_type"),
        ({"downsample_ratio": 0.25}, "downsample_ratio"),
        ({"image_token_index": 10**6}, "image_token_index"),
        ({"image_token_index": True}, "image_token_index"),
        ({"eos_token_id": None}, "eos_token_id"),
        ({"llm_config": None}, "llm_config is missing"),
    ],
)
def test_what_is_wrong_is_named(changes, named):
    with pytest.raises(InputError, match=named) as caught:
        PhantomConfig.from_dict(published(**changes))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


DYNAMIC = {"type": "dynamic", "factor": 2.0}


def rope(family, **fields):
    """What becomes of a published config whose rotary embedding is written so; None removes a field."""
    config = published(family)
    decoder = config["llm_config"] | fields
    config["llm_config"] = {name: value for name, value in decoder.items() if value is not None}
    return PhantomConfig.from_dict(config).decoder.rope


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_the_rotary_embedding_is_read_as_every_transformers_writes_it(family):
    decoder = published(family)["llm_config"]
    expected, theta = rope(family), decoder["rope_theta"]
    old = decoder.get("rope_scaling") or {"type": "default"}
    named = {"su": "longrope"}.get(old["type"], old["type"])
    newer = {name: value for name, value in old.items() if name != "type"} | {"rope_type": named}
    original = decoder.get("original_max_position_embeddings")
    five = newer | {"rope_theta": theta, "original_max_position_embeddings": original}
    if family == "phi3":
        five |= {"partial_rotary_factor": 1.0, "factor": 32.0, "attention_factor": 1.190238}
        five["attention_factor"] = (1 + math.log(32) / math.log(4096)) ** 0.5
    for fields in (
        {"rope_scaling": newer},
        {"rope_scaling": newer | {"type": old["type"]}},
        {"rope_theta": None, "rope_scaling": None, "rope_parameters": five},
        {
            "rope_theta": None, "rope_scaling": None, "rope_parameters": five,
            "original_max_position_embeddings": None,
        },
        {"rope_parameters": five},
    ):  # fmt: skip
        assert rope(family, **fields) == expected, fields


@pytest.mark.parametrize(
    ("family", "fields", "named"),
    [
        ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "rope_theta contradicts"),
        ("qwen2", {"rope_theta": None, "rope_parameters": {"rope_type": "default"}}, "rope_theta is missing"),
        ("qwen2", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope type is 'yarn'"),
        ("qwen2", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope type is 'llama3'"),
        ("qwen2", {"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}}, "mrope_section"),
        ("qwen2", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
        ("qwen2", {"rope_scaling": ["dynamic"]}, "rope_scaling is no object"),
        ("qwen2", {"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1"),
        ("internlm2", {"rope_scaling": DYNAMIC | {"rope_type": "default"}}, "type contradicts"),
        ("internlm2", {"rope_parameters": DYNAMIC | {"factor": 3.0}}, "factor contradicts"),
        ("internlm2", {"rope_scaling": DYNAMIC | {"factor": None}}, "factor is missing"),
        (
            "internlm2",
            {"original_max_position_embeddings": 77},
            "original_max_position_embeddings contradicts",
        ),
        ("phi3", {"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "factor contradicts 4096"),
        ("phi3", {"rope_parameters": {"attention_factor": 1.5}}, "attention_factor contradicts 4096"),
        ("phi3", {"original_max_position_embeddings": 1}, "expected at least 2"),
        ("phi3", {"sliding_window": 2047}, "sliding_window 2047 is less"),
        ("qwen2", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("qwen2", {"head_dim": 128}, "head_dim contradicts"),
        ("qwen2", {"tie_word_embeddings": "false"}, "tie_word_embeddings is no boolean"),
    ],
)
def test_a_rotation_or_attention_that_is_not_computed_is_named(family, fields, named):
    with pytest.raises(InputError, match=named):
        rope(family, **fields)


def test_windows_that_reach_back_to_the_first_token_change_nothing():
    assert rope("phi3", sliding_window=262144) == rope("phi3")
    assert rope("qwen2", sliding_window=128, use_sliding_window=False) == rope("qwen2")
    assert rope("qwen2", layer_types=["full_attention"] * 2, head_dim=16) == rope("qwen2")


@pytest.mark.parametrize(
    ("where", "method", "words"),
    [("top", "gptq", "by gptq"), ("llm_config", "awq", "by awq"), ("top", "bitsandbytes", "by bitsandbytes")],
)
def test_weights_that_are_quantised_already_are_named(where, method, words):
    config = published()
    (config if where == "top" else config[where])["quantization_config"] = {"quant_method": method, "bits": 4}
    with pytest.raises(InputError, match=f"quantised {words} already"):
        PhantomConfig.from_dict(config)


def test_a_language_model_alone_is_told_what_it_lacks():
    with pytest.raises(InputError, match="'qwen2' model, a language model alone, without vision encoder"):
        PhantomConfig.from_dict({"model_type": "qwen2"})
    with pytest.raises(InputError, match="an unnamed model"):
        PhantomConfig.from_dict({})


def test_rope_factors_must_be_half_a_head_long():
    config = published("phi3")
    config["llm_config"]["rope_scaling"]["long_factor"].pop()
    with pytest.raises(InputError, match="long_factor must list 8 numbers"):
        PhantomConfig.from_dict(config)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufeff{", '{"a": ' * 100_000])
def test_what_is_not_json_is_refused(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read_json(path)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(copy.deepcopy(published())))
    with pytest.raises(InputError, match="larger than"):
        read_json(path, limit=10)


def test_the_most_tiles_may_be_stated():
    data = published_config(TINY_FAMILIES["qwen2"], 5, 2)
    assert PhantomConfig.from_dict(data).max_tiles is None
    assert PhantomConfig.from_dict(data | {"phantom_edge": {"max_tiles": 1}}).max_tiles == 1
    with pytest.raises(InputError, match="max_tiles is 0"):
        PhantomConfig.from_dict(data | {"phantom_edge": {"max_tiles": 0}})


def test_what_a_model_knows_may_be_stated(tiny_dirs, tmp_path):
    """Beside the other fields of the section or alone; whatever is made of the checkpoint carries it."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_dirs["qwen2"], folder)
    data = json.loads((folder / "config.json").read_text())
    assert Checkpoint.open(folder).knows is None
    (folder / "config.json").write_text(json.dumps(data | {"phantom_edge": {"knows": "Shapes."}}))
    checkpoint = Checkpoint.open(folder)
    assert (checkpoint.knows, checkpoint.config.max_tiles) == ("Shapes.", None)
    assert at_tile_size(checkpoint, checkpoint.config.tile_size // 2).knows == "Shapes."


@pytest.mark.parametrize("value", ["", "x" * 201, "two\nlines", "bell\a", "a line\n", 7, ["shapes"], {}])
def test_what_is_no_sentence_is_refused(value):
    with pytest.raises(InputError, match=r"config\.json phantom_edge: knows is .*, expected") as caught:
        knowledge({"phantom_edge": {"knows": value}})
    assert len(str(caught.value)) <= 300
