"""config.json: every dimension from the file, every missing or contradictory field named."""

import copy
import json

import pytest

from phantom_edge.checkpoint.config import PhantomConfig, read_json
from phantom_edge.checkpoint.published import published_config
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
