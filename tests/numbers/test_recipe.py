"""Recipes: which rule wins, what falls back and says so, and what is refused with what exists."""

import json

import pytest
import torch

from phantom_edge.errors import InputError
from phantom_edge.numbers.apply import apply_recipe
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import PRESETS, Precision, Recipe, load_recipe
from phantom_edge.records import from_json, to_json

SHAPES = {
    "vision_encoder.patch_embedding": (1024, 588),
    "vision_encoder.layers.0.qkv": (3072, 1024),
    "vision_encoder.layers.0.norm1": (1, 1024),
    "vision_encoder.projector.fc1": (896, 4096),
    "token_embedding": (151655, 896),
    "text_decoder.layers.0.qkv": (1152, 896),
    "text_decoder.layers.11.down": (896, 4864),
    "text_decoder.layers.11.phantom": (2, 128),
    "text_decoder.head": (151655, 896),
}


def chosen(recipe, shapes=SHAPES):
    return {entry.name: str(entry.precision) for entry in recipe.plan(shapes)}


def test_int4_preset_is_what_its_documentation_says():
    assert chosen(PRESETS["int4"]) == {
        "vision_encoder.patch_embedding": "fp16",
        "vision_encoder.layers.0.qkv": "int8",
        "vision_encoder.layers.0.norm1": "fp16",
        "vision_encoder.projector.fc1": "int8",
        "token_embedding": "int8",
        "text_decoder.layers.0.qkv": "int4:32",
        "text_decoder.layers.11.down": "int4:32",
        "text_decoder.layers.11.phantom": "fp16",
        "text_decoder.head": "int8",
    }


def test_the_other_presets():
    assert set(chosen(PRESETS["fp32"]).values()) == {"fp32"}
    assert set(chosen(PRESETS["fp16"]).values()) == {"fp16"}
    eight = chosen(PRESETS["int8"])
    assert [name for name, precision in eight.items() if precision == "fp16"] == [
        "vision_encoder.patch_embedding",
        "vision_encoder.layers.0.norm1",
        "text_decoder.layers.11.phantom",
    ]
    assert set(eight.values()) == {"fp16", "int8"}


def test_the_last_matching_rule_wins():
    recipe = load_recipe("int4", ["text_decoder.layers.*=int4:128", "text_decoder.layers.11.*=fp16"])
    plan = chosen(recipe)
    assert plan["text_decoder.layers.0.qkv"] == "int4:128"
    assert plan["text_decoder.layers.11.down"] == "fp16"
    assert plan["text_decoder.head"] == "int8"


def test_a_group_that_does_not_divide_becomes_int8_and_the_plan_says_why():
    recipe = load_recipe("int4", ["text_decoder.layers.*=int4:128"])
    (entry,) = recipe.plan({"text_decoder.layers.0.down": (896, 4800)})
    assert (str(entry.precision), entry.fallback) == ("int8", True)
    assert "groups of 128 do not divide 4800" in entry.reason
    assert not any(entry.fallback for entry in recipe.plan(SHAPES))


def test_an_integer_rule_passes_over_a_norm_and_is_refused_when_that_is_all_it_matches():
    plan = {entry.name: entry for entry in load_recipe("fp16", ["*=int8"]).plan(SHAPES)}
    norm = plan["vision_encoder.layers.0.norm1"]
    assert (str(norm.precision), norm.reason) == ("fp16", "not a matrix product: fp16")
    assert str(plan["text_decoder.head"].precision) == "int8"
    with pytest.raises(InputError, match="norm1 is no matrix product and cannot be int8"):
        load_recipe("fp16", ["vision_encoder.*.norm1=int8"]).plan(SHAPES)


def test_a_rule_without_work_is_an_error_unless_it_is_a_presets_own():
    decoder_alone = {"text_decoder.layers.0.qkv": (1152, 896)}
    assert chosen(PRESETS["int4"], decoder_alone) == {"text_decoder.layers.0.qkv": "int4:32"}
    with pytest.raises(
        InputError, match=r"override: 'text_decoder.layers.7.qkv'.*did you mean.*layers.0.qkv"
    ):
        load_recipe("int4", ["text_decoder.layers.7.qkv=int8"]).plan(decoder_alone)


def test_recipe_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "int4"\n[[rule]]\nmatch = "text_decoder.layers.*.down"\nto = "int8"\n')
    recipe = load_recipe(str(path), ["text_decoder.head=fp16"])
    plan = chosen(recipe)
    assert plan["text_decoder.layers.11.down"] == "int8"
    assert plan["text_decoder.layers.0.qkv"] == "int4:32"
    assert plan["text_decoder.head"] == "fp16"
    reasons = {entry.name: entry.reason for entry in recipe.plan(SHAPES)}
    assert "(mine.toml)" in reasons["text_decoder.layers.11.down"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('base = "int5"', "unknown base 'int5' .did you mean 'int.'.*fp32, fp16, int8, int4"),
        ('bsae = "int4"', "unknown field 'bsae' .did you mean 'base'"),
        ("", "missing base"),
        ('base = "int4"\nrule = 3', "list of tables"),
        ('base = "int4"\n[[rule]]\nmatch = "*"', "missing to"),
        ('base = "int4"\n[[rule]]\nmatch = "*"\nto = "int3"', "unknown precision 'int3'"),
        ('base = "int4"\n[[rule]]\nmatch = "*"\nto = "int8"\ngroup = 32', "unknown field 'group'"),
        ("base =", "bad.toml"),
    ],
)
def test_a_recipe_file_with_a_fault_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("itn4", [], "unknown recipe 'itn4' .did you mean 'int4'.*fp32, fp16, int8, int4"),
        ("nowhere.toml", [], "nowhere.toml"),
        ("int4", ["text_decoder.head"], "pattern=precision"),
        ("int4", ["text_decoder.head=int4:48"], "unknown precision 'int4:48'.*int4:64"),
    ],
)
def test_wrong_names_and_overrides_are_refused(text, overrides, message):
    with pytest.raises(InputError, match=message):
        load_recipe(text, overrides)


def test_manifest_round_trip():
    recipe = load_recipe("int4", ["text_decoder.layers.0.*=int8"])
    assert to_json(recipe)["rules"][0] == {"match": "vision_encoder.*", "to": "int8", "origin": "preset int4"}
    assert from_json(Recipe, json.loads(json.dumps(to_json(recipe)))) == recipe


def test_the_float_type_is_a_float():
    with pytest.raises(InputError, match="float type"):
        Recipe("wrong", (), Precision.parse("int8"))


def test_weights_stream_through_one_at_a_time():
    taken = []

    def checkpoint():
        for name, shape in (("text_decoder.layers.0.qkv", (8, 64)), ("text_decoder.head", (8, 64))):
            taken.append(name)
            yield name, torch.randn(shape, generator=torch.Generator().manual_seed(0))
        yield "text_decoder.layers.0.norm1", torch.ones(64)
        yield "positions", torch.arange(3)

    stream = apply_recipe(checkpoint(), PRESETS["int4"])
    name, first = next(stream)
    assert taken == [name]
    assert isinstance(first, QuantizedTensor)
    assert (first.bits, first.group) == (4, 32)
    rest = dict(stream)
    assert (rest["text_decoder.head"].bits, rest["text_decoder.head"].group) == (8, None)
    assert rest["text_decoder.layers.0.norm1"].dtype == torch.float16
    assert rest["positions"].dtype == torch.int64


def test_a_weight_that_float16_cannot_hold_is_named():
    weights = [("text_decoder.layers.0.norm1", torch.tensor([7e4]))]
    assert list(apply_recipe(weights, PRESETS["fp32"]))
    with pytest.raises(InputError, match="norm1: holds a value that is not finite in fp16"):
        list(apply_recipe(weights, PRESETS["fp16"]))
    broken = [("text_decoder.head", torch.full((2, 32), torch.nan))]
    with pytest.raises(InputError, match="head: weight: row 0 holds a value that is not finite"):
        list(apply_recipe(broken, PRESETS["int8"]))
